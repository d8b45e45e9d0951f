"""The training loop, one for all training stages.

They differ in the targets, how these are drawn, the weights that the model starts with, and what
it is measured by.

A batch goes through the model in parts: one after another, on several GPUs, or both. Where the
parts are the same, so is the step, to fp32 rounding: gradients are divided by the images of the
whole batch, and batch norm normalises each part by itself. (Only its running statistics differ:
they are the first rank's, which has seen its own parts.)

All randomness is a function of the seed and the step, so a training that goes on from a checkpoint
is the one that was interrupted; on the CPU bit for bit.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset

from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.stage.errors import UserError
from components.shared.stage.progress import progress
from components.shared.storage import shard_cache
from components.shared.storage.shard_cache import Shard
from components.shared.training import ranks
from components.shared.training.checkpoints import Checkpoints
from components.shared.training.losses import TargetsLoss
from components.shared.training.models import autocast, place
from components.shared.training.sampling import Part, Plan
from components.shared.training.schedule import Division, learning_rate, steps_per_epoch
from components.shared.training.settings import TrainingSettings
from components.shared.training.state import TrainingState
from components.shared.training.transforms import (
    batches,
    decoded,
    device,
    empty_batch,
    normalized,
    training_crop,
)
from components.shared.training.validation import Validation

logger = logging.getLogger(__name__)
# Asking a GPU for the loss makes it wait.
_STEPS_BETWEEN_CHECKS = 50


def train(
    model: nn.Module,
    images: ImageSet,
    targets: Targets,
    loss: TargetsLoss,
    validation: Validation,
    settings: TrainingSettings,
    checkpoints: Checkpoints,
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
        checkpoints: Where to go on from, and to leave what a killed training goes on from: after
            each epoch, after some minutes, and at SIGTERM, which ends the process with 143.
        balance_on: As in `Plan`.
        left_out: Image numbers that are never drawn.

    Returns:
        The curve, an entry per epoch: epoch, images (seen so far), seconds (so far, without
        validation), learning_rate (of the last step), loss (mean over the epoch, weights as they
        were) and the validation's measures.

    Raises:
        UserError: No image has a target, the stored images are too small, a part of a batch does
            not fit the GPU, or the loss is no longer finite.
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
        shard_images=[shard.images for shard in images.shards],
        window_shards=images.window_shards(settings.window_gigabytes),
    )
    torch.backends.cudnn.benchmark = True
    state = TrainingState(place(model, settings.backbone), settings.weight_decay)
    state.restore(checkpoints)
    parallel, division = _parallel(model, settings), Division.of(settings, ranks.world())
    steps = steps_per_epoch(settings, plan.num_images)
    logger.info(
        "%d epochs of %d steps of %d images in %d × %d parts, on %s",
        settings.epochs,
        steps,
        settings.batch_size,
        ranks.world(),
        division.parts,
        device(),
    )
    left = plan.parts(
        division.size,
        rank=ranks.rank(),
        world=ranks.world(),
        skip=state.step * division.parts,
    )
    draw = state.step * settings.batch_size + ranks.rank() * division.size
    windows = _windows(plan, images, draw) if ranks.local_rank() == 0 else []
    with (
        ranks.termination() as termination,
        shard_cache.ahead(windows) as advance,
        _naming_a_remedy(settings, division),
    ):
        num_parts = (settings.epochs * steps - state.step) * division.parts
        order = _telling(islice(left, num_parts), advance)
        examples = batches(_Examples(images, targets, settings), order)
        for epoch in range(len(state.curve), settings.epochs):
            model.train()
            end, what = (epoch + 1) * steps, f"epoch {epoch + 1} of {settings.epochs}"
            termination.at_once = False
            for step in progress(
                range(state.step, end), total=end - state.step, unit="step", what=what
            ):
                started = time.monotonic()
                rate = learning_rate(step, steps, settings)
                state.losses += _gradients(parallel, examples, loss, settings, division)
                state.take_step(rate, settings.clip_norm)
                if state.step % _STEPS_BETWEEN_CHECKS == 0 or state.step == end:
                    _check_finite(state.losses, rate, epoch + 1)
                state.seconds += time.monotonic() - started
                terminated = termination.noted
                if ranks.rank() == 0:
                    if terminated or state.step == end or checkpoints.due:
                        checkpoints.save(state.checkpoint())
                    if terminated:
                        termination.leave()
            # What was trained is in a checkpoint: SIGTERM may come at any time.
            termination.at_once = True
            if termination.noted:
                termination.leave()
            rate = learning_rate(end - 1, steps, settings)
            state.add_to_curve(steps * settings.batch_size, rate, validation(_synchronised(model)))
            _log(state.curve[-1], settings.epochs)
    return state.curve


def _parallel(model: nn.Module, settings: TrainingSettings) -> nn.Module:
    """Return the model as the ranks train it together."""
    if settings.compile:
        if not any(map(shutil.which, ("cc", "gcc", "clang"))):
            raise UserError("compile=true: there is no C compiler here: install gcc, or set false")
        model = torch.compile(model)  # type: ignore[assignment]
    if ranks.world() == 1:
        return model
    # Of the buffers, batch norm's statistics, only evaluation makes use: see `_synchronised`.
    return DistributedDataParallel(model, broadcast_buffers=False)


def _synchronised(model: nn.Module) -> nn.Module:
    """Return the model in evaluation mode, with the first rank's running statistics."""
    for buffer in model.buffers():
        ranks.of_first(buffer)
    return model.eval()


