"""Which files of a data set are tables, and which of a table's columns are what."""

import itertools
import re
from collections.abc import Collection, Iterable, Sequence

from components.ingest.dataset import TAXONOMY
from components.ingest.listing import Listing
from components.ingest.naming import Namer, stem
from components.ingest.tables import SUFFIXES, Row, Table
from components.shared.stage.errors import UserError

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
_MOST_TABLES, _MOST_JSON = 100, 2**30
_DEEPEST = 3  # folders above a table: data/train/metadata.jsonl
_SAMPLE = 1_000  # rows by which columns are chosen


def tables(listing: Listing) -> list[str]:
    """Return the files that may be tables of captions or labels.

    Raises:
        UserError: Two of the same name: one is probably a copy of the other.
    """
    found: dict[str, str] = {}
    for name, size, _ in listing.others():
        stem, dot, suffix = name.rpartition(".")
        if f".{suffix.casefold()}" not in SUFFIXES or name.count("/") > _DEEPEST or not dot:
            continue
        named = is_named(name)
        if not named and (suffix.casefold() in ("txt", "json") or len(found) >= _MOST_TABLES):
            continue
        if suffix.casefold() == "json" and size > _MOST_JSON:
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


def check_header(root: str, table: Table) -> None:
    """Check that the first line has the columns' names.

    Raises:
        UserError: It has an image.
    """
    image = next((each for each in table.columns if stem(_CAPTION.sub("", each)) != each), None)
    if image is not None:
        raise UserError(
            f"{root}/{table.name}: its first line has no names of columns, but an image, "
            f"{image:.200}: write one above it, such as path,label or path,caption"
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
    table: Table, rows: Sequence[Row], namer: Namer, known: Collection[str] = ()
) -> str | None:
    """Return the column whose values mean the most images, the most usual one if several do.

    One of an unusual name must have images in most rows, and numbers may mean anything.

    Args:
        table: The table.
        rows: Its first rows, with all columns.
        namer: Finds images.
        known: Columns of which it is known that they are others.
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
        few = is_named(table.name) and columns is usual
        if best and counts[best] >= (1 if few else max(1, len(rows) / 2)):
            return best
    return None


def folder(name: str) -> str:
    """Return the folder of a file, with a slash at its end; empty at the top."""
    above, slash, _ = name.rpartition("/")
    return above + slash


def alias(column: str) -> str:
    """Return a column's name as it is compared: `File Name` is `filename`."""
    return re.sub(r"[\s_\-.]+", "", column).casefold()
