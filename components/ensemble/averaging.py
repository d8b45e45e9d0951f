"""The ensemble's predictions, and the accuracy of each model and of their mean.

Shapes: M models, N validation images, R of them reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from components.ensemble.opinions import Opinions
from components.ensemble.selection import greedy
from components.shared.data import halves
from components.shared.data.evaluation import External
from components.shared.data.predictions import TOP, Predicted, Predictions
from components.shared.data.targets import Targets
from components.shared.stage.errors import UserError
from components.shared.training.accuracy import BalancedAccuracy
from components.shared.training.inference import Inference


@dataclass(frozen=True, slots=True)
class Selection:
    """The models' shares, and which images chose them.

    Attributes:
        chooses: (N,) Whether an image is of the half that chose; the other half is reported.
        taken: (M,) How often each model was taken.
    """

    chooses: NDArray[np.bool_]
    taken: NDArray[np.int64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """The share of each model (M,) of the mean."""
        shares: NDArray[np.float64] = self.taken / self.taken.sum()
        return shares

    @property
    def members(self) -> list[int]:
        """The models that have a share."""
        members: list[int] = np.flatnonzero(self.taken).tolist()
        return members


class Accuracies:
    """The accuracies on some of the validation images.

    Attributes:
        models: Of each model.
        equal: Of the mean of their probabilities, by equal shares.
        ensemble: Of the mean by the ensemble's shares.
    """

    def __init__(self, num_models: int, num_classes: int) -> None:
        """Start with no images."""
        self.models = [BalancedAccuracy(num_classes) for _ in range(num_models)]
        self.equal, self.ensemble = BalancedAccuracy(num_classes), BalancedAccuracy(num_classes)

    def update(
        self, labels: NDArray[np.int64], each: NDArray[np.int32], ensemble: NDArray[np.int32]
    ) -> None:
        """Add a batch: labels (B,), classes by each model and the mean (M+1, B, 5), and (B, 5)."""
        expected = torch.from_numpy(labels)
        accuracies = [*self.models, self.equal, self.ensemble]
        for accuracy, classes in zip(accuracies, [*each, ensemble], strict=True):
            accuracy.update_ranked(torch.from_numpy(classes), expected)


@dataclass(frozen=True, slots=True)
class Validation:
    """The evaluation of the models on the reported validation images: all, or those of a half.

    Attributes:
        numbers: (R,) Which images.
        labels: (R,) Their true classes.
        predictions: The ensemble's.
        reported: The accuracies on them.
        choosing: Those on the half that chose the members.
        selection: The members; None if all models have equal shares.
    """

    numbers: NDArray[np.int64]
    labels: NDArray[np.int64]
    predictions: Predictions
    reported: Accuracies
    choosing: Accuracies
    selection: Selection | None

    def metadata(self, titles: Sequence[str]) -> dict[str, float]:
        """Return the scalars: the ensemble's, then those of each model under its title."""
        ensemble, equal = self.reported.ensemble, self.reported.equal
        scalars: dict[str, float] = {
            "images": ensemble.images,
            "missing_classes": len(ensemble.missing_classes),
            "top1_percent": 100 * ensemble.top1,
            "top5_percent": 100 * ensemble.top5,
        }
        if self.selection:
            scalars["choosing_images"] = self.choosing.ensemble.images
            scalars["equal shares: top1_percent"] = 100 * equal.top1
            scalars["equal shares: top5_percent"] = 100 * equal.top5
        for number, (title, accuracy) in enumerate(zip(titles, self.reported.models, strict=True)):
            scalars[f"{title}: top1_percent"] = 100 * accuracy.top1
            scalars[f"{title}: top5_percent"] = 100 * accuracy.top5
            if self.selection:
                scalars[f"{title}: share_percent"] = 100 * float(self.selection.shares[number])
        return scalars


def select(inference: Inference, labels: Targets) -> Selection:
    """Choose the members on the half of the labelled images that may choose.

    Raises:
        UserError: A half has no image.
    """
    chooses = halves.choosing(inference.images.ids())
    if not 0 < (count := np.count_nonzero(chooses)) < len(chooses):
        raise UserError(
            f"weights=greedy: {count} of {len(chooses)} validation images choose the members, and "
            "the others are to measure them: use weights=equal"
        )
    truth, shards = np.asarray(labels.classes, np.int64), []
    for part in inference:
        rows = chooses[part.numbers]
        opinions = Opinions.of(part.classes[:-1, rows], part.probabilities[:-1, rows])
        shards.append((opinions, truth[part.numbers[rows]]))
    return Selection(chooses, greedy(shards, len(inference.folders)))


def validate(
    inference: Inference, labels: Targets, selection: Selection | None
) -> tuple[Predictions, Validation]:
    """Return the ensemble's predictions for all labelled images, and evaluate it and the models."""
    assert (np.diff(labels.offsets) == 1).all(), "ingest gives each validation image one label"
    truth = np.asarray(labels.classes, np.int64)
    reports = ~selection.chooses if selection else np.ones(len(truth), np.bool_)
    reported, choosing = (Accuracies(len(inference.folders), len(labels.names)) for _ in range(2))
    found = []
    for part in inference:
        each = part.classes[:, :, :TOP]
        if selection:
            opinions = Opinions.of(part.classes[:-1], part.probabilities[:-1])
            found.append(opinions.mean(selection.shares))
        else:
            found.append(Predictions(part.classes[-1], part.probabilities[-1]))
        for accuracies, rows in (
            (reported, reports[part.numbers]),
            (choosing, ~reports[part.numbers]),
        ):
            accuracies.update(truth[part.numbers[rows]], each[:, rows], found[-1].classes[rows])
    predictions, numbers = Predictions.joined(found), np.flatnonzero(reports)
    measured = Predictions(predictions.classes[numbers], predictions.probabilities[numbers])
    return predictions, Validation(numbers, truth[numbers], measured, reported, choosing, selection)


def predict(inference: Inference) -> Predictions:
    """Return the ensemble's predictions for images that choose nothing."""
    return Predictions.joined(
        [Predictions(part.classes[-1], part.probabilities[-1]) for part in inference]
    )


@dataclass(frozen=True, slots=True)
class ExternalValidation:
    """The evaluation of the ensemble on an external validation set.

    Attributes:
        title: What its images are called.
        predicted: The images and the ensemble's predictions.
        accuracy: Its accuracy.
    """

    title: str
    predicted: Predicted
    accuracy: BalancedAccuracy

    @classmethod
    def of(cls, external: External, inference: Inference) -> Self:
        """Evaluate an ensemble that has seen the images."""
        predicted = Predicted(external.images, external.labels, predict(inference))
        accuracy = BalancedAccuracy(len(external.labels.names))
        labels = torch.from_numpy(np.asarray(external.labels.classes, np.int64))
        accuracy.update_ranked(torch.from_numpy(predicted.predictions.classes), labels)
        return cls(external.title, predicted, accuracy)

    def metadata(self) -> dict[str, float]:
        """Return the scalars."""
        return {
            "external_images": self.accuracy.images,
            "external_top1_percent": 100 * self.accuracy.top1,
            "external_top5_percent": 100 * self.accuracy.top5,
        }
