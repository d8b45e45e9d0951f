"""People's own data: a folder of images per class, and texts around them if there are any.

    train/<class>/…   validation/<class>/… (or val, valid)   test/…      or just <class>/…
    captions.csv, captions.jsonl or captions.parquet
    info/taxonomy.jsonl

The file of captions has a column `path` (or `file_name`, `id`) with the image's path below the data
set's folder, and any of `title`, `description` (or `caption`, `text`), `tags`.
"""

import os
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest import metadata
from components.ingest.dataset import DataSet, FileList, Files, Reject, Text, id_hash
from components.shared.interface import UserError

_SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
_IMAGES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")
_TAXONOMY = "info/taxonomy.jsonl"
_COLUMNS = {
    "path": ("path", "file_name", "id"),
    "title": ("title",),
    "description": ("description", "caption", "text"),
    "tags": ("tags",),
}


def read(root: Path, scratch: Path) -> DataSet:
    """Return the data set in a folder; lists of its images are written to `scratch`.

    Raises:
        UserError: There are no folders of classes, or some both of classes and of splits, or the
            captions cannot be read.
    """
    taxonomy = root / _TAXONOMY
    folders = {
        split: next((root / name for name in names if (root / name).is_dir()), None)
        for split, names in _SPLITS.items()
    }
    train = folders["train"] or root
    for folder in folders.values():
        if folder is not None and train is root:
            raise UserError(
                f"{folder}: a split, but there is no {root}/train: move the classes there"
            )
    names = sorted(
        entry.name
        for entry in train.iterdir()
        if _is_class(entry) and not (entry == taxonomy.parent and taxonomy.is_file())
    )
    if not names:
        raise UserError(f"{train}: no folders there; one folder of images per class is needed")
    labels = {name: label for label, name in enumerate(names)}
    folders["train"] = train
    files, lists, rejects = Files(), [], list[Reject]()
    for split, folder in folders.items():
        if folder is not None:
            path = scratch / f"{split}.txt"
            rejects += _list(root, folder, split, labels, path, files)
            lists.append(FileList(path, split))
    captions = sorted(root.glob("captions.*"))
    if len(captions) > 1:
        found = ", ".join(path.name for path in captions)
        raise UserError(f"{root}: several files of captions: {found}; leave one there")
    text = _Captions(captions[0] if captions else None, files, rejects)
    meaning = taxonomy if taxonomy.is_file() else None
    return DataSet(names, meaning, lists, files, _ids, text, rejects)


def _ids(container: str) -> Iterator[str]:
    raise AssertionError(f"{container}: the lists were made from the files, so none is unlisted")


def _is_class(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".") and entry.name.isprintable()


def _list(
    root: Path, top: Path, split: str, labels: Mapping[str, int], path: Path, files: Files
) -> Iterator[Reject]:
    """Write the list of a split's images; yield the files that are none."""
    with path.open("w", encoding="utf-8") as lines:
        for folder, below, names in os.walk(top, followlinks=True):
            below[:] = sorted(name for name in below if not name.startswith("."))
            parts = Path(folder).relative_to(top).parts
            ids = []
            for name in sorted(name for name in names if not name.startswith(".")):
                id = str(Path(folder, name).relative_to(root))
                if not id.isprintable():
                    yield Reject(split, "unreadable name", "", repr(id), "rename the file")
                elif not id.lower().endswith(_IMAGES):
                    if Path(folder) != root and id != _TAXONOMY:
                        yield Reject(split, "not an image", "", id, "by its file name")
                elif split == "test":
                    lines.write(f"{id}\n")
                    ids.append(id)
                elif parts and parts[0] in labels:
                    lines.write(f"{id} {labels[parts[0]]}\n")
                    ids.append(id)
                else:
                    yield Reject(split, "unknown class", "", id, "no such folder in training")
            zeros = array("I", [0]) * len(ids)
            files.add(folder, array("Q", map(id_hash, ids)), zeros, zeros)


class _Captions:
    """Finds an image's caption by its path."""

    def __init__(self, source: Path | None, files: Files, rejects: list[Reject]) -> None:
        self._columns: dict[str, pa.ChunkedArray] = {}
        self._hashes, self._rows = np.empty(0, np.uint64), np.empty(0, np.int64)
        if source is None:
            return
        table = _table(source)
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
            rejects.append(Reject("", "caption of no image", source.name, paths[row], detail))
        self._rows = np.argsort(found, kind="stable")
        self._hashes = found[self._rows]
        for row in self._rows[1:][self._hashes[1:] == self._hashes[:-1]].tolist():
            detail = f"row {row + 1}: an earlier row is taken"
            rejects.append(Reject("", "repeated caption", source.name, paths[row], detail))

    def __call__(self, id: str, record: str) -> Text:
        key = np.uint64(id_hash(id))
        place = np.searchsorted(self._hashes, key)
        if place == len(self._hashes) or self._hashes[place] != key:
            return Text()
        row = self._rows[place]
        fields: dict[str, Any] = {
            name: metadata.text(column[row].as_py()) for name, column in self._columns.items()
        }
        return Text(**fields)


def _table(source: Path) -> pa.Table:
    from pyarrow import csv, json

    try:
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
    except pa.ArrowInvalid as error:
        raise UserError(f"{source}: {error}") from None
    raise UserError(f"{source}: captions are read from .csv, .jsonl or .parquet")
