"""What tables say of images: the class and the split of each, in arrays."""

import logging
from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.ingest.class_names import MOST_CLASSES, several
from components.ingest.dataset import SPLITS, Reject
from components.ingest.label_tables import Source, images
from components.ingest.listing import Listing
from components.ingest.naming import Keys, key
from components.ingest.tables import LineRejects
from components.shared.stage.errors import UserError

logger = logging.getLogger(__name__)

UNKNOWN = -1
_MOST_CONFLICTS = 0.05  # of the images: with more, an image may have several labels by design
_MOST_ODD = 0.05  # of the values in a column of splits: with more, it may be something else
_FEW = 0.5  # of a table's rows have an image and a label: fewer are odd


class Labels(NamedTuple):
    """What is said of N images, sorted by key.

    Attributes:
        keys: (N,) The images.
        labels: (N,) Positions in `names`, or `UNKNOWN`.
        splits: (N,) Positions in `SPLITS`, or `UNKNOWN`.
        names: The classes.
    """

    keys: Keys
    labels: NDArray[np.int32]
    splits: NDArray[np.int8]
    names: list[str]

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """Return the position of each key, or `UNKNOWN`."""
        places = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.where(self.keys[places] == keys, places, UNKNOWN)


class _Rows(NamedTuple):
    """The rows of all tables that belong to images, in order."""

    keys: Keys
    labels: NDArray[np.int32]
    splits: NDArray[np.int8]


def read(listing: Listing, sources: Sequence[Source], rejects: list[Reject]) -> Labels:
    """Return what tables say; their lines that say nothing become rejects.

    Of several labels of an image the first counts. Of several splits it is the one that fewest
    models see: what is in the test split of one table is not trained on because of another.

    Raises:
        UserError: No row belongs to an image, or the tables have something else than one label
            an image.
    """
    names: dict[str, int] = {}
    rows = _rows(listing.root, sources, names, rejects)
    tables = ", ".join(each.table.name for each in sources)
    where = f"{listing.root}: %s in {tables}, {next(s.column for s in sources if s.labels)}"
    if len(names) > MOST_CLASSES or (len(names) > 1_000 and len(names) > len(rows.keys) / 2):
        what = f"{len(names):,} different labels, such as {next(iter(names))!r:.200},"
        raise UserError(f"{where % what}: name the column of classes by label_field")

    together = np.isin(rows.labels, [names[name] for name in several(names)])
    conflicts = rows.keys[together]
    rows = _Rows(rows.keys[~together], rows.labels[~together], rows.splits[~together])
    order = np.lexsort((rows.labels < 0, rows.keys))  # labels before those that have none
    keys, labels, ranks = rows.keys[order], rows.labels[order], rows.splits[order] + 1
    first = np.ones(len(keys), bool)
    first[1:] = keys[1:] != keys[:-1]
    starts = np.flatnonzero(first)
    others = ~first[1:] & (labels[1:] != labels[:-1]) & (labels[1:] >= 0)
    conflicts = np.concatenate([conflicts, keys[1:][others]])
    if len(conflicts) > _MOST_CONFLICTS * len(starts):
        example = _example(listing, conflicts[:1])
        what = f"{len(conflicts):,} images, such as {example}, have several labels"
        raise UserError(f"{where % what}: one label an image is needed")
    if len(conflicts):
        detail = (
            f"{len(conflicts):,} such rows: an earlier row of the image counts, if there is one"
        )
        rejects.append(Reject("", "several labels", tables, _example(listing, conflicts), detail))
    highest = np.maximum.reduceat(ranks, starts)
    lowest = np.minimum.reduceat(np.where(ranks == 0, len(SPLITS) + 1, ranks), starts)
    if (mixed := (lowest < highest)).any():
        detail = (
            f"{mixed.sum():,} images in several splits: test counts before validation and train"
        )
        example = _example(listing, keys[starts[mixed]])
        rejects.append(Reject("", "several splits", tables, example, detail))
        logger.warning("%s: %s, such as %s", listing.root, detail, example)
    return Labels(keys[starts], labels[starts], (highest - 1).astype(np.int8), list(names))


def _rows(
    root: str, sources: Sequence[Source], names: dict[str, int], rejects: list[Reject]
) -> _Rows:
    """Return the rows that belong to images, and add the classes to `names`."""
    keys, labels, splits, total = [np.empty(0, np.uint64)], array("i"), array("b"), 0
    for source in sources:
        lines, before = LineRejects(source.table.name, rejects), len(labels)
        rows, odd = 0, ""
        for batch in source.table.batches(source.columns, lines, "unreadable row"):
            rows += len(batch)
            found, there = source.namer.keys([row.values[0] for row in batch])
            kept = []
            for row, is_there in zip(batch, there.tolist(), strict=True):
                split = source.split_of(row)
                label = source.label(row.values[1 : 1 + len(source.labels)])
                problem = "" if is_there else "missing image"
                problem = problem or ("" if label or split == "test" else "no label")
                if split is None:
                    problem = "no split"
                    odd = odd or f"{row.values[-1]!r:.100} in line {row.line}"
                if problem:
                    lines.add(problem, row.line, row.values[0], "of a table with labels")
                else:
                    labels.append(names.setdefault(label, len(names)) if label else UNKNOWN)
                    splits.append(SPLITS.index(split) if split else UNKNOWN)
                kept.append(not problem)
            keys.append(found[np.array(kept, bool)])
        lines.end()
        rows += lines.counts["unreadable row"]
        if lines.counts["no split"] > _MOST_ODD * rows:
            raise UserError(
                f"{root}/{source.table.name}: {lines.counts['no split']:,} of {rows:,} values in "
                f"its column {source.split} are no splits, such as {odd}: write train, validation "
                "or test, or give the column another name"
            )
        total += rows
        if len(labels) - before < _FEW * rows:
            of = f"{len(labels) - before:,} of {rows:,} rows of {source.table.name}"
            counts = ", ".join(f"{count:,} × {kind}" for kind, count in lines.counts.items())
            logger.warning("%s: only %s are of images with a label: %s", root, of, counts)
    if not names:
        tables = ", ".join(each.table.name for each in sources)
        raise UserError(f"{root}: of {total:,} rows of {tables} none is of an image with a label")
    return _Rows(
        np.concatenate(keys), np.frombuffer(labels, np.int32), np.frombuffer(splits, np.int8)
    )


def _example(listing: Listing, keys: Keys) -> str:
    """Return one of these images."""
    return next((id for id in images(listing) if key(id) == keys[0]), "")
