"""How right a given label is, by what the models predict and what the text says.

Shapes: B images, K of a model's most probable classes, T classes of the texts, C of all.

With the models' probabilities q and the text's weights w, over the classes y of an image,

    p(y) = q(y) (w(y) + c) / (c + Σ q w)

so a class that the text does not name keeps the share c, and where a text says nothing, p is q. The
sum has only the text's classes: p is exact for all whose q is known, however few these are.

A label is the more suspect, the smaller its p is, over the square root of the mean p of its class's
labels: some classes are harder than others, and a model that is unsure of a whole class says less
of one image. How many are suspects follows confident learning (Northcutt et al. 2021): another
class must claim the image with at least its own mean; and its label must have less than half of its
class's, without which a weak model's errors are counted as the labels'.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.shared.training.evidence import Texts
from components.shared.training.inference import ShardPredictions

NONE = -1  # the class that a text names which says nothing
_DOUBT = 0.5  # share of the class's mean below which a label may count as wrong


class Scores(NamedTuple):
    """What speaks for and against the labels of B images.

    Attributes:
        numbers: (B,) int64 The images.
        given: (B,) int64 Their given classes.
        label: (B,) float32 The given class's p.
        classes: (B, K) int64 The classes with the highest p, highest first.
        probabilities: (B, K) float32 Their p.
        model_classes: (B,) int64 The models' most probable class.
        model: (B,) float32 Its q.
        model_label: (B,) float32 The given class's q.
        text_classes: (B,) int64 What the text says most; `NONE` if it says nothing.
        text: (B,) float32 Its weight.
    """

    numbers: NDArray[np.int64]
    given: NDArray[np.int64]
    label: NDArray[np.float32]
    classes: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    model_classes: NDArray[np.int64]
    model: NDArray[np.float32]
    model_label: NDArray[np.float32]
    text_classes: NDArray[np.int64]
    text: NDArray[np.float32]

    @property
    def suggested(self) -> NDArray[np.int64]:
        """The most probable classes (B,)."""
        return self.classes[:, 0]

    def taken(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "Scores":
        """Return the scores of some of the images, or in another order."""
        return Scores._make(each[rows] for each in self)


def scored(part: ShardPredictions, texts: Texts, text_floor: float) -> Scores:
    """Return the scores of a shard's images.

    Args:
        part: What the models predict, with the probabilities of `Texts.asked`.
        texts: What the texts say.
        text_floor: The c of the formula.
    """
    assert part.asked is not None
    given, classes, q, w, first = texts.evidence(part)
    said, top = texts(part.numbers), part.classes[0]
    p = q * (w + text_floor)
    p /= (text_floor + (part.asked[:, 1:] * said.weights).sum(axis=1, dtype=np.float64))[:, None]
    label = p[:, top.shape[1]].copy()
    p[~first] = -1
    order = np.argsort(-p, axis=1, kind="stable")[:, : top.shape[1]]
    named = said.weights[:, 0] > 0
    return Scores(
        numbers=part.numbers,
        given=given,
        label=label.astype(np.float32),
        classes=np.take_along_axis(classes, order, axis=1),
        probabilities=np.take_along_axis(p, order, axis=1).astype(np.float32),
        model_classes=top[:, 0].astype(np.int64),
        model=part.probabilities[0][:, 0],
        model_label=part.asked[:, 0],
        text_classes=np.where(named, said.classes[:, 0], NONE),
        text=said.weights[:, 0],
    )


def doubted(scores: Scores) -> NDArray[np.bool_]:
    """Return for which images (B,) another class than the given one is the most probable."""
    doubts: NDArray[np.bool_] = scores.suggested != scores.given
    return doubts


class Means:
    """The mean p of each class's labels."""

    def __init__(self, num_classes: int) -> None:
        """Begin with no images."""
        self._sums, self.images = np.zeros(num_classes), np.zeros(num_classes, np.int64)

    def update(self, scores: Scores) -> None:
        """Add a shard's images."""
        size = len(self.images)
        self._sums += np.bincount(scores.given, scores.label, size)
        self.images += np.bincount(scores.given, minlength=size)

    def trust(self, scores: Scores) -> NDArray[np.float64]:
        """Return how far each label is to be trusted (B,): the less, the more suspect.

        That of a class's only image is infinite: its model has never seen the class.
        """
        alone = self.images[scores.given] < 2
        trust = scores.label / np.sqrt(self._means()[scores.given])
        return np.where(alone, np.inf, trust)

    def claimed(self, scores: Scores) -> NDArray[np.bool_]:
        """Return which images (B,) are in the number of suspects."""
        confident = scores.probabilities >= self._means()[scores.classes]
        first = np.take_along_axis(scores.classes, confident.argmax(axis=1)[:, None], axis=1)[:, 0]
        other = confident.any(axis=1) & (first != scores.given)
        low = scores.label < _DOUBT * self._means()[scores.given]
        claims: NDArray[np.bool_] = other & doubted(scores) & low
        return claims & (self.images[scores.given] >= 2)

    def _means(self) -> NDArray[np.float64]:
        means = np.full(len(self.images), np.inf)
        np.divide(self._sums, self.images, out=means, where=self.images > 0)
        return means
