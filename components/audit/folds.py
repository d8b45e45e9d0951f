"""Predictions by models that did not train on the labels that they judge."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.storage.checkpoints import Checkpoints
from components.shared.training import models
from components.shared.training.inference import Inference, ShardPredictions
from components.shared.training.losses import TargetsLoss
from components.shared.training.models import Record
from components.shared.training.training_run import TrainingRun
from components.shared.training.validation import LabelValidation


def dealt(labels: Targets, folds: int) -> NDArray[np.int32]:
    """Return the fold of each image (N,): those of a class are dealt out in turn.

    Each training then has images of every class that has at least two. Ingest has shuffled the
    images, so their numbers are as good as chance.
    """
    classes = np.asarray(labels.classes)
    order = np.argsort(classes, kind="stable")
    in_order = classes[order]
    positions = np.arange(len(order)) - np.searchsorted(in_order, in_order)
    found = np.empty(len(classes), np.int32)
    # From the class's number on: else all classes of one image would be in the first fold.
    found[order] = (positions + in_order) % folds
    return found


@dataclass(frozen=True, slots=True)
class Fold:
    """A fold that has been predicted.

    Attributes:
        record: The record of the model, which was trained on all other folds.
        inference: The predictions.
        checkpoints: The training's; a rerun takes the model from them.
    """

    record: Record
    inference: Inference
    checkpoints: Checkpoints

    @classmethod
    def predicted(
        cls,
        what: str,
        chosen: NDArray[np.int64],
        *,
        run: TrainingRun,
        images: ImageSet,
        labels: Targets,
        validation: LabelValidation,
        uri: str,
        top_k: int,
        asked: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    ) -> "Fold":
        """Train a model without a fold's images, then predict them, all ranks together.

        Args:
            what: The fold's name, shown with the progress.
            chosen: The fold's images.
            run: The training.
            images: All training images.
            labels: Their given labels.
            validation: Evaluates the model after each epoch.
            uri: URI of the predictions' parts.
            top_k: Classes kept of an image.
            asked: As in `Inference`.
        """
        network = models.create(run.settings, len(labels.names), initial_model=run.initial_model)
        trained = run.fit(
            network,
            images,
            labels,
            TargetsLoss(),
            validation,
            balance_on="strongest",
            left_out=chosen,
        )
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model"
            models.save(model, trained.model, trained.record)
            inference = Inference(
                uri=uri,
                images=images,
                folders=[model],
                top_k=top_k,
                # What training has room for.
                batch_size=run.settings.micro_batch_size,
                chosen=chosen,
                asked=asked,
            )
            inference.run(what)
        return cls(trained.record, inference, trained.checkpoints)


def joined(folds: Sequence[Fold]) -> Iterator[ShardPredictions]:
    """Yield the predictions for all images of a shard, shard by shard, from all folds."""
    index = folds[0].inference.images.index["shard"]
    parts = merge(*(fold.inference for fold in folds), key=lambda part: int(part.numbers[0]))
    for _, group in groupby(parts, key=lambda part: int(index[part.numbers[0]])):
        found = list(group)
        numbers = np.concatenate([part.numbers for part in found])
        order = np.argsort(numbers)
        asked = [part.asked for part in found if part.asked is not None]
        yield ShardPredictions(
            numbers[order],
            np.concatenate([part.classes[0] for part in found])[None, order],
            np.concatenate([part.probabilities[0] for part in found])[None, order],
            np.concatenate(asked)[order],
        )
