"""People's own data: a folder of images per class, and texts around them if there are any.

    train/<class>/…   validation/<class>/… (or val, valid)   test/…      or just <class>/…
    captions.csv, captions.jsonl or captions.parquet
    info/taxonomy.jsonl

The file of captions has a column `path` (or `file_name`, `id`) with the image's path below the data
set's folder, and any of `title`, `description` (or `caption`, `text`), `tags` (a list, or a text
that separates them by blanks, or by commas where tags have several words).
"""

import json
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest import metadata
from components.ingest.dataset import DataSet, FileList, Files, Reject, Text, id_hash, listed
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem

_SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
_IMAGES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")
_TAXONOMY = "info/taxonomy.jsonl"
_COLUMNS = {
    "path": ("path", "file_name", "id"),
    "title": ("title",),
    "description": ("description", "caption", "text"),
    "tags": ("tags",),
}


@dataclass(frozen=True, slots=True)
class _Arrangement:
    """How the folders are arranged.

    Attributes:
        splits: What the names of each split's files begin with; nothing where there are no splits.
        labels: Each class's label by its name.
    """

    splits: Mapping[str, str]
    labels: Mapping[str, int]


def read(root: str, scratch: Path) -> DataSet:
    """Return the data set in a folder; lists of its images are written to `scratch`.

    Raises:
        UserError: There are no folders of classes, or some both of classes and of splits, or the
            captions cannot be read.
    """
    names, taxonomy = scratch / "names", scratch / "taxonomy.jsonl"
    below, captions = _survey(root, names)
    if len(captions) > 1:
        found = ", ".join(captions)
        raise UserError(f"{root}: several files of captions: {found}; keep only one")
    has_taxonomy = filesystem.exists(f"{root}/{_TAXONOMY}")
    if has_taxonomy:
        filesystem.fetch(f"{root}/{_TAXONOMY}", taxonomy)
        del below["info"]
    arrangement = _arrangement(root, below)
    lists = [FileList(scratch / f"{split}.txt", split) for split in arrangement.splits]
    folders: dict[str, array[int]] = defaultdict(lambda: array("Q"))
    rejects = list(_write_lists(root, names, arrangement, lists, folders))
    names.unlink()
    files = Files()
    files.add_folders(folders)
    text = _Captions(f"{root}/{captions[0]}" if captions else "", scratch, files, rejects)
    meaning = taxonomy if has_taxonomy else None
    return DataSet(list(arrangement.labels), meaning, lists, files, _ids, text, rejects)


def _ids(container: str) -> Iterator[str]:
    raise AssertionError(f"{container}: the lists were made from the files, so none is unlisted")


def _survey(root: str, names: Path) -> tuple[dict[str, set[str]], list[str]]:
    """Return the folders below each folder that is right below the root, and files of captions.

    All files' names are written to `names`: only when all are known is it clear what each is,
    and S3 takes half an hour to list 16 M.
    """
    below: dict[str, set[str]] = {}
    captions = []
    with names.open("w") as lines:
        for name, _ in listed(root):
            lines.write(f"{json.dumps(name)}\n")
            match name.split("/", maxsplit=2):
                case [top, folder, _]:
                    below.setdefault(top, set()).add(folder)
                case [top, _]:
                    below.setdefault(top, set())
                case [file] if file.startswith("captions."):
                    captions.append(file)
    return below, captions


def _arrangement(root: str, below: Mapping[str, set[str]]) -> _Arrangement:
    splits = {
        split: f"{found[0]}/"
        for split, names in _SPLITS.items()
        if (found := [name for name in names if name in below])
    }
    if "train" not in splits:
        for top in splits.values():
            raise UserError(
                f"{root}/{top}: a split, but there is no {root}/train/: move the classes there"
            )
        splits = {"train": ""}
    names = sorted(filter(_is_class, below["train"] if splits["train"] else below))
    if not names:
        raise UserError(
            f"{root}/{splits['train']}: no folders there; one folder of images per class is needed"
        )
    return _Arrangement(splits, {name: label for label, name in enumerate(names)})


def _is_class(name: str) -> bool:
    return not name.startswith(".") and name.isprintable()


