"""The plan: which image goes where, made from lists and archives before any image is read.

A *row* is a line of a list. A *position* is an image's number in the order of the shards: training
in random order, then validation, test and another data set's images as listed. All of it is a
function of the hashes of the ids and the seed, never of the number of cores.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.ingest.dataset import EXTERNAL, IMAGE_SETS, DataSet, Files, external_key, id_hash
from components.ingest.lists import Block

logger = logging.getLogger(__name__)

# Why a row gets no position.
UNREADABLE, MISSING, REPEATED, BEYOND_LIMIT, UNWANTED = -1, -2, -3, -4, -5
_CHUNK = 1 << 18
_HELD_OUT = 20  # images of a class, or a fifth of it
_FEW = 30  # fewer validation images of a class bring a warning
_SHOWN = 20  # classes in a warning


@dataclass(frozen=True, slots=True)
class Plan:
    """Which image goes where.

    Attributes:
        positions: (R,) int32, per row: its position, or why it has none.
        files: (N,) int32, per position: the image's number in `DataSet.files`.
        labels: (N,) int32, per position; 0 in the test split.
        ends: For each of `IMAGE_SETS`, the position where it ends.
        unlisted: (F,) bool, per file: no row refers to it.
        held_out: Whether the validation images are training images that were held out.
    """

    positions: NDArray[np.int32]
    files: NDArray[np.int32]
    labels: NDArray[np.int32]
    ends: tuple[int, ...]
    unlisted: NDArray[np.bool_]
    held_out: bool

    @property
    def counts(self) -> dict[str, int]:
        """How many images each of `IMAGE_SETS` has."""
        return dict(zip(IMAGE_SETS, np.diff(self.ends, prepend=0).tolist(), strict=True))

    def digest(self) -> str:
        """Return a hash of which image goes where."""
        sha256 = hashlib.sha256(repr(self.ends).encode())
        for column in (self.positions, self.files, self.labels):
            sha256.update(column.data)
        return sha256.hexdigest()


def make(
    data: DataSet, blocks: Sequence[Block], *, limit: int, validation_share: float, seed: int
) -> Plan:
    """Return the plan of a data set.

    Args:
        data: The data set.
        blocks: Its lists.
        limit: Training images of each class; 0 for all.
        validation_share: Held out of each class if no validation image is there, as `num_held_out`
            says; nothing at 0.
        seed: Of the order of training images.
    """
    hashes, order = _sorted(data.files)
    keys, labels, splits = _rows(blocks, len(data.names) + data.num_unwanted)
    files, unlisted = _match(keys, labels, hashes, order)
    files[labels >= len(data.names)] = UNWANTED
    del hashes, order
    training, *others = range(len(IMAGE_SETS))
    validation = IMAGE_SETS.index("validation")
    held_out = validation_share > 0 and not ((splits == validation) & (files >= 0)).any()
    if held_out:
        rows = np.flatnonzero((splits == training) & (files >= 0)).astype(np.int32)
        sizes = np.bincount(labels[rows], minlength=len(data.names))
        held, _ = _divided(rows, labels, keys, num_held_out(sizes, validation_share))
        logger.info("no validation images: holding out %d of %d images", len(held), len(rows))
        splits[held] = validation
        del rows, held
    if limit:
        rows = np.flatnonzero((splits == training) & (files >= 0)).astype(np.int32)
        _, beyond = _divided(rows, labels, keys, np.full(len(data.names), limit))
        files[beyond] = BEYOND_LIMIT
        del rows, beyond
    for chunk in _chunks(keys):
        keys[chunk] = _mixed(keys[chunk], seed + 1)
    counts = [
        int(np.count_nonzero((splits == split) & (files >= 0))) for split in (training, *others)
    ]
    keys[(splits != training) | (files < 0)] = np.iinfo(np.uint64).max
    rows = np.empty(sum(counts), np.int32)
    rows[: counts[training]] = np.argsort(keys)[: counts[training]]
    del keys
    end = counts[training]
    for split in others:
        rows[end : end + counts[split]] = np.flatnonzero((splits == split) & (files >= 0))
        end += counts[split]
    del splits
    labels, files_in_order = labels[rows], files[rows]
    files[rows] = np.arange(len(rows), dtype=np.int32)
    ends = tuple(np.cumsum(counts).tolist())
    _warn_of_few(data.names, labels[: ends[0]], labels[ends[0] : ends[1]])
    if data.external:
        _warn_of_missing(data.names, labels[ends[-2] :])
    return Plan(files, files_in_order, labels, ends, unlisted, held_out)


def num_held_out(sizes: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Return how many images of each class to hold out, given how many it has.

    That is this share of them, but at least 20 or a fifth, whichever is less: with fewer, whether
    one classifier is better than another is mostly chance. One image remains for training.
    """
    wanted = np.ceil(np.maximum(share * sizes, np.minimum(_HELD_OUT, sizes / 5)))
    held: NDArray[np.int64] = np.minimum(wanted, np.maximum(sizes - 1, 0)).astype(np.int64)
    return held


