"""WebVision 1.0 and 2.0, as downloaded (tars) or unpacked in any of the usual ways.

Archives and folders are recognised only by the names of the files in them: any
`google…/…/q00001/x.jpg` is a training image, any `val000001.jpg` a validation image, and so on.
Labels come from the file lists; `queries_synsets_map.txt` says the same again and is not read. Some
people have the images of only one source, Google's or Flickr's: the other's list is left out then.
"""

import functools
import logging
import re
import tarfile
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from components.ingest import archives, metadata
from components.ingest.dataset import (
    DataSet,
    FileList,
    Files,
    Reject,
    Text,
    id_hash,
    listed,
    number,
)
from components.shared.stage.errors import UserError
from components.shared.stage.parallel import ordered
from components.shared.stage.progress import progress
from components.shared.storage import filesystem

logger = logging.getLogger(__name__)

_SOURCES = ("google", "flickr")
# What is in its folder, at `info/` or at the root, and no other data set has.
_EVIDENCE = ("info.tar", "synsets.txt", *(f"train_filelist_{source}.txt" for source in _SOURCES))
_BELOW = re.compile(rf"[^/]+/(?:info/)?(?:{'|'.join(map(re.escape, _EVIDENCE))})")
_TRAIN = re.compile(r"(?:.*/)?(google|flickr)[^/]*/(?:[^/]+/)*(q\d+)/([^/]+)")
_HELD = re.compile(r"(?:.*/)?((?:val|test)\d+\.jpe?g)", re.IGNORECASE)
_METADATA = re.compile(r"(?:.*/)?(google|flickr)[^/]*/(?:[^/]+/)*(q\d+\.json)")
_LISTS = {"synsets.txt", "queries.txt", "val_filelist.txt", "test_filelist.txt", "taxonomy.jsonl"}
_LISTS |= {f"queries_{source}.txt" for source in _SOURCES}
_LISTS |= {
    f"train_{kind}_{source}.txt" for kind in ("filelist", "meta_list") for source in _SOURCES
}
_PIECE = 8 * 2**20  # bytes of a list copied at a time


class _Location(NamedTuple):
    """Where a file's content is: in a tar, or at an offset of 0 the whole of a file of its own."""

    uri: str
    offset: int
    length: int

    def read(self) -> bytes:
        if self.offset:
            return archives.read(self.uri, self.offset, self.length)
        return filesystem.read(self.uri)

    def copy(self, path: Path) -> None:
        if not self.offset:
            filesystem.fetch(self.uri, path)
            return
        end = self.offset + self.length
        with path.open("wb") as file:
            for start in range(self.offset, end, _PIECE):
                file.write(archives.read(self.uri, start, min(_PIECE, end - start)))


class _Tar(NamedTuple):
    """A tar: the images in it, other files by key, and what is wrong with it."""

    uri: str
    sources: set[str]
    hashes: "array[int]"
    blocks: "array[int]"
    lengths: "array[int]"
    others: dict[str, _Location]
    rejects: list[Reject]


def is_there(root: str) -> bool:
    """Return whether a folder holds WebVision's files."""
    folders = (root, f"{root}/info")
    return any(filesystem.exists(f"{folder}/{name}") for folder in folders for name in _EVIDENCE)


def is_below(names: Iterable[str]) -> bool:
    """Return whether there are WebVision's files one folder down, by the names of files."""
    return any(_BELOW.fullmatch(name) for name in names)


def read(root: str, scratch: Path, sources: str = "both") -> DataSet:
    """Return the data set in a folder.

    Args:
        root: Tars, folders, or both; a file that is there twice is read where it is unpacked.
        scratch: A folder for copies of lists.
        sources: `google`, `flickr` or `both`; nothing of another source is looked at.

    Raises:
        UserError: A list is missing, or an archive is compressed or something else than a tar.
    """
    wanted = _SOURCES if sources == "both" else (sources,)
    files, others, rejects = Files(), dict[str, _Location](), list[Reject]()
    tars, there = _list(root, wanted, files, others)
    scanned = ordered(partial(_scan, wanted), tars.items())
    for tar in progress(scanned, total=len(tars), unit="archive", what="headers"):
        if tar.hashes:
            files.add(tar.uri, tar.hashes, tar.blocks, tar.lengths)
        there |= tar.sources
        others = tar.others | others
        rejects += tar.rejects
    archives.warn_of_broken(root, rejects)
    lists = {name: scratch / name for name in _LISTS if name in others}
    for name, copy in lists.items():
        others[name].copy(copy)
    if "synsets.txt" not in lists:
        raise UserError(
            f"{root}: no info/synsets.txt, neither in a folder nor in a tar: it names the classes, "
            "and is in WebVision's info.tar"
        )
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
        lists=list(_file_lists(lists, root, wanted, there)),
        files=files,
        ids=partial(_ids, root, wanted, tars),
        text=_Texts(
            {key: location for key, location in others.items() if key not in _LISTS}, queries
        ),
        rejects=rejects,
        layout="WebVision's lists",
        about_texts="WebVision's records",
    )


