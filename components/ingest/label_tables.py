"""Which tables have labels of images, in which of their columns, and why the others have none."""

import functools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from components.ingest import columns
from components.ingest.class_names import class_name
from components.ingest.columns import alias
from components.ingest.dataset import is_listable
from components.ingest.listing import Listing
from components.ingest.naming import Namer
from components.ingest.splits import split_of, split_of_path, splits_in, words
from components.ingest.tables import Row, Table
from components.shared.stage.errors import UserError

_LABELS = [
    *("labelname", "classname", "categoryname", "label", "class", "category", "wnid", "synset"),
    *("species", "breed", "diagnosis", "dx", "target", "labels", "classes", "labelid", "classid"),
    *("categoryid", "y"),
]
_SPLITS = ["split", "set", "subset", "dataset", "partition", "phase"]
# Columns of 0 and 1, and the split that a 1 means; the others are for training.
_FLAGS = {"isvalid": "validation", "isval": "validation", "isvalidation": "validation"}
_FLAGS |= {"istest": "test"}
# Words of tables of Kaggle's that have columns like those of labels, and false ones.
_EXAMPLES = {"sample", "submission", "submissions", "sub"}
_MOST_SEVERAL = 0.05  # of the rows: with more 1s in some, columns of 0 and 1 are no classes
_ONE, _ZERO = {"1", "1.0", "true"}, {"0", "0.0", "false"}
_SHOWN = 8  # columns


class Source(NamedTuple):
    """A table with labels.

    Attributes:
        table: The table.
        namer: Finds the images that its rows mean.
        image: The column of images.
        labels: The column of labels, or a column for each class, which has a 1 in its rows; none if
            the table only lists the images of the test split.
        split: The column of splits, if it has one.
        default: The split that the table's name says, or empty.
        sample: Its first rows.
    """

    table: Table
    namer: Namer
    image: str
    labels: Sequence[str]
    split: str | None
    default: str
    sample: Sequence[Row]

    @property
    def columns(self) -> list[str]:
        """The columns to read: of images, of labels, of splits."""
        return [self.image, *self.labels, *filter(None, [self.split])]

    def label(self, values: Sequence[object]) -> str:
        """Return the class that a row's values of `labels` mean; empty where there is none."""
        if len(values) == 1:
            return class_name(values[0])
        pairs = zip(self.labels, values, strict=True)
        return class_name([name for name, value in pairs if _flag(value) == "1"])

    def split_of(self, row: Row) -> str | None:
        """Return the split that a row says, empty if it need not say one; None if it is odd."""
        if self.split is None:
            return self.default
        value, flag = row.values[-1], _FLAGS.get(alias(self.split))
        if flag:
            return flag if _flag(value) == "1" else "train"
        return split_of(str(value)) or None

    @property
    def says_splits(self) -> bool:
        """Whether it says which images are of which split."""
        return bool(self.split or self.default)

    @property
    def column(self) -> str:
        """Where the labels are, for people."""
        if len(self.labels) < 2:
            return f"column {self.labels[0]:.100}" if self.labels else "no column"
        return (
            f"a column of 0 and 1 for each class, {self.labels[0]:.100} to {self.labels[-1]:.100}"
        )

    @property
    def words(self) -> str:
        """What is read of it, for people."""
        what = f"labels in {self.table.name}, {self.column}," if self.labels else self.table.name
        if self.split:
            splits = f", splits in column {self.split}"
        else:
            splits = f", all {self.default}" if self.default else ""
        return f"{what} of the images in column {self.image:.100}{splits}"


def find(listing: Listing, scratch: Path, label_field: str) -> list[Source]:
    """Return the tables that have labels of images, and those of the test images.

    Args:
        listing: The data set's files.
        scratch: A folder for copies.
        label_field: The column of labels, or `auto` for one of a usual name.
    """
    found, examples = list[Source](), list[Source]()
    namers = _namers(listing)
    for name in columns.tables(listing):
        try:
            table = Table(columns.copied(listing, name, scratch), name)
            rows = columns.sample(table)
            source = _source(table, rows, namers, _label_columns(table, rows, label_field))
        except UserError:
            continue  # whoever needs it will say so: `explain`
        if source is not None:
            (examples if _is_example(name) else found).append(source)
    found = found or examples
    return found if any(each.labels for each in found) else []


