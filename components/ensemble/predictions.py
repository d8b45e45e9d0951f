"""What the models say together, and how good each of them and their mean are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from components.shared import storage
from components.shared.evaluation import BalancedAccuracy
from components.shared.images import ImageSet
from components.shared.prediction import Classifier, most_probable, probabilities
from components.shared.targets import Targets

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("concepts", pa.list_(pa.int32()), nullable=False),  # most probable first
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),
    ]
)
_TOP = 5  # the challenge's measure


@dataclass(frozen=True, slots=True)
class Predictions:
    """The most probable classes of N images: K = 5, or C where there are fewer classes.

    Attributes:
        classes: (N, K), the most probable first.
        probabilities: (N, K) The models' mean probabilities of them.
    """

    classes: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    @classmethod
    def joined(
        cls, batches: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]]
    ) -> "Predictions":
        """Put batches of classes and probabilities one after another."""
        if not batches:
            return cls(np.empty((0, _TOP), np.int64), np.empty((0, _TOP), np.float32))
        classes, probabilities = zip(*batches, strict=True)
        return cls(np.concatenate(classes), np.concatenate(probabilities))


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


def validate(
    images: ImageSet, labels: Targets, classifiers: Sequence[Classifier], batch_size: int
) -> Validation:
    """Evaluate each model and their mean on labelled images."""
    num_classes = len(labels.names)
    models = [BalancedAccuracy(num_classes) for _ in classifiers]
    ensemble = BalancedAccuracy(num_classes)
    assert (np.diff(labels.offsets) == 1).all(), "ingest gives each validation image one label"
    truth = np.asarray(labels.classes, np.int64)
    batches = []
    for numbers, opinions in probabilities(
        images, np.arange(len(images)), classifiers, batch_size=batch_size, what="validation"
    ):
        expected = torch.from_numpy(truth[numbers]).to(opinions.device)
        for accuracy, scores in zip(models, opinions, strict=True):
            accuracy.update(scores, expected)
        ensemble.update(opinions.mean(dim=0), expected)
        batches.append(most_probable(opinions, _TOP))
    return Validation(truth, Predictions.joined(batches), models, ensemble)


def predict(images: ImageSet, classifiers: Sequence[Classifier], batch_size: int) -> Predictions:
    """Return what the models say together of images whose labels nobody has."""
    everything = probabilities(
        images, np.arange(len(images)), classifiers, batch_size=batch_size, what="test images"
    )
    return Predictions.joined([most_probable(opinions, _TOP) for _, opinions in everything])


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
