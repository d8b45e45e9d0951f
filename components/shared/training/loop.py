"""The training loop, one for all training stages.

The stages differ in the targets, how these are drawn, the initial weights, and the validation.

A batch goes through the model in micro-batches: one after another, on several GPUs, or both. With
the same micro-batches the step is the same, up to fp32 rounding: gradients are divided by the
number of images in the whole batch, and batch norm normalises each micro-batch by itself. (Only its
running statistics differ: they are rank 0's, which has seen its own micro-batches.)

All randomness is a function of the seed and the step, so a training resumed from a checkpoint
equals one that was never interrupted; on the CPU bit for bit.
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
from components.shared.stage import ranks
from components.shared.stage.errors import UserError
from components.shared.stage.progress import progress
from components.shared.storage import shard_cache
from components.shared.storage.checkpoints import Checkpoints
from components.shared.storage.shard_cache import Shard
from components.shared.training import optimizers
from components.shared.training.augmentation import RandAugment, mixed
from components.shared.training.losses import TargetsLoss
from components.shared.training.models import autocast, to_device
from components.shared.training.sampling import MicroBatch, Plan
from components.shared.training.schedule import Division, Schedule, steps_per_epoch
from components.shared.training.settings import TrainingSettings
from components.shared.training.state import TrainingState
from components.shared.training.transforms import (
    batches,
    device,
    empty_batch,
    normalized,
    picture,
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
    """Train a model in place; its final weights are the last epoch's, averaged if `ema` is set.

    Validation never selects an epoch: here, the validation labels are for evaluation only.

    Args:
        model: The model to train.
        images: The training images.
        targets: Their targets.
        loss: The loss to minimise.
        validation: Evaluates the model after each epoch.
        settings: How to train.
        checkpoints: Training resumes from the newest one. More are saved after each epoch, every
            few minutes, and at SIGTERM, which then ends the process with 143.
        balance_on: As in `Plan`.
        left_out: Image numbers that are never drawn.

    Returns:
        The curve, an entry per epoch: epoch, images (seen so far), seconds (so far, without
        validation), learning_rate (of the last step), loss (mean over the epoch's steps) and the
        validation's metrics.

    Raises:
        UserError: No image has a target, the stored images are too small, a micro-batch does not
            fit in the GPU's memory, or the loss is no longer finite.
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
    to_device(model, settings.backbone)
    optimizer = optimizers.create(settings.optimizer, model, settings.weight_decay)
    state = TrainingState(model, optimizer, settings.ema)
    state.restore(checkpoints)
    parallel, world_size = _parallel(model, compiled=settings.compile), ranks.world_size()
    division = Division.of(settings.batch_size, settings.accumulation_steps, world_size)
    steps = steps_per_epoch(settings.epoch_images or plan.num_images, settings.batch_size)
    schedule = Schedule(
        fall=settings.schedule,
        epochs=settings.epochs,
        steps_per_epoch=steps,
        learning_rate=settings.learning_rate,
        warmup_epochs=settings.warmup_epochs,
        decay_epochs=settings.decay_epochs,
    )
    logger.info(
        "%d epochs of %d steps of %d images in %d × %d micro-batches, on %s",
        settings.epochs,
        steps,
        settings.batch_size,
        world_size,
        division.micro_batches,
        device(),
    )
    left = plan.micro_batches(
        division.size,
        rank=ranks.rank(),
        world_size=world_size,
        skip=state.step * division.micro_batches,
    )
    draw = state.step * settings.batch_size + ranks.rank() * division.size
    windows = _windows(plan, images, draw) if ranks.local_rank() == 0 else []
    with (
        ranks.termination() as termination,
        shard_cache.ahead(windows) as advance,
        _explaining_out_of_memory(settings.batch_size, division.size, settings.image_size),
    ):
        begun = state.step
        num_left = (settings.epochs * steps - state.step) * division.micro_batches
        order = _advancing(islice(left, num_left), advance)
        examples = batches(_TrainingImages(images, targets, settings), order)
        for epoch in range(len(state.curve), settings.epochs):
            model.train()
            end, what = (epoch + 1) * steps, f"epoch {epoch + 1} of {settings.epochs}"
            # Before its first step has ended, a process has nothing to save; a step may take long.
            termination.at_once = ranks.world_size() == 1 and state.step == begun
            for step in progress(
                range(state.step, end), total=end - state.step, unit="step", what=what
            ):
                started = time.monotonic()
                rate = schedule.rate(step)
                state.losses += _gradients(parallel, examples, loss, division, settings)
                termination.at_once = False
                state.take_step(rate, settings.clip_norm)
                if state.step % _STEPS_BETWEEN_CHECKS == 0 or state.step == end:
                    _check_finite(state.losses, rate, epoch + 1)
                state.seconds += time.monotonic() - started
                terminated = termination.received
                if ranks.rank() == 0:
                    if terminated or state.step == end or checkpoints.due:
                        checkpoints.save(state.checkpoint())
                    if terminated:
                        termination.leave()
            # All progress is in a checkpoint: SIGTERM may come at any time.
            termination.at_once = True
            if termination.received:
                termination.leave()
            rate = schedule.rate(end - 1)
            measures = validation(_synchronised(state.averaged))
            state.add_to_curve(steps * settings.batch_size, rate, measures)
            _log(state.curve[-1], settings.epochs)
    if settings.ema:
        model.eval().load_state_dict(state.averaged.state_dict())
    return state.curve


def _parallel(model: nn.Module, *, compiled: bool) -> nn.Module:
    """Return the model wrapped for training by all ranks together."""
    if compiled:
        if not any(map(shutil.which, ("cc", "gcc", "clang"))):
            raise UserError("compile=true: no C compiler found: install gcc, or set compile=false")
        model = torch.compile(model)  # type: ignore[assignment]
    if ranks.world_size() == 1:
        return model
    # Only evaluation uses the buffers, batch norm's statistics: see `_synchronised`.
    return DistributedDataParallel(model, forward_sync_buffers=False)


def _synchronised(model: nn.Module) -> nn.Module:
    """Return the model in evaluation mode, with the first rank's running statistics."""
    for buffer in model.buffers():
        ranks.broadcast(buffer)
    return model.eval()


def _gradients(
    model: nn.Module,
    examples: Iterator["_Examples"],
    loss: TargetsLoss,
    division: Division,
    settings: TrainingSettings,
) -> Tensor:
    """Compute the gradients of one step; return the sum of all its images' losses."""
    where = device()
    losses = torch.zeros((), device=where)
    for number, micro_batch in enumerate(islice(examples, division.micro_batches), start=1):
        # Dropout and mixing are those of the micro-batch, whichever rank has it.
        sequence = np.random.SeedSequence((settings.seed, micro_batch.first))
        seed = int(sequence.generate_state(1)[0])
        torch.manual_seed(seed)
        pixels = normalized(micro_batch.crops, where)
        classes = micro_batch.classes.to(where, non_blocking=True)
        weights = micro_batch.weights.to(where, non_blocking=True)
        if settings.mixup or settings.cutmix:
            pixels, classes, weights = mixed(
                pixels, classes, weights, mixup=settings.mixup, cutmix=settings.cutmix, seed=seed
            )
        waits = isinstance(model, DistributedDataParallel) and number < division.micro_batches
        with model.no_sync() if waits else nullcontext():  # type: ignore[operator]
            with autocast():
                logits = model(pixels)
            summed = loss(logits, classes, weights, settings.label_smoothing).sum()
            # The mean is over all images of the step, and a plan holds none without targets; the
            # ranks' gradients are averaged.
            (summed * ranks.world_size() / settings.batch_size).backward()
        losses += summed.detach()
    return ranks.all_reduce(losses)


def _windows(plan: Plan, images: ImageSet, draw: int) -> Iterator[list[Shard]]:
    for window in plan.windows(draw):
        yield [images.shards[shard] for shard in window.tolist()]


def _advancing(
    micro_batches: Iterable[MicroBatch], advance: Callable[[], None]
) -> Iterator[MicroBatch]:
    """Yield the micro-batches; whenever they enter a window, have one more fetched."""
    window = None
    for micro_batch in micro_batches:
        for _ in range(micro_batch.window if window is None else window, micro_batch.window):
            advance()
        window = micro_batch.window
        yield micro_batch


@contextmanager
def _explaining_out_of_memory(
    batch_size: int, micro_batch_size: int, image_size: int
) -> Iterator[None]:
    """Turn running out of GPU memory into advice."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        finer = [
            steps
            for steps in range(2 * batch_size // micro_batch_size, batch_size // 2 + 1)
            if batch_size % steps == 0 and steps % ranks.world_size() == 0
        ]
        remedy = f"set accumulation_steps={finer[0]}" if finer else "lower image_size"
        raise UserError(
            f"{micro_batch_size} images of {image_size} pixels do not fit in the GPU's memory: "
            f"{remedy} ({error})"
        ) from error


class _Examples(NamedTuple):
    crops: Tensor  # (B, 3, S, S) uint8
    classes: Tensor  # (B, K) int64
    weights: Tensor  # (B, K) float32
    first: int  # as in `MicroBatch`


class _TrainingImages(Dataset[_Examples]):
    """Crops and targets of a plan's micro-batches."""

    def __init__(self, images: ImageSet, targets: Targets, settings: TrainingSettings) -> None:
        self._images, self._targets, self._settings = images, targets, settings
        magnitude = settings.randaugment
        self._augment = RandAugment(magnitude) if magnitude else None

    def __getitem__(self, micro_batch: MicroBatch) -> _Examples:
        size, smallest = self._settings.image_size, self._settings.smallest_crop
        crops = empty_batch(len(micro_batch.images), size)
        for row, image in enumerate(micro_batch.images.tolist()):
            # Seeded by its position in the plan, not by the worker that happens to decode it.
            random = np.random.default_rng((self._settings.seed, micro_batch.first + row))
            crop = training_crop(picture(self._images, image), size, smallest, random)
            crops[row] = self._augment(crop, random) if self._augment else crop
        classes, weights = map(torch.from_numpy, self._targets.padded(micro_batch.images))
        return _Examples(crops, classes, weights, micro_batch.first)


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