def _file_lists(
    lists: Mapping[str, Path], root: str, wanted: Sequence[str], there: set[str]
) -> Iterator[FileList]:
    """Yield the lists of images, but for a source that is not there if the other is."""
    found = [source for source in wanted if f"train_filelist_{source}.txt" in lists]
    for source in wanted:
        if source not in found and (source in there or not found):
            raise UserError(
                f"{root}: no info/train_filelist_{source}.txt: it says which image is of which "
                "class, and is in WebVision's info.tar"
            )
    for source in found:
        if there and source not in there:
            logger.warning("%s: no image of %s is there; its list is left out", root, source)
            continue
        records = f"train_meta_list_{source}.txt"
        if records not in lists:
            raise UserError(f"{root}: info/{records} is missing; it says which text is whose")
        yield FileList(lists[f"train_filelist_{source}.txt"], "train", source, lists[records])
    for split, name in (("validation", "val_filelist.txt"), ("test", "test_filelist.txt")):
        if name in lists:
            yield FileList(lists[name], split)


def _list(
    root: str, wanted: Sequence[str], files: Files, others: dict[str, _Location]
) -> tuple[dict[str, int], set[str]]:
    """Add what lies in folders to `files` and `others`.

    Returns:
        The tars with their sizes, and the sources of the images in folders.
    """
    tars, there = {}, set()
    folders: dict[str, array[int]] = defaultdict(lambda: array("Q"))
    unwanted = tuple(set(_SOURCES) - set(wanted))
    for name, size in listed(root):
        uri = f"{root}/{name}"
        if id := _image_id(name, wanted):
            folders[uri.rpartition("/")[0]].append(id_hash(id))
            there.add(id.partition("/")[0])
        elif key := _key(name, wanted):
            others.setdefault(key, _Location(uri, 0, size))
        elif not name.rpartition("/")[2].startswith(unwanted) and archives.is_tar(uri):
            tars[uri] = size
    files.add_folders(folders)
    return tars, there & set(_SOURCES)


def _scan(wanted: Sequence[str], tar: tuple[str, int]) -> _Tar:
    """Find what is in a tar, by nothing but the files' names."""
    uri, size = tar
    found = _Tar(uri, set(), array("Q"), array("I"), array("I"), {}, [])
    for member in archives.members(uri, size):
        if isinstance(member, Reject):
            found.rejects.append(member)
            continue
        name = _name_below(uri, member.name)
        if id := _image_id(name, wanted):
            found.hashes.append(id_hash(id))
            found.blocks.append(member.offset // tarfile.BLOCKSIZE)
            found.lengths.append(member.length)
            found.sources.add(id.partition("/")[0])
        elif key := _key(name, wanted):
            found.others[key] = _Location(uri, member.offset, member.length)
    found.sources.intersection_update(_SOURCES)
    return found


def _ids(
    root: str, wanted: Sequence[str], tars: Mapping[str, int], container: str
) -> Iterator[str]:
    if container in tars:
        members = archives.members(container, tars[container])
        files = (item.name for item in members if not isinstance(item, Reject))
        names = (_name_below(container, file) for file in files)
    else:
        files = (entry.name for entry in filesystem.listed(container) if "/" not in entry.name)
        names = (f"{container}/{file}".removeprefix(f"{root}/") for file in files)
    yield from filter(None, (_image_id(name, wanted) for name in names))


def _name_below(tar: str, member: str) -> str:
    # The archive's name counts as a folder: some copies name the source only there.
    return f"{tar.rpartition('/')[2].removesuffix('.tar')}/{member}"


def _image_id(name: str, wanted: Sequence[str]) -> str:
    """Return the id of a file that is an image by its name, else an empty text."""
    if found := _TRAIN.fullmatch(name):
        return "/".join(found.groups()) if found[1] in wanted else ""
    if found := _HELD.fullmatch(name):
        return found[1]
    return ""


def _key(name: str, wanted: Sequence[str]) -> str:
    """Return what a list or a file of metadata is known by, for any other an empty text."""
    if found := _METADATA.fullmatch(name):
        return "/".join(found.groups()) if found[1] in wanted else ""
    file = name.rpartition("/")[2]
    return file if file in _LISTS else ""


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
        self, locations: Mapping[str, _Location], queries: Mapping[tuple[str, int], str]
    ) -> None:
        self._locations, self._queries = locations, queries

    def __call__(self, id: str, record: str) -> Text:
        source, _, rest = id.partition("/")
        if source not in _SOURCES:  # validation and test images have no texts
            return Text()
        query = self._queries.get((source, int(rest[1:].partition("/")[0])), "")
        name, _, position = record.rpartition(" ")
        if name not in self._locations:
            return Text(query=query, kind="missing text", detail=f"no file: {record}")
        records = _records(self._locations[name])
        if not 1 <= number(position) <= len(records):
            detail = f"no such record: {record} of {len(records)}"
            return Text(query=query, kind="missing text", detail=detail)
        fields, kind, problem = records[number(position) - 1]
        return Text(
            title=metadata.text(fields.get("title")),
            description=metadata.text(fields.get("description")),
            tags=metadata.tags(fields.get("tags")),
            query=query,
            rank=max(0, number(metadata.text(fields.get("rank")))),
            kind=kind,
            detail=problem and f"{record}: {problem}",
        )


# Lists are ordered by query, so the next image's record is nearly always in the same file.
@functools.lru_cache(maxsize=4)
def _records(location: _Location) -> list[metadata.Record]:
    return metadata.records(location.read())