def explain(listing: Listing, scratch: Path, label_field: str) -> list[str]:
    """Return why each table has no labels that can be read, in words; those with images first."""
    namers = _namers(listing)
    with_images, others = [], []
    for name in columns.tables(listing):
        try:
            table = Table(columns.copied(listing, name, scratch), name)
            columns.check_header(table)
            rows = columns.sample(table)
            labels = _label_columns(table, rows, label_field)
        except UserError as error:
            others.append(str(error))
            continue
        image = columns.image_column(table, rows, namers(""), known=labels, few=bool(labels))
        if image is None:
            others.append(f"{name} has columns {_listed(table.columns)}, and in none the images")
        elif not labels:
            fields = [each for each in _with_classes(table, rows) if each != image]
            remedy = f": set label_field to one of {_listed(fields)}" if fields else ""
            what = "usual name" if label_field == "auto" else f"name {label_field}"
            with_images.append(f"{name} has the images in {image:.100}, but labels in no column "
                               f"of a {what}{remedy}")  # fmt: skip
    return with_images + others


def images(listing: Listing, split: str = "") -> Iterator[str]:
    """Yield the images, but for those in folders of other splits than this, if one is given."""
    ids = (file.name for file in listing if file.is_image and is_listable(file.name))
    yield from (id for id in ids if not split or split_of_path(id) in ("", split))


def _namers(listing: Listing) -> Callable[[str], Namer]:
    """Return a function that makes a namer of the images that may be of a split, once for each."""
    return functools.cache(lambda split: Namer(listing.root, partial(images, listing, split), []))


def _source(
    table: Table, rows: Sequence[Row], namers: Callable[[str], Namer], labels: Sequence[str]
) -> Source | None:
    """Return a table with its columns of images, labels and splits, if it has the first two."""
    labels = labels or _one_hot(table, rows)
    default = _split_of_table(table.name)
    if not labels and default != "test":
        return None
    split = _split_column(table, rows)
    best, most = None, 0
    # Numbers that images of several splits have mean those of training.
    for each in [default] if default or split else ["", "train"]:
        namer = namers(each).of_table(columns.folder(table.name))
        image = columns.image_column(table, rows, namer, known=labels, few=True)
        if image is None:
            continue
        place = table.columns.index(image)
        count = int(namer.keys([row.values[place] for row in rows])[1].sum())
        if count > most:
            own = namers(each).of_table(columns.folder(table.name))
            best, most = Source(table, own, image, labels, split, each, rows), count
        if count == len(rows):
            break
    return best


def _label_columns(table: Table, rows: Sequence[Row], label_field: str) -> list[str]:
    """Return the column of labels, or none.

    Raises:
        UserError: Several may be meant.
    """
    if label_field != "auto":
        return columns.named(table, [alias(label_field)])[:1]
    found = columns.named(table, _LABELS)
    values = [[class_name(row.values[table.columns.index(each)]) for row in rows] for each in found]
    for other in values[1:]:
        pairs = {*zip(values[0], other, strict=True)}
        if not len(pairs) == len({*values[0]}) == len({*other}):  # as of names and their numbers
            raise UserError(
                f"{table.name} has labels in several columns, which differ: set label_field to one "
                f"of {_listed(found)}"
            )
    return found[:1]


def _with_classes(table: Table, rows: Sequence[Row]) -> list[str]:
    """Return the columns that may have classes: of few values, in many rows each."""
    texts = [[class_name(row.values[place]) for row in rows] for place in range(len(table.columns))]
    return [
        column
        for column, values in zip(table.columns, texts, strict=True)
        if column and not splits_in(column)
        if 1 < len({*values} - {""}) <= max(2, len(values) / 2)
    ]


def _split_of_table(name: str) -> str:
    stem = name.rpartition("/")[2].rpartition(".")[0]
    found = splits_in(stem)
    return found[0] if len(found) == 1 else "" if found else split_of_path(name)


def _is_example(name: str) -> bool:
    return not _EXAMPLES.isdisjoint(words(name.rpartition("/")[2]))


def _split_column(table: Table, rows: Sequence[Row]) -> str | None:
    for column in columns.named(table, _SPLITS):
        values = [row.values[table.columns.index(column)] for row in rows]
        if alias(column) == "split" or any(split_of(str(value)) for value in values):
            return column
    return next(iter(columns.named(table, _FLAGS)), None)


def _one_hot(table: Table, rows: Sequence[Row]) -> list[str]:
    """Return the columns that have only 0 and 1, if nearly every row has a 1 in exactly one."""
    flags = [[_flag(value) for value in row.values] for row in rows]
    image = columns.usual_image_column(table)
    places = [
        place
        for place, column in enumerate(table.columns)
        if column != image and not splits_in(column) and all(row[place] for row in flags)
    ]
    alone = sum([row[place] for place in places].count("1") == 1 for row in flags)
    if len(places) < 2 or alone < (1 - _MOST_SEVERAL) * len(rows):
        return []
    return [table.columns[place] for place in places]


def _flag(value: object) -> str:
    """Return 0 or 1 however it is written, or nothing if it is something else."""
    text = str(value).strip().casefold()
    return "1" if text in _ONE else "0" if text in _ZERO else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"{name:.80}" for name in names[:_SHOWN]) + ", …" * (len(names) > _SHOWN)