def _gradients(
    model: nn.Module,
    examples: Iterator["_Example"],
    loss: TargetsLoss,
    settings: TrainingSettings,
    division: Division,
) -> Tensor:
    """Add the gradients of one step to the model; return the sum of all its images' losses."""
    where = device()
    losses = torch.zeros((), device=where)
    for number, example in enumerate(islice(examples, division.parts), start=1):
        # Dropout is that of the part, whichever rank has it.
        sequence = np.random.SeedSequence((settings.seed, example.first))
        torch.manual_seed(int(sequence.generate_state(1)[0]))
        waits = isinstance(model, DistributedDataParallel) and number < division.parts
        with model.no_sync() if waits else nullcontext():  # type: ignore[operator]
            with autocast():
                logits = model(normalized(example.crops, where))
            classes = example.classes.to(where, non_blocking=True)
            weights = example.weights.to(where, non_blocking=True)
            part = loss(logits, classes, weights).sum()
            # The mean is over all images of the step, and a plan holds none without targets; the
            # ranks' gradients are averaged.
            (part * ranks.world() / settings.batch_size).backward()
        losses += part.detach()
    return ranks.total(losses)


def _windows(plan: Plan, images: ImageSet, draw: int) -> Iterator[list[Shard]]:
    for window in plan.windows(draw):
        yield [images.shards[shard] for shard in window.tolist()]


def _telling(parts: Iterable[Part], advance: Callable[[], None]) -> Iterator[Part]:
    """Yield the parts; tell when one begins in another window, so that one more is fetched."""
    window = None
    for part in parts:
        for _ in range(part.window if window is None else window, part.window):
            advance()
        window = part.window
        yield part


@contextmanager
def _naming_a_remedy(settings: TrainingSettings, division: Division) -> Iterator[None]:
    """Turn a lack of GPU memory into what to set."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        parts = settings.batch_size // division.size
        finer = [
            steps
            for steps in range(2 * parts, settings.batch_size // 2 + 1)
            if settings.batch_size % steps == 0 and steps % ranks.world() == 0
        ]
        remedy = f"set accumulation_steps={finer[0]}" if finer else "lower image_size"
        raise UserError(
            f"{division.size} images of {settings.image_size} pixels do not fit the GPU's memory: "
            f"{remedy} ({error})"
        ) from error


class _Example(NamedTuple):
    crops: Tensor  # (B, 3, S, S) uint8
    classes: Tensor  # (B, K) int64
    weights: Tensor  # (B, K) float32
    first: int  # as in `Part`


class _Examples(Dataset[_Example]):
    """Pictures and targets of the parts of a plan."""

    def __init__(self, images: ImageSet, targets: Targets, settings: TrainingSettings) -> None:
        self._images, self._targets = images, targets
        self._size, self._smallest_crop = settings.image_size, settings.smallest_crop
        self._seed = settings.seed

    def __getitem__(self, part: Part) -> _Example:
        crops = empty_batch(len(part.images), self._size)
        for row, image in enumerate(part.images.tolist()):
            # By its place in the plan, not by the worker that happens to decode it.
            random = np.random.default_rng((self._seed, part.first + row))
            picture = decoded(self._images.read(image))
            crops[row] = training_crop(picture, self._size, self._smallest_crop, random)
        classes, weights = self._targets.padded(part.images)
        return _Example(crops, torch.from_numpy(classes), torch.from_numpy(weights), part.first)


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
