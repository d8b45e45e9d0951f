"""What several models say of the same images, kept as each model's most probable classes.

Shapes: M models, N images, K classes kept of a model, U that any of them keeps.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.shared.data.predictions import TOP, Predictions


@dataclass(frozen=True, slots=True)
class Opinions:
    """The models' probabilities; a class that a model has not kept counts as 0 there.

    Attributes:
        classes: (N, U) The classes of an image that any model keeps, ascending, then padding.
        places: (M, N, K) Where a model's classes are in `classes`.
        probabilities: (M, N, K) Theirs.
    """

    classes: NDArray[np.int32]
    places: NDArray[np.int32]
    probabilities: NDArray[np.float32]

    @classmethod
    def of(cls, classes: NDArray[np.int32], probabilities: NDArray[np.float32]) -> "Opinions":
        """Align the models' classes (M, N, K), of which no model has one twice for an image."""
        models, images, kept = classes.shape
        named = classes.transpose(1, 0, 2).reshape(images, models * kept)
        order = named.argsort(axis=1, kind="stable")
        ascending = np.take_along_axis(named, order, axis=1)
        ranks = np.zeros_like(ascending)
        ranks[:, 1:] = (ascending[:, 1:] != ascending[:, :-1]).cumsum(axis=1)
        union = np.zeros((images, ranks.max(initial=0) + 1), np.int32)
        np.put_along_axis(union, ranks, ascending, axis=1)
        places = np.empty_like(ranks)
        np.put_along_axis(places, order, ranks, axis=1)
        places = places.reshape(images, models, kept).transpose(1, 0, 2).copy()
        return cls(union, places, probabilities)

    def added(
        self, sums: NDArray[np.float64], model: int, weight: float = 1.0
    ) -> NDArray[np.float64]:
        """Return sums (N, U) and a model's weighted probabilities together."""
        total = sums.copy()
        total[np.arange(len(sums))[:, None], self.places[model]] += (
            weight * self.probabilities[model]
        )
        return total

    def mean(self, shares: NDArray[np.float64]) -> Predictions:
        """Return the classes with the highest mean probability by the models' shares (M,).

        Ties are broken by class number, as everywhere.
        """
        sums = np.zeros(self.classes.shape)
        for model in np.flatnonzero(shares).tolist():
            sums = self.added(sums, model, shares[model])
        strongest = (-sums).argsort(axis=1, kind="stable")[:, : min(TOP, self.places.shape[2])]
        return Predictions(
            np.take_along_axis(self.classes, strongest, axis=1),
            np.take_along_axis(sums, strongest, axis=1).astype(np.float32),
        )
