"""The plan: which image goes where, made from lists and archives before any image is read.

A *row* is a line of a list. A *place* is an image's position in the order of the shards: training
in random order, then validation and test as listed. All of it follows from the hashes of the ids
and the seed, never from the number of cores.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.ingest.dataset import SPLITS, DataSet, id_hash
from components.ingest.lists import Block

# What becomes of a row that gets no place.
UNREADABLE, MISSING, REPEATED, BEYOND_LIMIT = -1, -2, -3, -4
_CHUNK = 1 << 18  # rows worked on at a time, to keep what is temporary small


@dataclass(frozen=True, slots=True)
class Plan:
    """Which image goes where.

    Attributes:
        places: (R,) int32, per row: its place, or what became of it.
        files: (N,) int32, per place: the image's number in `DataSet.files`.
        labels: (N,) int32, per place; 0 in the test split.
        ends: For each of `SPLITS`, the place where it ends.
        unlisted: (F,) bool, per file: no row refers to it.
    """

    places: NDArray[np.int32]
    files: NDArray[np.int32]
    labels: NDArray[np.int32]
    ends: tuple[int, ...]
    unlisted: NDArray[np.bool_]

    def digest(self) -> str:
        """Return a hash of which image goes where."""
        sha256 = hashlib.sha256(repr(self.ends).encode())
        for column in (self.places, self.files, self.labels):
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
        validation_share: Held out of training if there is no validation split.
        seed: Of the order of training images.
    """
    keys, labels, splits = _rows(blocks, len(data.names))
    files, unlisted = _match(keys, labels, data)
    places = np.where(labels < 0, UNREADABLE, np.where(files < 0, files, 0)).astype(np.int32)
    if not (splits == SPLITS.index("validation")).any():
        held = _mix(keys, 1) < np.uint64(validation_share * 2**64)
        splits[held & (splits == SPLITS.index("train"))] = SPLITS.index("validation")
    if limit:
        _limit(places, labels, keys, splits, limit)
    ends, order = [0], []
    for number, split in enumerate(SPLITS):
        rows = np.flatnonzero((places >= 0) & (splits == number)).astype(np.int32)
        if split == "train":
            rows = rows[np.argsort(_mix(keys[rows], seed + 2))]
        order.append(rows)
        ends.append(ends[-1] + len(rows))
    rows = np.concatenate(order)
    places[rows] = np.arange(len(rows), dtype=np.int32)
    return Plan(places, files[rows], labels[rows], tuple(ends[1:]), unlisted)


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
        splits[rows] = SPLITS.index(block.file_list.split)
    return keys, labels, splits


def _match(
    keys: NDArray[np.uint64], labels: NDArray[np.int32], data: DataSet
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return each row's file (or MISSING, or REPEATED) and which files no row has.

    Of files with the same id the first is taken, of rows with the same id the first gets it.
    """
    hashes_found = data.files.columns()["hash"]
    files = np.full(len(keys), MISSING, np.int32)
    owners = np.full(len(hashes_found), -1, np.int32)
    if len(hashes_found) == 0:
        return files, owners < 0
    order = np.argsort(hashes_found, kind="stable").astype(np.int32)
    hashes_sorted = hashes_found[order]
    for start in range(0, len(keys), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        nearest = np.searchsorted(hashes_sorted, keys[chunk]).clip(max=len(order) - 1)
        there = (hashes_sorted[nearest] == keys[chunk]) & (labels[chunk] >= 0)
        rows, found = np.flatnonzero(there) + start, order[nearest[there]]
        files[rows] = np.where(owners[found] < 0, found, REPEATED)
        # The last assignment to an owner holds: in reverse, that is the first row of the chunk.
        new = owners[found] < 0
        owners[found[new][::-1]] = rows[new][::-1]
        files[rows[new & (owners[found] != rows)]] = REPEATED
    return files, owners < 0


def _limit(
    places: NDArray[np.int32],
    labels: NDArray[np.int32],
    keys: NDArray[np.uint64],
    splits: NDArray[np.uint8],
    limit: int,
) -> None:
    """Leave so many training images of each class their place, those of the smallest hashes."""
    rows = np.flatnonzero((places >= 0) & (splits == SPLITS.index("train")))
    rows = rows[np.lexsort((keys[rows], labels[rows]))]
    _, starts, counts = np.unique(labels[rows], return_index=True, return_counts=True)
    ranks = np.arange(len(rows)) - np.repeat(starts, counts)
    places[rows[ranks >= limit]] = BEYOND_LIMIT


def _mix(keys: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Return hashes independent of the given ones (the finalizer of SplitMix64)."""
    mixed = keys + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return mixed
