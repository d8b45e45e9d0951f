"""The texts around people's own images: tables with a caption a row, under the names people use.

Or they are in files beside the images (`beside.py`).

A table is looked for at the top of the data set and in the folders there. Its columns are known by
usual names, that of the images by which values are images'. Several captions of an image are
joined. What is in a table is written as Arrow, to be read in place by all processes.
"""

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from components.ingest import columns, wording
from components.ingest.beside import Beside
from components.ingest.dataset import Reject, Text, clean
from components.ingest.listing import Listing
from components.ingest.naming import Namer, key
from components.ingest.tables import LineRejects, Table
from components.shared.stage.errors import UserError

logger = logging.getLogger(__name__)

_SCHEMA = pa.schema([("key", pa.uint64()), ("title", pa.string()), ("description", pa.string()),
                     ("tags", pa.string())])  # fmt: skip


class _Source(NamedTuple):
    """A table of captions: which column has the images, which have texts."""

    table: Table
    namer: Namer
    image: str
    texts: dict[str, list[str]]


class Captions:
    """Finds an image's texts by its path.

    Attributes:
        names: The tables that were read.
        about: Where the texts come from, in words.
    """

    def __init__(
        self,
        listing: Listing,
        beside: Beside,
        scratch: Path,
        ids: Callable[[], Iterator[str]],
        prefixes: Sequence[str],
        rejects: list[Reject],
    ) -> None:
        """Read the tables of a data set.

        Args:
            listing: Its files.
            beside: The texts in files beside the images.
            scratch: A folder for copies.
            ids: Yields the ids of its images, each time again.
            prefixes: What the ids of each split begin with.
            rejects: What is wrong is added to it.

        Raises:
            UserError: A table that is named as one of captions has no such columns, or no image's.
        """
        root, path = listing.root, scratch / "captions.arrow"
        self.names, self._rejects, about = list[str](), rejects, list[str]()
        keys = []
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
            tables = columns.tables(listing)
            namer = Namer(root, ids, prefixes) if tables else None
            for name in tables:
                assert namer is not None
                copy = columns.copied(listing, name, scratch)
                source = _source(root, name, copy, namer.of_table(columns.folder(name)))
                if isinstance(source, str):
                    about += [source] if source else []
                else:
                    self.names.append(name)
                    found, words = self._read(root, source, writer)
                    keys.append(found)
                    about.append(words)
        found = np.concatenate([np.empty(0, np.uint64), *keys])
        self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        self._rows = np.argsort(found, kind="stable").astype(np.int32)
        self._keys = found[self._rows]
        self._beside = beside
        self.about = "; ".join(filter(None, [*about, str(beside)])) or "none"

    def __call__(self, id: str, record: str) -> Text:
        """Return the texts of an image, those of several rows joined."""
        wanted = np.uint64(key(id))
        first = np.searchsorted(self._keys, wanted)
        last = np.searchsorted(self._keys, wanted, "right")
        found: dict[str, dict[str, None]] = {name: {} for name in columns.TEXTS}
        for row in self._rows[first:last].tolist():
            for name, values in found.items():
                if value := self._table[name][row].as_py():
                    values[value] = None
        for name, value in self._beside.texts(id):
            found[name][value] = None
        tags = dict.fromkeys(tag for value in found["tags"] for tag in value.split(" "))
        title, description = (" ".join(found[name]) for name in ("title", "description"))
        return Text(title, description.strip(), " ".join(tags))

    def _read(self, root: str, source: _Source, writer: Any) -> tuple[Any, str]:
        """Write the rows that belong to images; return their images' keys, and a summary."""
        name, rejects = source.table.name, LineRejects(source.table.name, self._rejects)
        wanted = [source.image, *itertools.chain(*source.texts.values())]
        spans = list(itertools.accumulate(map(len, source.texts.values()), initial=1))
        kept, total, example = [np.empty(0, np.uint64)], 0, ""
        for batch in source.table.batches(wanted, rejects, "unreadable caption"):
            total += len(batch)
            keys, there = source.namer.keys([row.values[0] for row in batch])
            rows = list(itertools.compress(batch, there.tolist()))
            for row in itertools.compress(batch, (~there).tolist()):
                example = example or str(row.values[0])
                rejects.add("caption of no image", row.line, row.values[0], "no such image")
            for row in rows:
                if any(isinstance(value, str) and clean(value) != value for value in row.values):
                    rejects.add("repaired record", row.line, row.values[0], "half of a character")
            texts = {
                field: [_text(field, row.values[start:end]) for row in rows]
                for field, (start, end) in zip(source.texts, itertools.pairwise(spans), strict=True)
            }
            empty = [""] * len(rows)
            arrays = [keys[there], *(texts.get(field, empty) for field in columns.TEXTS)]
            writer.write_table(pa.table([pa.array(each) for each in arrays], schema=_SCHEMA))
            kept.append(keys[there])
        rejects.end()
        total += rejects.counts["unreadable caption"]
        found = np.concatenate(kept)
        share = f"{len(found):,} of {total:,} rows of {name} belong to images"
        image = next(source.namer.ids(), "")
        unlike = f"it has {example!r:.200}, but an image is {image!r}"
        if not len(found):
            unlike = unlike if example else self._rejects[-1].detail if total else "it has no rows"
            raise UserError(f"{root}: {share}, by its column {source.image:.200}: {unlike}")
        if 2 * len(found) < total:
            logger.warning("%s: %s: %s", root, share, unlike)
        fields = ", ".join(f"{'+'.join(of)} as {to}" for to, of in source.texts.items())
        images = f"{len(np.unique(found)):,} of {source.namer.num_images:,} images have a text"
        return found, f"{share}; {images} ({fields})"


def _source(root: str, name: str, path: Path, namer: Namer) -> _Source | str:
    """Return a table with captions, or why it is none, which is not said of any odd table."""
    must = columns.is_named(name)
    try:
        table = Table(path, name)
        if must:
            columns.check_header(table)
        rows = columns.sample(table)
        image = columns.image_column(table, rows, namer, few=must)
    except UserError as error:
        if must:
            raise UserError(f"{root}/{error}") from None
        return ""
    if image is None and must and name.endswith(".json") and len(rows) == 1:
        return f"{name} is not read: it is one record, of no image"
    if image is None and must:
        image = columns.usual_image_column(table)
        if image is None:
            raise UserError(
                f"{root}/{name}: none of its columns ({', '.join(table.columns):.200}) has the "
                "images' paths: call it path"
            )
    texts = {
        field: [each for each in columns.named(table, names) if each != image]
        for field, names in columns.TEXTS.items()
    }
    texts = {field: of for field, of in texts.items() if of}
    if image is None or not texts:
        return f"{name} has none: no column title, caption or tags" if must else ""
    return _Source(table, namer.of_table(columns.folder(name)), image, texts)


def _text(field: str, values: Sequence[object]) -> str:
    """Return the texts of some columns as one; tags are separated by blanks."""
    of = wording.tags if field == "tags" else wording.words
    return " ".join(dict.fromkeys(filter(None, map(of, values))))
