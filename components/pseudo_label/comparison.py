"""How pseudo labels differ from the given labels, counted in memory that N does not change."""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.shared.data.targets import Targets

BINS = 20
SHOWN = 24


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An image whose pseudo label is not its given label.

    Attributes:
        number: The image.
        given: The given class.
        classes: (K,) The teachers' classes, most probable first.
        probabilities: (K,) Their probabilities.
    """

    number: int
    given: int
    classes: NDArray[np.int32]
    probabilities: NDArray[np.float32]


class Comparison:
    """Counts over all images, batch by batch.

    Attributes:
        images: How many were seen.
        labelled: How many got a pseudo label.
        confidence: (BINS,) Images by the probability of their best class, over 0 … 1.
        given: (C,) Images by given class.
        kept: (C,) Labelled images by given class.
        agreeing: (C,) Labelled images whose best class is the given one, by class.
        pseudo: (C,) Labelled images by their best class.
        disagreements: The `SHOWN` most confident ones, most confident first.
    """

    def __init__(self, given: Targets, min_confidence: float) -> None:
        """Begin to compare with the given labels."""
        self._given, self._min_confidence = given, min_confidence
        num_classes = len(given.names)
        self.images = self.labelled = 0
        self.confidence = np.zeros(BINS, np.int64)
        self.given, self.kept, self.agreeing, self.pseudo = np.zeros((4, num_classes), np.int64)
        self.disagreements: list[Disagreement] = []
        self._confidence_sum = 0.0

    def update(
        self,
        numbers: NDArray[np.int64],
        classes: NDArray[np.int32],
        probabilities: NDArray[np.float32],
    ) -> None:
        """Add a batch: image numbers (B,), classes and probabilities (B, K), best first."""
        labels, weights = self._given.padded(numbers)
        assert weights.shape[1] == 1 and weights.all(), "ingest gives each image one label"
        given = labels[:, 0]
        first, confidence = classes[:, 0], probabilities[:, 0]
        kept = confidence >= self._min_confidence
        same = kept & (first == given)
        self.images += len(numbers)
        self.labelled += int(kept.sum())
        self._confidence_sum += float(confidence.sum(dtype=np.float64))
        self.confidence += np.histogram(confidence, BINS, (0, 1))[0]
        for counts, counted in (
            (self.given, given),
            (self.kept, given[kept]),
            (self.agreeing, given[same]),
            (self.pseudo, first[kept]),
        ):
            counts += np.bincount(counted, minlength=len(counts))
        different = np.flatnonzero(kept & ~same)
        different = different[np.argsort(-confidence[different], kind="stable")[:SHOWN]]
        found = [
            Disagreement(int(numbers[i]), int(given[i]), classes[i], probabilities[i])
            for i in different
        ]
        self.disagreements = heapq.nlargest(
            SHOWN, self.disagreements + found, key=lambda each: float(each.probabilities[0])
        )

    @property
    def mean_confidence(self) -> float:
        """The probability of the best class, averaged over all images."""
        return self._confidence_sum / self.images

    @property
    def metrics(self) -> dict[str, float]:
        """The scalars; agreement is the share of the labelled images."""
        return {
            "images": self.images,
            "labelled": self.labelled,
            "labelled_share": self.labelled / self.images,
            "agreement": int(self.agreeing.sum()) / self.labelled,
            "mean_confidence": self.mean_confidence,
        }
