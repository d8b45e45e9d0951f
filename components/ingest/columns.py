"""Which files of a data set are tables, and which of a table's columns are what."""

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from components.ingest.dataset import TAXONOMY, id_hash
from components.ingest.listing import Listing
from components.ingest.naming import Namer, stem
from components.ingest.tables import SUFFIXES, Row, Table
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem

TEXTS = {
    "title": ("title", "headline", "name"),
    "description": ("description", "caption", "text", "alt", "alttext", "sentence", "comment")
    + ("captions", "texts", "sentences", "desc"),
    "tags": ("tags", "keywords", "tag", "keyword", "hashtags"),
}
_IMAGE = [
    *("path", "filepath", "imagepath", "filename", "file", "image", "imagefilename", "imagename"),
    *("imagefile", "img", "imgpath", "imgname", "imgid", "imageid", "photo", "photoid", "fname"),
    *("filepaths", "filenames", "images", "idcode", "id", "key", "name"),
]
_NAMED = re.compile(r"captions?|metadata|texts?|descriptions?|titles?|tags?|keywords?|alt_?texts?")
_CAPTION = re.compile(r"#\d+$")  # its number, after the image's name
_NUMBER = re.compile(r"[\d.,+-]+")
_MOST_TABLES, _MOST_JSON, _MOST_JSON_UNNAMED = 100, 2**30, 2**26
_FEW = 3  # more JSON files in a folder are records of an image each
_DEEPEST = 3  # folders above a table: data/train/metadata.jsonl
_SAMPLE = 1_000  # rows by which columns are chosen


def tables(listing: Listing) -> list[str]:
    """Return the files that may be tables of captions or labels.

    Raises:
        UserError: Two of the same name: one is probably a copy of the other.
    """
    found: dict[str, str] = {}
    jsons = Counter(folder(each.name) for each in listing.others() if each.name.endswith(".json"))
    for name, size, _ in listing.others():
        stem, dot, suffix = name.rpartition(".")
        if f".{suffix.casefold()}" not in SUFFIXES or name.count("/") > _DEEPEST or not dot:
            continue
        named, is_json = is_named(name), suffix.casefold() == "json"
        is_odd = suffix.casefold() == "txt" or (
            is_json and (jsons[folder(name)] > _FEW or size > _MOST_JSON_UNNAMED)
        )
        if not named and (is_odd or len(found) >= _MOST_TABLES):
            continue
        if is_json and size > _MOST_JSON:
            raise UserError(f"{listing.root}/{name}: too large for JSON: make it JSON lines")
        if named and stem in found:
            what = f"{found[stem]}, {name}"
            raise UserError(f"{listing.root}: several files of captions: {what}; keep only one")
        found[stem] = name
    return [name for name in found.values() if name != TAXONOMY]


def is_named(name: str) -> bool:
    """Return whether a file is called as one of captions."""
    stem = name.rpartition("/")[2].rpartition(".")[0].casefold()
    return any(_NAMED.fullmatch(word) for word in re.split(r"[\W_]+", stem))


def copied(listing: Listing, name: str, scratch: Path) -> Path:
    """Return a local copy of a table in a folder."""
    copy = scratch / f"table-{id_hash(name):016x}{Path(name).suffix.casefold()}"
    filesystem.fetch(f"{listing.root}/{name}", copy)
    return copy


def check_header(table: Table) -> None:
    """Check that the first line has the columns' names.

    Raises:
        UserError: It has an image.
    """
    image = next((each for each in table.columns if stem(_CAPTION.sub("", each)) != each), None)
    if image is not None:
        separated = {"\t": ", separated by a tab"}.get(table.delimiter, "")
        example = (" " if separated else table.delimiter).join(["path", "label"])
        raise UserError(
            f"{table.name}: its first line has no names of columns, but an image, {image:.200}: "
            f"write one above it, such as {example}{separated}"
        )


def sample(table: Table) -> list[Row]:
    """Return the first rows of a table, with all its columns."""
    rows = (row for row in table.rows(table.columns) if isinstance(row, Row))
    return list(itertools.islice(rows, _SAMPLE))


def named(table: Table, aliases: Iterable[str]) -> list[str]:
    """Return the columns that have one of these names, in the order of the names."""
    return [each for name in aliases for each in table.columns if alias(each) == name]


def usual_image_column(table: Table) -> str | None:
    """Return the column that has the images, by its name."""
    return next(iter(named(table, _IMAGE)), None)


def image_column(
    table: Table,
    rows: Sequence[Row],
    namer: Namer,
    known: Collection[str] = (),
    *,
    few: bool = False,
) -> str | None:
    """Return the column whose values mean the most images, the most usual one if several do.

    One of an unusual name must have images in most rows, and numbers may mean anything.

    Args:
        table: The table.
        rows: Its first rows, with all columns.
        namer: Finds images.
        known: Columns of which it is known that they are others.
        few: Whether one image is enough for a column of a usual name.
    """
    usual = [each for each in named(table, _IMAGE) if each not in known]
    others = [each for each in table.columns if each not in usual and each not in known]
    for columns in (usual, others):
        counts = {}
        for column in columns:
            place = table.columns.index(column)
            values = [row.values[place] for row in rows]
            if columns is others:
                values = [each for each in values if not _NUMBER.fullmatch(str(each))]
            counts[column] = int(namer.of_table(folder(table.name)).keys(values)[1].sum())
        best = max(counts, key=lambda column: counts[column], default="")
        enough = 1 if few and columns is usual else max(1, len(rows) / 2)
        if best and counts[best] >= enough:
            return best
    return None


def folder(name: str) -> str:
    """Return the folder of a file, with a slash at its end; empty at the top."""
    above, slash, _ = name.rpartition("/")
    return above + slash


def alias(column: str) -> str:
    """Return a column's name as it is compared: `File Name` is `filename`."""
    return re.sub(r"[\s_\-.]+", "", column).casefold()
