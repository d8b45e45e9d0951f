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

from components.shared.data.targets import Targets
from components.shared.training.inference import ShardPredictions

NONE = -1  # the class that a text names which says nothing
_DOUBT = 0.5  # share of the class's mean below which a label may count as wrong


class Said(NamedTuple):
    """What the texts of B images say.

    Attributes:
        classes: (B, T) int64, strongest first.
        weights: (B, T) float32, 0 in the padding and where a text says nothing.
    """

    classes: NDArray[np.int64]
    weights: NDArray[np.float32]


class Texts:
    """What the texts say, of any images."""

    def __init__(self, weights: Targets | None, given: Targets, silent_weight: float) -> None:
        """Take the texts' weights.

        Args:
            weights: From `weighting`; None if there are none.
            given: The given labels.
            silent_weight: Where a text says nothing, the only concept is the given label, with
                this weight.
        """
        self._weights, self._given = weights, given
        # T is the same for any images: folds' predictions are joined.
        self._width = 1 if weights is None else int(np.diff(weights.offsets).max(initial=1))
        self._fallback = np.float32(silent_weight)

    def __call__(self, numbers: NDArray[np.int64]) -> Said:
        """Return what the texts of images (B,) say."""
        shape = len(numbers), self._width
        classes, weights = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        if self._weights is None:
            return Said(classes, weights)
        found, their = self._weights.padded(numbers)
        classes[:, : found.shape[1]], weights[:, : found.shape[1]] = found, their
        # Else a text that does not mention the label would confirm it.
        silent = (weights[:, 0] == self._fallback) & (weights[:, 1:] == 0).all(axis=1)
        silent &= classes[:, 0] == self.given(numbers)
        weights[silent] = 0
        return Said(classes, weights)

    def given(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the given classes of images (B,)."""
        return np.asarray(self._given.classes[self._given.offsets[numbers]], np.int64)

    def asked(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the classes (B, 1+T) whose q a score needs: the given one, then the text's."""
        return np.column_stack([self.given(numbers), self(numbers).classes])


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
    given, said, top = texts.given(part.numbers), texts(part.numbers), part.classes[0]
    classes = np.column_stack([top, given, said.classes]).astype(np.int64)
    q = np.column_stack([part.probabilities[0], part.asked]).astype(np.float64)
    w = ((classes[:, :, None] == said.classes[:, None, :]) * said.weights[:, None, :]).max(axis=2)
    p = q * (w + text_floor)
    p /= (text_floor + (part.asked[:, 1:] * said.weights).sum(axis=1, dtype=np.float64))[:, None]
    label = p[:, top.shape[1]].copy()
    # Each class once, and no padding.
    before = np.tri(classes.shape[1], k=-1, dtype=bool)
    again = ((classes[:, :, None] == classes[:, None, :]) & before).any(axis=2)
    again[:, top.shape[1] + 1 :] |= said.weights == 0
    p[again] = -1
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
