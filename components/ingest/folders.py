"""People's own data: a folder of images per class, and texts around them if there are any.

    train/<class>/…   validation/<class>/…   test/…      or just <class>/…
    captions.csv, captions.jsonl or captions.parquet
    info/taxonomy.jsonl

The file of captions has a column `path` (or `file_name`, `id`) with the image's path below the data
set's folder, and any of `title`, `description` (or `caption`, `text`), `tags` (a list, or a text
that separates them by blanks, or by commas where tags have several words).
"""

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest import metadata
from components.ingest.arrangement import Arrangement, Images, arranged
from components.ingest.dataset import DataSet, FileList, Files, Reject, Text, id_hash, is_listable
from components.ingest.listing import Listing
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem

_TAXONOMY = "info/taxonomy.jsonl"
_COLUMNS = {
    "path": ("path", "file_name", "id"),
    "title": ("title",),
    "description": ("description", "caption", "text"),
    "tags": ("tags",),
}


def read(listing: Listing, scratch: Path, layout: str) -> DataSet:
    """Return the data set in a folder; lists of its images are written to `scratch`.

    Raises:
        UserError: There are no folders of classes, or it is not clear which these are, or the
            captions cannot be read.
    """
    root, taxonomy = listing.root, scratch / "taxonomy.jsonl"
    arrangement = arranged(root, Images(listing), layout)
    captions = [file.name for file in listing if file.name.startswith("captions.")]
    if len(captions) > 1:
        found = ", ".join(captions)
        raise UserError(f"{root}: several files of captions: {found}; keep only one")
    has_taxonomy = filesystem.exists(f"{root}/{_TAXONOMY}")
    if has_taxonomy:
        filesystem.fetch(f"{root}/{_TAXONOMY}", taxonomy)
    lists = [FileList(scratch / f"{split}.txt", split) for split in arrangement.splits]
    folders: dict[str, array[int]] = defaultdict(lambda: array("Q"))
    rejects = list(_write_lists(listing, arrangement, lists, folders))
    files = Files()
    files.add_folders(folders)
    text = _Captions(f"{root}/{captions[0]}" if captions else "", scratch, files, rejects)
    return DataSet(
        names=list(arrangement.labels),
        taxonomy=taxonomy if has_taxonomy else None,
        lists=lists,
        files=files,
        ids=_ids,
        text=text,
        rejects=rejects,
        layout=arrangement.words,
        about_texts=captions[0] if captions else "none",
        skipped=listing.skipped,
    )


def _ids(container: str) -> Iterator[str]:
    raise AssertionError(f"{container}: the lists were made from the files, so none is unlisted")


def _write_lists(
    listing: Listing,
    arrangement: Arrangement,
    lists: Sequence[FileList],
    folders: "dict[str, array[int]]",
) -> Iterator[Reject]:
    """Write the splits' lists and add the images' hashes to `folders`; yield what is no image."""
    with ExitStack() as stack:
        lines = {
            file_list.split: stack.enter_context(file_list.path.open("w", encoding="utf-8"))
            for file_list in lists
        }
        for id, _, is_image in listing:
            if not (split := arrangement.split(id)):
                continue
            label = arrangement.label(split, id)
            if not is_listable(id):
                yield Reject(split, "unreadable name", "", repr(id), "rename the file")
            elif not is_image:
                if "/" in id and id != _TAXONOMY:
                    yield Reject(split, "not an image", "", id, "by its file name or first bytes")
            elif split != "test" and label is None:
                yield Reject(split, "unknown class", "", id, "no such folder in training")
            else:
                lines[split].write(f"{id}\n" if split == "test" else f"{id} {label}\n")
                folders[f"{listing.root}/{id}".rpartition("/")[0]].append(id_hash(id))


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
