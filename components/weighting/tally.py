"""What the weights of all images come to, counted as they are made."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from components.weighting.weights import Weights

_BINS = 40


@dataclass(slots=True)
class Tally:
    """Sums over images.

    Attributes:
        top_k: Most concepts that an image has.
        images: Images so far.
        fallbacks: Of them, images whose text fits no candidate.
        labels_first: Images whose strongest concept is their given label.
        total_weight: Sum of all weights.
        concepts: (top_k + 1,) int64, images by how many concepts they have.
        strongest: (40,) int64, images by their strongest weight, in equal steps from 0 to 1.
    """

    top_k: int
    images: int = 0
    fallbacks: int = 0
    labels_first: int = 0
    total_weight: float = 0.0
    concepts: NDArray[np.int64] = field(init=False)
    strongest: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.concepts = np.zeros(self.top_k + 1, np.int64)
        self.strongest = np.zeros(_BINS, np.int64)

    def add(self, part: Weights, labels: NDArray[np.int32]) -> None:
        """Count images with these weights and given labels (B,)."""
        has = part.counts > 0  # where the text says nothing, a fallback weight of 0 leaves none
        firsts = (np.cumsum(part.counts) - part.counts)[has]
        # Rounding may put the cosine of a text that is its concept's document above 1.
        bins = np.minimum((part.weights[firsts] * _BINS).astype(np.int64), _BINS - 1)
        self.images += len(labels)
        self.fallbacks += part.fallbacks
        self.labels_first += int(np.sum(part.classes[firsts] == labels[has]))
        self.total_weight += float(part.weights.sum(dtype=np.float64))
        self.concepts += np.bincount(part.counts, minlength=self.top_k + 1)
        self.strongest += np.bincount(bins, minlength=_BINS)

    def metrics(self) -> dict[str, float]:
        """Return the stage's metrics."""
        pairs = int(self.concepts @ np.arange(self.top_k + 1))
        return {
            "images": self.images,
            "pairs_per_image": pairs / self.images,
            "mean_weight": self.total_weight / max(1, pairs),
            "label_is_strongest": self.labels_first / self.images,
            "fallback_share": self.fallbacks / self.images,
        }
