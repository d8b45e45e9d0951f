"""The training loop, one for all training stages.

They differ in the targets, how these are drawn, the weights that the model starts with, and what
it is measured by.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from components.shared.images import ImageSet
from components.shared.interface import UserError
from components.shared.losses import TargetsLoss
from components.shared.models import autocast, place
from components.shared.pictures import batches, decoded, device, normalized, training_crop
from components.shared.progress import progress
from components.shared.sampling import Part, Plan
from components.shared.settings import TrainingSettings
from components.shared.targets import Targets
from components.shared.validation import Validation

logger = logging.getLogger(__name__)
_MOMENTUM = 0.9
# Asking a GPU for the loss makes it wait.
_STEPS_BETWEEN_CHECKS = 50


def train(
    model: nn.Module,
    images: ImageSet,
    targets: Targets,
    loss: TargetsLoss,
    validation: Validation,
    settings: TrainingSettings,
    *,
    balance_on: Literal["any", "strongest"],
    left_out: NDArray[np.int64] | Sequence[int] = (),
) -> list[dict[str, float]]:
    """Train a model in place; its final weights are the last epoch's.

    Validation never chooses among the epochs: the validation labels may only evaluate.

    Args:
        model: The model to train.
        images: The training images.
        targets: What to learn of each of them.
        loss: What is minimised.
        validation: What the model is measured by after each epoch.
        settings: How to train.
        balance_on: As in `Plan`.
        left_out: Image numbers that are never drawn.

    Returns:
        The curve, an entry per epoch: epoch, images (seen so far), seconds (so far, without
        validation), learning_rate (of the last step), loss (mean over the epoch, weights as they
        were) and the validation's measures.

    Raises:
        UserError: No image has a target, the stored images are too small, or the loss is no
            longer finite.
    """
    if settings.image_size > images.image_side:
        raise UserError(
            f"image_size={settings.image_size}: the images are stored with {images.image_side} "
            "pixels on the short side: lower it, or run ingest with a larger image_side"
        )
    plan = Plan(
        targets,
        balance=settings.balance,
        balance_on=balance_on,
        max_repeats=settings.max_repeats,
        seed=settings.seed,
        left_out=left_out,
    )
    where = device()
    torch.manual_seed(settings.seed)
    torch.backends.cudnn.benchmark = True
    place(model, settings.backbone)
    optimizer = torch.optim.SGD(_parameter_groups(model, settings.weight_decay), momentum=_MOMENTUM)
    steps = steps_per_epoch(settings, plan.num_images)
    parts = plan.parts(settings.batch_size // settings.accumulation_steps)
    num_parts = settings.epochs * steps * settings.accumulation_steps
    examples = batches(_Examples(images, targets, settings), islice(parts, num_parts))
    logger.info(
        "%d epochs of %d steps of %d images in %d parts, on %s",
        settings.epochs,
        steps,
        settings.batch_size,
        settings.accumulation_steps,
        where,
    )
    curve: list[dict[str, float]] = []
    seconds = 0.0
    for epoch in range(settings.epochs):
        model.train()
        started, losses = time.monotonic(), torch.zeros((), device=where)
        what = f"epoch {epoch + 1} of {settings.epochs}"
        for step in progress(range(steps), total=steps, unit="step", what=what):
            rate = learning_rate(epoch * steps + step, steps, settings)
            for group in optimizer.param_groups:
                group["lr"] = rate
            losses += _gradients(model, examples, loss, settings)
            nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
            if (step + 1) % _STEPS_BETWEEN_CHECKS == 0 or step + 1 == steps:
                _check_finite(losses, rate, epoch + 1)
        seconds += time.monotonic() - started
        curve.append(
            {
                "epoch": epoch + 1,
                "images": (epoch + 1) * steps * settings.batch_size,
                "seconds": seconds,
                "learning_rate": rate,
                "loss": losses.item() / (steps * settings.batch_size),
                **validation(model.eval()),
            }
        )
        _log(curve[-1], settings.epochs)
    return curve


def steps_per_epoch(settings: TrainingSettings, num_images: int) -> int:
    """Return the optimizer steps of an epoch; passes go on from one epoch to the next."""
    return max(1, round((settings.epoch_images or num_images) / settings.batch_size))


def learning_rate(step: int, steps_per_epoch: int, settings: TrainingSettings) -> float:
    """Return the learning rate of a step: a linear warm-up, then a tenth every `decay_epochs`."""
    warmup_steps = settings.warmup_epochs * steps_per_epoch
    warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    decays = step // (settings.decay_epochs * steps_per_epoch)
    return settings.learning_rate * warmup * float(0.1**decays)


def _gradients(
    model: nn.Module,
    examples: Iterator["_Example"],
    loss: TargetsLoss,
    settings: TrainingSettings,
) -> Tensor:
    """Add the gradients of one step's parts to the model; return the sum of the images' losses."""
    where = device()
    losses = torch.zeros((), device=where)
    for example in islice(examples, settings.accumulation_steps):
        with autocast():
            logits = model(normalized(example.crops, where))
        classes = example.classes.to(where, non_blocking=True)
        weights = example.weights.to(where, non_blocking=True)
        part = loss(logits, classes, weights).sum()
        # The mean is over all images of the step, and a plan holds none without targets.
        (part / settings.batch_size).backward()
        losses += part.detach()
    return losses


class _Example(NamedTuple):
    crops: Tensor  # (B, 3, S, S) uint8
    classes: Tensor  # (B, K) int64
    weights: Tensor  # (B, K) float32


class _Examples(Dataset[_Example]):
    """Pictures and targets of the parts of a plan."""

    def __init__(self, images: ImageSet, targets: Targets, settings: TrainingSettings) -> None:
        self._images, self._targets = images, targets
        self._size, self._smallest_crop = settings.image_size, settings.smallest_crop
        self._seed = settings.seed

    def __getitem__(self, part: Part) -> _Example:
        crops = torch.empty(len(part.images), 3, self._size, self._size, dtype=torch.uint8)
        for row, image in enumerate(part.images.tolist()):
            # By its place in the plan, not by the worker that happens to decode it.
            random = np.random.default_rng((self._seed, part.first + row))
            picture = decoded(self._images.read(image))
            crops[row] = training_crop(picture, self._size, self._smallest_crop, random)
        classes, weights = self._targets.padded(part.images)
        return _Example(crops, torch.from_numpy(classes), torch.from_numpy(weights))


def _parameter_groups(model: nn.Module, weight_decay: float) -> Iterator[dict[str, object]]:
    """Yield the optimizer's groups: norms and biases are not pulled towards 0."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    yield {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay}
    yield {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}


def _check_finite(loss: Tensor, rate: float, epoch: int) -> None:
    if not torch.isfinite(loss):
        raise UserError(
            f"the loss is {loss.item()} in epoch {epoch} at a learning rate of {rate:.3g}: lower "
            "learning_rate or clip_norm, or set a longer warmup_epochs"
        )


def _log(entry: dict[str, float], epochs: int) -> None:
    measures = ", ".join(f"{name} {value:.4g}" for name, value in entry.items() if name != "epoch")
    rate = entry["images"] / entry["seconds"]
    logger.info("epoch %d of %d: %s, %.0f images/s", entry["epoch"], epochs, measures, rate)
