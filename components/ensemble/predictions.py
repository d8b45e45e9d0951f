"""What the models say together, and how good each of them and their mean are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from components.shared import storage
from components.shared.evaluation import BalancedAccuracy
from components.shared.images import ImageSet
from components.shared.prediction import Labelling
from components.shared.targets import Targets

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("concepts", pa.list_(pa.int32()), nullable=False),  # most probable first
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),
    ]
)
TOP = 5  # the challenge's measure


@dataclass(frozen=True, slots=True)
class Predictions:
    """The most probable classes of N images: K = 5, or C where there are fewer classes.

    Attributes:
        classes: (N, K), the most probable first.
        probabilities: (N, K) The models' mean probabilities of them.
    """

    classes: NDArray[np.int32]
    probabilities: NDArray[np.float32]

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Put parts one after another."""
        if not parts:
            return cls(np.empty((0, TOP), np.int32), np.empty((0, TOP), np.float32))
        return cls(
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class Validation:
    """What the validation images say of the models.

    Attributes:
        labels: (N,) The true classes.
        predictions: What the ensemble takes them for.
        models: The accuracy of each model.
        ensemble: The accuracy of the mean of their probabilities.
    """

    labels: NDArray[np.int64]
    predictions: Predictions
    models: list[BalancedAccuracy]
    ensemble: BalancedAccuracy

    def metrics(self, titles: Sequence[str]) -> dict[str, float]:
        """Return the scalars: the ensemble's, then those of each model under its title."""
        scalars: dict[str, float] = {
            "images": self.ensemble.images,
            "missing_classes": len(self.ensemble.missing_classes),
            "top1": self.ensemble.top1,
            "top5": self.ensemble.top5,
        }
        for title, accuracy in zip(titles, self.models, strict=True):
            scalars |= {f"{title}, top1": accuracy.top1, f"{title}, top5": accuracy.top5}
        return scalars


def validate(opinions: Labelling, labels: Targets) -> Validation:
    """Evaluate each model and their mean by what they say of labelled images."""
    assert (np.diff(labels.offsets) == 1).all(), "ingest gives each validation image one label"
    truth = np.asarray(labels.classes, np.int64)
    accuracies = [BalancedAccuracy(len(labels.names)) for _ in [*opinions.folders, "mean"]]
    means = []
    for part in opinions:
        expected = torch.from_numpy(truth[part.numbers])
        for accuracy, classes in zip(accuracies, part.classes, strict=True):
            accuracy.update_ranked(torch.from_numpy(classes), expected)
        means.append(Predictions(part.classes[-1], part.probabilities[-1]))
    return Validation(truth, Predictions.joined(means), accuracies[:-1], accuracies[-1])


def predict(opinions: Labelling) -> Predictions:
    """Return what the models say together of images whose labels nobody has."""
    return Predictions.joined(
        [Predictions(part.classes[-1], part.probabilities[-1]) for part in opinions]
    )


def write_predictions(path: Path, images: ImageSet, validation: Validation) -> None:
    """Write each validation image's id, label and most probable concepts as Parquet (`SCHEMA`).

    Concepts and labels are class numbers: rows of ingest's `concepts`.
    """
    predictions = validation.predictions
    columns = [
        images.ids(),
        validation.labels,
        list(predictions.classes),
        list(predictions.probabilities),
    ]
    arrays = [pa.array(each, field.type) for each, field in zip(columns, SCHEMA, strict=True)]
    with storage.complete(path) as temporary:
        pq.write_table(pa.table(arrays, schema=images.numbering.in_schema(SCHEMA)), temporary)