def _write_lists(
    root: str,
    names: Path,
    arrangement: _Arrangement,
    lists: Sequence[FileList],
    folders: "dict[str, array[int]]",
) -> Iterator[Reject]:
    """Write the splits' lists and add the images' hashes to `folders`; yield what is no image."""
    with ExitStack() as stack:
        ids = map(json.loads, stack.enter_context(names.open()))
        lines = {
            file_list.split: stack.enter_context(file_list.path.open("w", encoding="utf-8"))
            for file_list in lists
        }
        for id in ids:
            split = next((s for s, top in arrangement.splits.items() if id.startswith(top)), None)
            if split is None:
                continue
            name = id.removeprefix(arrangement.splits[split])
            if name.startswith(".") or "/." in name:
                continue
            folder, separator, _ = name.partition("/")
            label = arrangement.labels.get(folder) if separator else None
            if not id.isprintable():
                yield Reject(split, "unreadable name", "", repr(id), "rename the file")
            elif not id.lower().endswith(_IMAGES):
                if "/" in id and id != _TAXONOMY:
                    yield Reject(split, "not an image", "", id, "by its file name")
            elif split != "test" and label is None:
                yield Reject(split, "unknown class", "", id, "no such folder in training")
            else:
                lines[split].write(f"{id}\n" if split == "test" else f"{id} {label}\n")
                folders[f"{root}/{id}".rpartition("/")[0]].append(id_hash(id))


class _Captions:
    """Finds an image's caption by its path."""

    def __init__(self, source: str, scratch: Path, files: Files, rejects: list[Reject]) -> None:
        self._columns: dict[str, pa.ChunkedArray] = {}
        self._hashes, self._rows = np.empty(0, np.uint64), np.empty(0, np.int64)
        if not source:
            return
        copy = scratch / source.rpartition("/")[2]
        filesystem.fetch(source, copy)
        try:
            table = _table(copy)
        except pa.ArrowInvalid as error:
            raise UserError(f"{source}: {error}") from None
        for name, alternatives in _COLUMNS.items():
            for column in alternatives:
                if column in table.column_names and name not in self._columns:
                    self._columns[name] = table.column(table.column_names.index(column))
        if "path" not in self._columns:
            raise UserError(f"{source}: no column named path, file_name or id")
        paths = [
            metadata.text(path).removeprefix("./") for path in self._columns.pop("path").to_pylist()
        ]
        found = np.fromiter(map(id_hash, paths), np.uint64, len(paths))
        for row in np.flatnonzero(~files.contain(found)).tolist():
            detail = f"row {row + 1}: no such image"
            rejects.append(Reject("", "caption of no image", copy.name, paths[row], detail))
        self._rows = np.argsort(found, kind="stable")
        self._hashes = found[self._rows]
        for row in self._rows[1:][self._hashes[1:] == self._hashes[:-1]].tolist():
            detail = f"row {row + 1}: an earlier row is taken"
            rejects.append(Reject("", "repeated caption", copy.name, paths[row], detail))

    def __call__(self, id: str, record: str) -> Text:
        key = np.uint64(id_hash(id))
        position = np.searchsorted(self._hashes, key)
        if position == len(self._hashes) or self._hashes[position] != key:
            return Text()
        row = self._rows[position]
        fields: dict[str, Any] = {
            name: (_tags if name == "tags" else metadata.text)(column[row].as_py())
            for name, column in self._columns.items()
        }
        return Text(**fields)


def _tags(value: object) -> str:
    if isinstance(value, str) and "," in value:
        value = value.split(",")
    return metadata.tags(value)


def _table(source: Path) -> pa.Table:
    from pyarrow import csv, json

    match source.suffix:
        case ".csv":
            texts = {column: pa.string() for names in _COLUMNS.values() for column in names}
            return csv.read_csv(
                source,
                parse_options=csv.ParseOptions(newlines_in_values=True),
                convert_options=csv.ConvertOptions(column_types=texts),
            )
        case ".jsonl":
            return json.read_json(source)
        case ".parquet":
            return pq.read_table(source)
    raise UserError(f"{source.name}: captions are read from .csv, .jsonl or .parquet")
