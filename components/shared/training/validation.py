"""How a model is evaluated after each epoch: on labelled images, or on held-out targets."""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.shared.data.halves import CHOOSING, REPORTED, choosing
from components.shared.data.image_set import ImageSet
from components.shared.data.predictions import TOP, Predicted, Predictions
from components.shared.data.targets import Targets
from components.shared.stage import ranks
from components.shared.stage.errors import UserError
from components.shared.training.accuracy import BalancedAccuracy, top_k
from components.shared.training.losses import TargetsLoss
from components.shared.training.models import autocast
from components.shared.training.transforms import device, evaluation_batches, normalized
from components.shared.training.views import Crop

_HELD_OUT = 0.005


class Validation(Protocol):
    """Evaluates a model.

    Attributes:
        score: The metric by which models are ranked.
        per_class: Top-1 accuracy (C,) of the last evaluation, NaN where unknown; None if the model
            is not a classifier.
    """

    score: str
    per_class: NDArray[np.float64] | None

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Return the metrics of a model, in evaluation mode, by name."""
        ...


class LabelValidation:
    """Top-1 and top-5 accuracy on labelled images, averaged over the classes.

    And top-1 on each half of them: by the one, models may be chosen; then the other measures.

    Attributes:
        title: What the images are called.
    """

    score = "top1"
    per_class: NDArray[np.float64] | None = None

    def __init__(
        self,
        images: ImageSet,
        labels: Targets,
        names: Sequence[str],
        image_size: int,
        batch_size: int,
        *,
        first_output: int = 0,
        title: str = "validation",
    ) -> None:
        """Take the labelled images of a validation set, and the names of the model's classes.

        Args:
            images: The images; those without a label are left out.
            labels: Their labels.
            names: The model's classes, which must be those of the labels.
            image_size: Side of the crops, in pixels.
            batch_size: Images at a time.
            first_output: Index of the first output for these classes, which are the model's last.
            title: What the images are called.

        Raises:
            UserError: Images, labels and classes do not match, or no image has a label.
        """
        images.identity.check(labels.identity, "validation_labels")
        if labels.names != list(names):
            raise UserError(
                f"the validation labels' {len(labels.names):,} classes are not the targets' "
                f"{len(names):,}: use the outputs of the same ingest"
            )
        self._images, self._labels, self._first_output = images, labels, first_output
        self._sizes, self.title = (image_size, batch_size), title
        self._numbers = np.flatnonzero(np.diff(labels.offsets) > 0)
        self._chooses = torch.from_numpy(choosing(images.ids()))
        if not len(self._numbers):
            raise UserError(f"{images.folder}: no validation image has a label")

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Return balanced top-1 and top-5 accuracy, 0 … 1; if both halves have images, theirs."""
        accuracy, on_choosing, on_reported = (
            BalancedAccuracy(len(self._labels.names)) for _ in range(3)
        )
        shape = (len(self._images), min(TOP, len(self._labels.names)))
        ranked, probabilities = torch.zeros(shape, dtype=torch.int32), torch.zeros(shape)
        for numbers, logits in _logits(model, self._images, self._numbers, *self._sizes):
            given = self._labels.classes[self._labels.offsets[numbers]]
            labels = torch.from_numpy(given).long().to(logits.device)
            logits = logits[:, self._first_output :]
            classes = top_k(logits, TOP)[1]
            chooses = self._chooses[numbers].to(logits.device)
            accuracy.update_ranked(classes, labels)
            on_choosing.update_ranked(classes[chooses], labels[chooses])
            ranked[numbers] = classes.int().cpu()
            probabilities[numbers] = logits.softmax(dim=1).gather(1, classes).cpu()
        for each in (accuracy, on_choosing):
            each.counts = ranks.all_reduce(each.counts)
        on_reported.counts = accuracy.counts - on_choosing.counts
        others = np.full(self._first_output, np.nan)
        self.per_class = np.concatenate([others, accuracy.per_class])
        # Each rank has filled in its share of the rows.
        self._predictions = Predictions(
            ranks.all_reduce(ranked).numpy(), ranks.all_reduce(probabilities).numpy()
        )
        metrics = {"top1": accuracy.top1, "top5": accuracy.top5}
        if on_choosing.images and on_reported.images:
            metrics |= {CHOOSING: on_choosing.top1, REPORTED: on_reported.top1}
        return metrics

    @property
    def predicted(self) -> Predicted:
        """The images and the predictions of the last evaluation."""
        return Predicted(self._images, self._labels, self._predictions)


class HeldOutValidation:
    """Loss and recall@5 on training images that were held out."""

    score = "recall5"
    per_class: NDArray[np.float64] | None = None

    def __init__(
        self,
        images: ImageSet,
        targets: Targets,
        numbers: NDArray[np.int64],
        loss: TargetsLoss,
        image_size: int,
        batch_size: int,
    ) -> None:
        """Take the images with these numbers, each of which has targets; see `LabelValidation`."""
        self._images, self._targets, self._numbers = images, targets, numbers
        self._loss, self._sizes = loss, (image_size, batch_size)

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Return the mean loss, and the mean share of an image's targets in its top five."""
        sums = torch.zeros(2, dtype=torch.float64)
        for numbers, logits in _logits(model, self._images, self._numbers, *self._sizes):
            classes, weights = (
                torch.from_numpy(part).to(logits.device) for part in self._targets.padded(numbers)
            )
            sums[0] += self._loss(logits, classes, weights).sum().item()
            found = (classes[:, :, None] == top_k(logits, 5)[1][:, None, :]).any(dim=2)
            there = weights > 0
            sums[1] += ((found & there).sum(dim=1) / there.sum(dim=1)).sum().item()
        loss, recall = (ranks.all_reduce(sums) / len(self._numbers)).tolist()
        return {"validation_loss": loss, "recall5": recall}


def held_out(targets: Targets) -> NDArray[np.int64]:
    """Return the numbers of about 0.5 % of the images with targets, at least one.

    The first ones: as shards are shuffled, they are a random sample, but from few shards. Any other
    choice would touch all of them, and validation would fetch the whole set.
    """
    last = math.ceil(_HELD_OUT * (len(targets.offsets) - 1))
    chosen = np.flatnonzero(np.diff(targets.offsets[: last + 1]))
    return chosen if len(chosen) else np.flatnonzero(np.diff(targets.offsets))[:1]


@torch.inference_mode()
def _logits(
    model: nn.Module,
    images: ImageSet,
    numbers: NDArray[np.int64],
    image_size: int,
    batch_size: int,
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Yield image numbers (B,) of this rank's share, and their logits (B, C) in fp32."""
    where = device()
    share = numbers[ranks.rank() :: ranks.world_size()]
    for batch, (crops,) in evaluation_batches(images, [share], [Crop(image_size)], batch_size):
        with autocast():
            logits = model(normalized(crops, where))
        yield batch, logits.float()
