"""Greedy selection of the members, with repetition.

Caruana et al. 2004, "Ensemble selection from libraries of models": beginning with none, the model
that makes the mean of those taken so far best is taken next, again and again; of the ensembles on
the way the best one is the result. A model's share is how often it was taken.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.ensemble.opinions import Opinions

_STEPS = 30
_LEAST = 1e-6  # a label's probability, where no model has kept it
Labelled = tuple[Opinions, NDArray[np.int64]]


def greedy(shards: Sequence[Labelled], num_models: int) -> NDArray[np.int64]:
    """Return how often each model (M,) is taken.

    Best is the highest balanced top-1 accuracy, of equal ones the lowest balanced log loss; of
    models that are equal in both the first is taken, of ensembles the smallest is the result.

    Args:
        shards: The models' opinions on the choosing images, and these images' classes (N,).
        num_models: M.
    """
    labels = np.concatenate([classes for _, classes in shards])
    images = np.bincount(labels)
    weight = 1 / (np.count_nonzero(images) * np.maximum(images, 1))  # of an image, by its class
    states = [_Shard(opinions, classes, weight[classes]) for opinions, classes in shards]
    taken, best, best_taken = np.zeros(num_models, np.int64), (-1.0, 0.0), np.array([])
    for step in range(1, _STEPS + 1):
        scores = [_score([each.tried(i, step) for each in states]) for i in range(num_models)]
        model = max(range(num_models), key=scores.__getitem__)
        taken[model] += 1
        for each in states:
            each.take(model)
        if scores[model] > best:
            best, best_taken = scores[model], taken.copy()
    return best_taken


def _score(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the shards' accuracy and negative log loss; rounded, as sums differ by their order."""
    top1, loss = np.sum(parts, axis=0).tolist()
    return round(top1, 12), -round(loss, 12)


class _Shard:
    """The ensemble so far, on the images of a shard."""

    def __init__(
        self, opinions: Opinions, labels: NDArray[np.int64], weight: NDArray[np.float64]
    ) -> None:
        self._opinions, self._weight = opinions, weight
        self._sums = np.zeros(opinions.classes.shape)
        named = np.take_along_axis(opinions.classes[None], opinions.places, axis=2)
        kept = named == labels[:, None]
        self._of_label = np.where(kept, opinions.probabilities, 0).sum(axis=2, dtype=np.float64)
        self._label_sums = np.zeros(len(labels))
        self._labels = labels

    def tried(self, model: int, members: int) -> tuple[float, float]:
        """Return the shard's parts of accuracy and log loss with a model taken as the last."""
        first = self._opinions.added(self._sums, model).argmax(axis=1)
        right = self._opinions.classes[np.arange(len(first)), first] == self._labels
        mean = (self._label_sums + self._of_label[model]) / members
        loss = -np.log(np.maximum(mean, _LEAST))
        return float(self._weight @ right), float(self._weight @ loss)

    def take(self, model: int) -> None:
        self._sums = self._opinions.added(self._sums, model)
        self._label_sums += self._of_label[model]
