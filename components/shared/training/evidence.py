"""What classifiers and the texts say of images, side by side.

Shapes: B images, K of a classifier's most probable classes, T classes of the texts.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.shared.data.targets import Targets
from components.shared.training.inference import ShardPredictions


class Said(NamedTuple):
    """What the texts of B images say.

    Attributes:
        classes: (B, T) int64, strongest first.
        weights: (B, T) float32, 0 in the padding and where a text says nothing.
    """

    classes: NDArray[np.int64]
    weights: NDArray[np.float32]


class Evidence(NamedTuple):
    """The classes of B images whose probability is known: the K best, the given one, the texts'.

    Attributes:
        given: (B,) int64, the given class.
        classes: (B, K+1+T) int64.
        probabilities: (B, K+1+T) float64, the classifiers'.
        weights: (B, K+1+T) float32, the text's; 0 where it does not name a class.
        first: (B, K+1+T) bool, False where a class is there a second time, and in the padding.
    """

    given: NDArray[np.int64]
    classes: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    weights: NDArray[np.float32]
    first: NDArray[np.bool_]


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
        """Return the classes (B, 1+T) to ask classifiers for: the given one, then the text's."""
        return np.column_stack([self.given(numbers), self(numbers).classes])

    def evidence(self, part: ShardPredictions) -> Evidence:
        """Return what is known of a shard's images, predicted with what `asked` returns.

        With any floor c > 0, the classes of the K largest products of probability and weight + c
        are among these: a class that the text does not name is behind K others by probability.
        """
        assert part.asked is not None
        given, said, top = self.given(part.numbers), self(part.numbers), part.classes[0]
        classes = np.column_stack([top, given, said.classes]).astype(np.int64)
        q = np.column_stack([part.probabilities[0], part.asked]).astype(np.float64)
        named = classes[:, :, None] == said.classes[:, None, :]
        before = np.tri(classes.shape[1], k=-1, dtype=bool)
        first = ~((classes[:, :, None] == classes[:, None, :]) & before).any(axis=2)
        first[:, top.shape[1] + 1 :] &= said.weights > 0
        return Evidence(given, classes, q, (named * said.weights[:, None, :]).max(axis=2), first)
