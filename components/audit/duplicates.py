"""Near-duplicates: pairs of images whose difference hashes differ in few bits.

Two hashes that differ in at most D bits have one of D + 1 bands in common. So the images are sorted
by each band in turn, and those with the same band are compared: with their `_REACH` next ones,
where more share a band, as pictures of nothing but white do. Those are sorted by the whole hash, so
that equal ones meet.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from components.audit.hashes import Hashes
from components.shared.data.targets import Targets

DISTANCE = 4  # bits of 128 in which near-duplicates differ, at most
_BANDS = ((0, 0, 22), (0, 22, 21), (0, 43, 21), (1, 0, 32), (1, 32, 32))  # word, first bit, bits
_REACH = 64
assert len(_BANDS) > DISTANCE


class Pairs(NamedTuple):
    """Pairs of images, nearest first.

    Attributes:
        one: (P,) int64 Image numbers.
        other: (P,) int64 Greater ones.
        distance: (P,) int64 Bits.
    """

    one: NDArray[np.int64]
    other: NDArray[np.int64]
    distance: NDArray[np.int64]

    @classmethod
    def found(cls, hashes: NDArray[np.uint64], groups: NDArray[np.int64]) -> Self:
        """Return the near-duplicates in different groups.

        Args:
            hashes: (N, 2).
            groups: (N,) Whatever an image and its duplicates should have in common.
        """
        pairs = [np.zeros((0, 2), np.int64)]
        by_hash = np.lexsort((hashes[:, 1], hashes[:, 0]))
        for unsorted in _bands(hashes):
            order = by_hash[np.argsort(unsorted[by_hash], kind="stable")]
            band, sorted_groups = unsorted[order], groups[order]
            for step in range(1, min(_REACH, len(order) - 1) + 1):
                same = band[step:] == band[:-step]
                if not same.any():
                    break
                (at,) = np.nonzero(same & (sorted_groups[step:] != sorted_groups[:-step]))
                both = np.stack([order[at], order[at + step]], axis=1)
                pairs.append(both[_distances(hashes, both) <= DISTANCE])
        unique = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
        distances = _distances(hashes, unique)
        nearest = np.argsort(distances, kind="stable")
        return cls(unique[nearest, 0], unique[nearest, 1], distances[nearest])


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Near-duplicates of different classes or splits.

    Attributes:
        pairs: Their numbers: of the training images, and above these of the validation images.
        labels: (N,) All images' labels.
        training: How many of them are for training.
    """

    pairs: Pairs
    labels: NDArray[np.int64]
    training: int

    @classmethod
    def of(
        cls, training: Hashes, validation: Hashes, given: Targets, validation_labels: Targets
    ) -> Self:
        """Find the near-duplicates of images that have been hashed, one label each."""
        both = (given, validation_labels)
        assert all((np.diff(each.offsets) == 1).all() for each in both), "ingest gives one label"
        labels = np.concatenate([each.classes for each in both]).astype(np.int64)
        # Within a class and a split a duplicate does no harm.
        groups = labels.copy()
        groups[len(given) :] += len(given.names)
        hashes = np.concatenate([training.all(), validation.all()])
        return cls(Pairs.found(hashes, groups), labels, len(given))

    @property
    def leaks(self) -> int:
        """How many pairs are of a training and a validation image."""
        one, other = self.pairs.one, self.pairs.other
        return int(((one < self.training) & (other >= self.training)).sum())

    @property
    def across(self) -> int:
        """How many pairs have different labels."""
        return int((self.labels[self.pairs.one] != self.labels[self.pairs.other]).sum())

    def metadata(self) -> dict[str, float | str]:
        """Return what people look for among many runs."""
        return {"duplicates_across_classes": self.across, "duplicates_in_validation": self.leaks}


def _bands(hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.uint64]]:
    """Yield the bands of the hashes, each (N,)."""
    for word, start, bits in _BANDS:
        yield (hashes[:, word] >> np.uint64(start)) & np.uint64(2**bits - 1)


def _distances(hashes: NDArray[np.uint64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    different = hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]
    distances: NDArray[np.int64] = np.bitwise_count(different).sum(axis=1, dtype=np.int64)
    return distances
