"""Which concepts an image may show by its label.

The candidates of a label are itself and its neighbours in WordNet. For concepts outside WordNet
(people's own folders) there are no neighbours: there, every concept that the text fits is a
candidate.

Legend: B images of a batch, C classes, K candidates, P pairs of an image and a class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Pairs(NamedTuple):
    """The pairs of an image and a candidate that are similar at all, in any order.

    Attributes:
        images: (P,) positions in the batch.
        classes: (P,) the candidates.
        cosines: (P,) above 0.
    """

    images: NDArray[np.int64]
    classes: NDArray[np.int64]
    cosines: NDArray[np.floating]


class Similarity(Protocol):
    """How well texts fit their labels' candidates."""

    def similarities(self, texts: Sequence[str], labels: NDArray[np.int64]) -> Pairs:
        """Compare the texts of B images with the candidates of their given labels (B,)."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The candidates of each label.

    Attributes:
        classes: (C, K) int64, itself first; -1 where it has fewer, or is outside WordNet.
        outside: (C,) bool, the labels outside WordNet.
    """

    classes: NDArray[np.int64]
    outside: NDArray[np.bool_]

    @classmethod
    def of(cls, concepts: pa.Table, neighbors: list[NDArray[np.int64]]) -> Self:
        """Lay out each label's neighbours."""
        hypernyms = concepts["hypernyms"].to_pylist()[: len(neighbors)]
        outside = np.array([len(wnids) == 0 for wnids in hypernyms])
        num_candidates = 1 + max(map(len, neighbors), default=0)
        classes = np.full((len(neighbors), num_candidates), -1, np.int64)
        for label in np.flatnonzero(~outside):
            classes[label, 0] = label
            classes[label, 1 : 1 + len(neighbors[label])] = neighbors[label]
        return cls(classes, outside)
