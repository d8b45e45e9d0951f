"""How pseudo labels differ from the given labels, counted in memory that N does not change."""

import heapq
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.pseudo_label.labelling import Labels
from components.shared.data.targets import Targets

BINS = 20
SHOWN = 24


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An image whose pseudo label is not its given label.

    Attributes:
        number: The image.
        given: The given class.
        classes: (K,) The label's classes, the strongest first.
        weights: (K,) Their weights.
    """

    number: int
    given: int
    classes: NDArray[np.int32]
    weights: NDArray[np.float32]


class Knowledge(NamedTuple):
    """How labels lie to the given ones, on average over the labelled images.

    Attributes:
        agreement: How often the strongest class is the given one.
        strongest: The strongest class's weight.
        given: The given class's weight.
    """

    agreement: float
    strongest: float
    given: float


class Comparison:
    """Counts over all images, batch by batch.

    Attributes:
        images: How many were seen.
        labelled: How many got a pseudo label.
        confidence: (2, BINS) Images without and with a label by the teachers' probability of their
            most probable class, over 0 … 1.
        given: (C,) Images by given class.
        kept: (C,) Labelled images by given class.
        agreeing: (C,) Labelled images whose strongest class is the given one, by class.
        pseudo: (C,) Labelled images by their strongest class.
        disagreements: The `SHOWN` with the largest weights, the largest first.
    """

    def __init__(self, given: Targets) -> None:
        """Begin to compare with the given labels."""
        self._given, num_classes = given, len(given.names)
        self.images = self.labelled = 0
        self.confidence = np.zeros((2, BINS), np.int64)
        self.given, self.kept, self.agreeing, self.pseudo = np.zeros((4, num_classes), np.int64)
        self.disagreements: list[Disagreement] = []
        self._confidence_sum, self._sums = 0.0, np.zeros((2, len(Knowledge._fields)))

    def update(
        self,
        numbers: NDArray[np.int64],
        confidence: NDArray[np.float32],
        literal: Labels,
        labels: Labels,
        keeps: NDArray[np.bool_],
    ) -> None:
        """Add a batch of images.

        Args:
            numbers: Their numbers (B,).
            confidence: The teachers' probability of the most probable class (B,).
            literal: The teachers' probabilities as labels.
            labels: The labels made of them.
            keeps: Which images get theirs (B,).
        """
        padded, weights = self._given.padded(numbers)
        assert weights.shape[1] == 1 and weights.all(), "ingest gives each image one label"
        given, first = padded[:, 0], labels.classes[:, 0]
        same = keeps & (first == given)
        self.images += len(numbers)
        self.labelled += int(keeps.sum())
        self._confidence_sum += float(confidence.sum(dtype=np.float64))
        for row, shown in enumerate((~keeps, keeps)):
            self.confidence[row] += np.histogram(confidence[shown], BINS, (0, 1))[0]
        for counts, counted in (
            (self.given, given),
            (self.kept, given[keeps]),
            (self.agreeing, given[same]),
            (self.pseudo, first[keeps]),
        ):
            counts += np.bincount(counted, minlength=len(counts))
        for sums, each in zip(self._sums, (literal, labels), strict=True):
            on_given = each.weights * (each.classes == given[:, None])
            agrees = each.classes[:, 0] == given
            columns = np.column_stack([agrees, each.weights[:, 0], on_given.sum(axis=1)])
            sums += columns[keeps].sum(axis=0, dtype=np.float64)
        different = np.flatnonzero(keeps & ~same)
        order = np.argsort(-labels.weights[different, 0], kind="stable")
        found = [
            Disagreement(int(numbers[i]), int(given[i]), labels.classes[i], labels.weights[i])
            for i in different[order[:SHOWN]]
        ]
        self.disagreements = heapq.nlargest(
            SHOWN, self.disagreements + found, key=lambda each: float(each.weights[0])
        )

    @property
    def mean_confidence(self) -> float:
        """The teachers' probability of the most probable class, averaged over all images."""
        return self._confidence_sum / self.images

    @property
    def literal(self) -> Knowledge:
        """Of the teachers' probabilities as they are."""
        return Knowledge._make((self._sums[0] / self.labelled).tolist())

    @property
    def labels(self) -> Knowledge:
        """Of the labels."""
        return Knowledge._make((self._sums[1] / self.labelled).tolist())

    @property
    def metrics(self) -> dict[str, float]:
        """The scalars; the last three are those of the labelled images."""
        labels = self.labels
        return {
            "images": self.images,
            "labelled": self.labelled,
            "labelled_share": self.labelled / self.images,
            "mean_confidence": self.mean_confidence,
            "agreement": labels.agreement,
            "strongest_weight": labels.strongest,
            "given_weight": labels.given,
        }
