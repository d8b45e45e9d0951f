"""WebVision 1.0 and 2.0, as downloaded (tars) or unpacked in any of the ways that copies are.

Archives and folders are told apart by nothing but the names of the files in them: any
`google…/…/q00001/x.jpg` is a training image, any `val000001.jpg` a validation image, and so on.
Labels come from the file lists; `queries_synsets_map.txt` says the same again and is not read.
"""

import functools
import os
import re
import tarfile
from array import array
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from components.ingest import archives, metadata
from components.ingest.dataset import DataSet, FileList, Files, Reject, Text, id_hash, number
from components.shared.interface import UserError
from components.shared.parallel import ordered

_SOURCES = ("google", "flickr")
_TRAIN = re.compile(r"(?:.*/)?(google|flickr)[^/]*/(?:[^/]+/)*(q\d+)/([^/]+)")
_HELD = re.compile(r"(?:.*/)?((?:val|test)\d+\.jpe?g)", re.IGNORECASE)
_METADATA = re.compile(r"(?:.*/)?(google|flickr)[^/]*/(?:[^/]+/)*(q\d+\.json)")
_LISTS = {"synsets.txt", "queries.txt", "val_filelist.txt", "test_filelist.txt", "taxonomy.jsonl"}
_LISTS |= {f"queries_{source}.txt" for source in _SOURCES}
_LISTS |= {
    f"train_{kind}_{source}.txt" for kind in ("filelist", "meta_list") for source in _SOURCES
}


class _Place(NamedTuple):
    """Where a file's content is; a length of -1 means the whole of a file of its own."""

    path: str
    offset: int
    length: int

    def read(self) -> bytes:
        if self.length < 0:
            return Path(self.path).read_bytes()
        return archives.read(self.path, self.offset, self.length)


class _Container(NamedTuple):
    """A tar or a folder: the images in it, other files by key, and what is wrong with it."""

    path: str
    hashes: "array[int]"
    blocks: "array[int]"
    lengths: "array[int]"
    others: dict[str, _Place]
    rejects: list[Reject]


def is_there(root: Path) -> bool:
    """Return whether a folder holds WebVision's files."""
    return (root / "info.tar").is_file() or (root / "info" / "synsets.txt").is_file()


def read(root: Path, scratch: Path) -> DataSet:
    """Return the data set in a folder.

    Args:
        root: Tars, folders, or both; a file that is there twice is read where it is unpacked.
        scratch: A folder for copies of lists that are in tars.

    Raises:
        UserError: A list is missing, or an archive is compressed.
    """
    files, others, rejects = Files(), dict[str, _Place](), []
    for container in ordered(partial(_scan, root), _containers(root)):
        if container.hashes:
            files.add(container.path, container.hashes, container.blocks, container.lengths)
        others = container.others | others
        rejects += container.rejects
    lists = {name: _local(others[name], scratch / name) for name in _LISTS if name in others}
    if "synsets.txt" not in lists:
        raise UserError(f"{root}: no info/synsets.txt, neither in a folder nor in a tar")
    queries = {
        (source, query): words
        for name in ("queries", "queries_google", "queries_flickr")
        if f"{name}.txt" in lists
        for source in ([name.removeprefix("queries_")] if "_" in name else _SOURCES)
        for query, words in _numbered(lists[f"{name}.txt"])
    }
    return DataSet(
        names=[line.split(" ", 1)[0] for line in _lines(lists["synsets.txt"])],
        taxonomy=lists.get("taxonomy.jsonl"),
        lists=list(_file_lists(lists, root)),
        files=files,
        ids=partial(_ids, root),
        text=_Texts({key: place for key, place in others.items() if key not in _LISTS}, queries),
        rejects=rejects,
    )


def _file_lists(lists: Mapping[str, Path], root: Path) -> Iterator[FileList]:
    for source in _SOURCES:
        name, records = f"train_filelist_{source}.txt", f"train_meta_list_{source}.txt"
        if name in lists and records not in lists:
            raise UserError(f"{root}: info/{records} is missing; it says which text is whose")
        if name in lists:
            yield FileList(lists[name], "train", source, lists[records])
    if not any(f"train_filelist_{source}.txt" in lists for source in _SOURCES):
        raise UserError(f"{root}: info/train_filelist_google.txt and …_flickr.txt are missing")
    for split, name in (("validation", "val_filelist.txt"), ("test", "test_filelist.txt")):
        if name in lists:
            yield FileList(lists[name], split)