def _sorted(files: Files) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Return the files' hashes in ascending order, and which file has each."""
    hashes = files.take_hashes()
    order = np.argsort(hashes, kind="stable").astype(np.int32)
    return hashes[order], order


def _rows(
    blocks: Sequence[Block], num_classes: int
) -> tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.uint8]]:
    """Return each row's hash, its label (-1 where the row cannot be read) and its split."""
    num_rows = sum(block.num_rows for block in blocks)
    keys = np.empty(num_rows, np.uint64)
    labels, splits = np.empty(num_rows, np.int32), np.empty(num_rows, np.uint8)
    for block in blocks:
        rows = slice(block.first_row, block.first_row + block.num_rows)
        parsed = [block.parse(line, num_classes) for line, _ in block.lines()]
        keys[rows] = [id_hash(id) for id, _ in parsed]
        labels[rows] = [label for _, label in parsed]
        splits[rows] = IMAGE_SETS.index(block.file_list.split)
        if block.file_list.split == EXTERNAL:
            keys[rows] = external_key(keys[rows])
    return keys, labels, splits


def _match(
    keys: NDArray[np.uint64],
    labels: NDArray[np.int32],
    hashes: NDArray[np.uint64],
    order: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return each row's file, or why it has none, and which files no row has.

    Of files with the same id the first is taken, of rows with the same id the first gets it.
    """
    files = np.where(labels < 0, np.int32(UNREADABLE), np.int32(MISSING))
    free = np.ones(len(hashes), bool)
    for chunk in _chunks(keys if len(hashes) else keys[:0]):
        nearest = np.searchsorted(hashes, keys[chunk]).clip(max=len(hashes) - 1)
        rows = np.flatnonzero((hashes[nearest] == keys[chunk]) & (labels[chunk] >= 0))
        found = order[nearest[rows]]
        _, first = np.unique(found, return_index=True)
        first = first[free[found[first]]]
        files[chunk][rows] = REPEATED
        files[chunk][rows[first]] = found[first]
        free[found] = False
    return files, free


def _divided(
    rows: NDArray[np.int32],
    labels: NDArray[np.int32],
    keys: NDArray[np.uint64],
    quotas: NDArray[np.int64],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return of each class the rows of the smallest keys, at most its quota, and all others."""
    rows = rows[np.lexsort((keys[rows], labels[rows]))]
    sizes = np.bincount(labels[rows], minlength=len(quotas))
    ends = np.cumsum(sizes)
    first = np.arange(len(rows)) < np.repeat(ends - sizes + quotas, sizes)
    return rows[first], rows[~first]


def _warn_of_few(
    names: Sequence[str], training: NDArray[np.int32], validation: NDArray[np.int32]
) -> None:
    """Say which classes have too few validation images, given the labels of both splits."""
    trained, counts = (np.bincount(each, minlength=len(names)) for each in (training, validation))
    few = np.flatnonzero((trained > 0) & (counts < _FEW))
    if few.size:
        fewest = few[np.argmin(counts[few])]
        logger.warning(
            "%d of %d classes have fewer than %d validation images (%s has %d): in these, "
            "differences of 20 points and more may be chance",
            *(len(few), len(names), _FEW, names[fewest], counts[fewest]),
        )


def _warn_of_missing(names: Sequence[str], external: NDArray[np.int32]) -> None:
    """Say which classes have no image in the external validation set, given its labels."""
    missing = np.flatnonzero(np.bincount(external, minlength=len(names)) == 0)
    if missing.size:
        logger.warning(
            "external_validation: %d of %d classes have no image there, and are left out of its "
            "averages: %s",
            *(len(missing), len(names), ", ".join(names[label] for label in missing[:_SHOWN])),
        )


def _mixed(keys: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Return other hashes, independent of the given ones (SplitMix64)."""
    mixed = keys + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _chunks(keys: NDArray[np.uint64]) -> Iterator[slice]:
    """Yield slices of rows to work on at a time, so that what is temporary stays small."""
    for start in range(0, len(keys), _CHUNK):
        yield slice(start, start + _CHUNK)
