"""The ensemble's predictions, and the accuracy of each model and of their mean."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from components.shared.data.predictions import Predictions
from components.shared.data.targets import Targets
from components.shared.training.accuracy import BalancedAccuracy
from components.shared.training.inference import Inference


@dataclass(frozen=True, slots=True)
class Validation:
    """The evaluation of the models on the validation images.

    Attributes:
        labels: (N,) The true classes.
        predictions: The ensemble's.
        models: The accuracy of each model.
        ensemble: The accuracy of the mean of their probabilities.
    """

    labels: NDArray[np.int64]
    predictions: Predictions
    models: list[BalancedAccuracy]
    ensemble: BalancedAccuracy

    def metadata(self, titles: Sequence[str]) -> dict[str, float]:
        """Return the scalars: the ensemble's, then those of each model under its title."""
        scalars: dict[str, float] = {
            "images": self.ensemble.images,
            "missing_classes": len(self.ensemble.missing_classes),
            "top1_percent": 100 * self.ensemble.top1,
            "top5_percent": 100 * self.ensemble.top5,
        }
        for title, accuracy in zip(titles, self.models, strict=True):
            scalars[f"{title}: top1_percent"] = 100 * accuracy.top1
            scalars[f"{title}: top5_percent"] = 100 * accuracy.top5
        return scalars


def validate(inference: Inference, labels: Targets) -> Validation:
    """Evaluate each model and their mean on labelled images."""
    assert (np.diff(labels.offsets) == 1).all(), "ingest gives each validation image one label"
    truth = np.asarray(labels.classes, np.int64)
    accuracies = [BalancedAccuracy(len(labels.names)) for _ in [*inference.folders, "mean"]]
    means = []
    for part in inference:
        expected = torch.from_numpy(truth[part.numbers])
        for accuracy, classes in zip(accuracies, part.classes, strict=True):
            accuracy.update_ranked(torch.from_numpy(classes), expected)
        means.append(Predictions(part.classes[-1], part.probabilities[-1]))
    return Validation(truth, Predictions.joined(means), accuracies[:-1], accuracies[-1])


def predict(inference: Inference) -> Predictions:
    """Return the ensemble's predictions for unlabelled images."""
    return Predictions.joined(
        [Predictions(part.classes[-1], part.probabilities[-1]) for part in inference]
    )