def _containers(root: Path) -> list[Path]:
    """Return the folders, then the tars, each in the order of their names."""
    folders, tars = [], []
    for folder, below, names in os.walk(root, followlinks=True):
        below.sort()
        folders.append(Path(folder))
        for path in (Path(folder, name) for name in sorted(names)):
            if path.suffix == ".tar":
                tars.append(path)
            elif path.name.endswith((".tar.gz", ".tgz")):
                raise UserError(f"{path}: compressed; gunzip it: it is read at random")
    return folders + tars


def _scan(root: Path, path: Path) -> _Container:
    """Find what is in a tar or a folder, by nothing but the files' names."""
    found = _Container(str(path), array("Q"), array("I"), array("I"), {}, [])
    for file in _named(root, path):
        if isinstance(file, Reject):
            found.rejects.append(file)
            continue
        name, place = file
        if id := _image_id(name):
            found.hashes.append(id_hash(id))
            found.blocks.append(place.offset // tarfile.BLOCKSIZE)
            found.lengths.append(max(0, place.length))
        elif metadata := _METADATA.fullmatch(name):
            found.others["/".join(metadata.groups())] = place
        elif (list_name := name.rpartition("/")[2]) in _LISTS:
            found.others[list_name] = place
    return found


def _ids(root: Path, container: str) -> Iterator[str]:
    for file in _named(root, Path(container)):
        if not isinstance(file, Reject) and (id := _image_id(file[0])):
            yield id


def _named(root: Path, path: Path) -> Iterator[tuple[str, _Place] | Reject]:
    """Yield a container's files with their names below the data set's folder."""
    if path.is_dir():
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries if entry.is_file())
        for name in names:
            yield str((path / name).relative_to(root)), _Place(str(path / name), 0, -1)
        return
    for member in archives.members(path):
        if isinstance(member, Reject):
            yield member
        else:
            # The archive's name counts as a folder: some copies name the source only there.
            place = _Place(str(path), member.offset, member.length)
            yield f"{path.stem}/{member.name}", place


def _image_id(name: str) -> str:
    """Return the id of a file that is an image by its name, else an empty text."""
    if found := _TRAIN.fullmatch(name):
        return "/".join(found.groups())
    if found := _HELD.fullmatch(name):
        return found[1]
    return ""


def _local(place: _Place, copy: Path) -> Path:
    if place.length < 0:
        return Path(place.path)
    copy.write_bytes(place.read())
    return copy


def _lines(path: Path) -> list[str]:
    # A line more at the end of the synsets would be a class more.
    return path.read_text(encoding="utf-8-sig", errors="replace").rstrip().splitlines()


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    for line in _lines(path):
        query, _, words = line.partition(" ")
        if (value := number(query)) >= 0:
            yield value, words.replace("+", " ").strip()


class _Texts:
    """Finds an image's record by its line in the list of records, `google/q00001.json 1`."""

    def __init__(
        self, places: Mapping[str, _Place], queries: Mapping[tuple[str, int], str]
    ) -> None:
        self._places, self._queries = places, queries

    def __call__(self, id: str, record: str) -> Text:
        source, _, rest = id.partition("/")
        if source not in _SOURCES:  # validation and test images have no texts
            return Text()
        query = self._queries.get((source, int(rest[1:].partition("/")[0])), "")
        name, _, place = record.rpartition(" ")
        if name not in self._places:
            return Text(query=query, kind="missing text", detail=f"no file: {record}")
        records = _records(self._places[name])
        if not 1 <= number(place) <= len(records):
            detail = f"no such record: {record} of {len(records)}"
            return Text(query=query, kind="missing text", detail=detail)
        fields, kind, problem = records[number(place) - 1]
        return Text(
            title=metadata.text(fields.get("title")),
            description=metadata.text(fields.get("description")),
            tags=metadata.text(fields.get("tags")),
            query=query,
            rank=max(0, number(metadata.text(fields.get("rank")))),
            kind=kind,
            detail=problem and f"{record}: {problem}",
        )


# Lists are ordered by query, so the next image's record is nearly always in the same file.
@functools.lru_cache(maxsize=4)
def _records(place: _Place) -> list[metadata.Record]:
    return metadata.records(place.read())
