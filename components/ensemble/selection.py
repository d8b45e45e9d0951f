"""The members' shares, by labelled images.

`greedy` is Caruana et al. 2004, "Ensemble selection from libraries of models": beginning with none,
the model that makes the mean of those taken so far best is taken next, again and again; of the
ensembles on the way the best one is the result.

`weighted` are the shares with the lowest log loss of the mean, if beside the images there were a
twentieth as many that each model explains as well as the others: these draw towards equal shares
where images hardly tell models apart. It is the EM algorithm for a mixture whose components are
given, with a Dirichlet prior (Dempster et al. 1977).
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from components.ensemble.opinions import Opinions

Weights = Literal["weighted", "greedy"]
_STEPS = 30
_ROUNDS = 200  # shares no longer change by a percent after 50
_ALIKE = 0.05
_LEAST = 1e-6  # a label's probability, where no model has kept it
Labelled = tuple[Opinions, NDArray[np.int64]]


def parts(weights: Weights, shards: Iterable[Labelled], num_models: int) -> NDArray[np.int64]:
    """Return the models' parts of the ensemble (M,), whole numbers; a share is one over their sum.

    Args:
        weights: How to find them.
        shards: The models' opinions on the choosing images, and these images' classes (N,).
        num_models: M.
    """
    return {"weighted": weighted, "greedy": greedy}[weights](shards, num_models)


def weighted(shards: Iterable[Labelled], num_models: int) -> NDArray[np.int64]:
    """Return the shares (M,) in percent: whole ones, which rounding errors hardly change."""
    found = [(_of_label(opinions, classes), classes) for opinions, classes in shards]
    of_label = np.maximum(np.concatenate([each for each, _ in found], axis=1), _LEAST)
    weight = _weights(np.concatenate([classes for _, classes in found]))
    shares = np.full(num_models, 1 / num_models)
    for _ in range(_ROUNDS):
        explained = shares * (of_label @ (weight / (shares @ of_label)))
        shares = (explained + _ALIKE / num_models) / (1 + _ALIKE)
    percent: NDArray[np.int64] = np.rint(100 * shares).astype(np.int64)
    return percent


def greedy(shards: Iterable[Labelled], num_models: int) -> NDArray[np.int64]:
    """Return how often each model (M,) is taken.

    Best is the highest balanced top-1 accuracy, of equal ones the lowest balanced log loss; of
    models that are equal in both the first is taken, of ensembles the smallest is the result.
    """
    found = list(shards)
    weights = np.split(
        _weights(np.concatenate([classes for _, classes in found])),
        np.cumsum([len(classes) for _, classes in found])[:-1],
    )
    states = [_Shard(*each, weight) for each, weight in zip(found, weights, strict=True)]
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


def _weights(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the weight of each image (N,) in a balanced mean, by its class."""
    images = np.bincount(labels)
    weights: NDArray[np.float64] = 1 / (np.count_nonzero(images) * images[labels])
    return weights


def _of_label(opinions: Opinions, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each model's probability (M, N) of the images' classes."""
    named = np.take_along_axis(opinions.classes[None], opinions.places, axis=2)
    kept = named == labels[:, None]
    found: NDArray[np.float64] = np.where(kept, opinions.probabilities, 0).sum(axis=2, dtype=float)
    return found


class _Shard:
    """The ensemble so far, on the images of a shard."""

    def __init__(
        self, opinions: Opinions, labels: NDArray[np.int64], weight: NDArray[np.float64]
    ) -> None:
        self._opinions, self._labels, self._weight = opinions, labels, weight
        self._of_label = _of_label(opinions, labels)
        self._sums, self._label_sums = np.zeros(opinions.classes.shape), np.zeros(len(labels))

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
