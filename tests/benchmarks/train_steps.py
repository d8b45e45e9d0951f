"""Steps of training, ours and timm's, on the same batch: from pinned uint8 crops to new weights."""

import logging
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import repeat
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from timm.data.loader import PrefetchLoader
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

from components.shared.training import models, optimizers
from components.shared.training.loop import _Examples, _gradients
from components.shared.training.losses import TargetsLoss
from components.shared.training.schedule import Division
from components.shared.training.settings import TrainingSettings
from components.shared.training.state import TrainingState
from components.shared.training.transforms import device, empty_batch, normalized
from tests.benchmarks.rounds import Contestant, Row, in_turns, ratio

logger = logging.getLogger("gpu")
NUM_CLASSES, TARGETS = 5_000, 5
FORMATS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
# What may make our step faster.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "fp32 in place of bf16": {"bf16": False},
    "fused optimizer": {"fused": True},
    "CUDA graphs": {"graphs": True},
    "compiled": {"compiled": "default"},
    "compiled, CUDA graphs": {"compiled": "reduce-overhead"},
}
COMPILED = [name for name, changes in VARIANTS.items() if "compiled" in changes]
EAGER = [*FORMATS, *(name for name in VARIANTS if name not in COMPILED)]
Step = Callable[[], None]


def our_step(
    settings: TrainingSettings,
    where: str,
    *,
    bf16: bool = True,
    fused: bool = False,
    graphs: bool = False,
    compiled: str = "",
) -> Step:
    """Return a step of our training loop."""
    model = _placed(settings, where)
    optimizer = optimizers.create(settings.optimizer, model, settings.weight_decay)
    for group in optimizer.param_groups:
        group["fused"] = fused or None  # else torch's own choice
    state = TrainingState(model, optimizer)
    parallel: Any = model
    crops = pinned(random_crops(settings))
    if compiled:
        parallel = torch.compile(model, mode=compiled)
    if graphs:
        # What is captured must not depend on weights that autocast has cached.
        with torch.autocast(device().type, torch.bfloat16, cache_enabled=False):
            parallel = torch.cuda.make_graphed_callables(model, (normalized(crops, device()),))
    classes = torch.randint(NUM_CLASSES, (settings.batch_size, TARGETS))
    given = _Examples(crops, pinned(classes), pinned(torch.rand(classes.shape)), first=0)
    examples, loss = repeat(given), TargetsLoss()
    division = Division(1, settings.batch_size)

    def step() -> None:
        with nullcontext() if bf16 else patch("torch.cuda.is_bf16_supported", return_value=False):
            state.losses += _gradients(parallel, examples, loss, division, settings)
        state.take_step(settings.learning_rate, settings.clip_norm)

    return step


def timm_step(settings: TrainingSettings, where: str) -> Step:
    """Return a step as timm's `train.py` takes it with `--amp --amp-dtype bfloat16 --opt sgd`.

    With its prefetcher and optimizer, and cross-entropy; it does not clip, which ours does.
    """
    model = _placed(settings, where)
    optimizer = create_optimizer_v2(
        model, "sgd", settings.learning_rate, settings.weight_decay, momentum=0.9
    )
    labels = torch.randint(NUM_CLASSES, (settings.batch_size,))
    batch = pinned(random_crops(settings).contiguous()), pinned(labels)
    batches = iter(PrefetchLoader(repeat(batch), device=device()))

    def step() -> None:
        images, labels = next(batches)
        images = images.contiguous(memory_format=FORMATS[where])
        with models.autocast():
            loss = F.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def _placed(settings: TrainingSettings, where: str) -> nn.Module:
    model = models.create(settings, NUM_CLASSES).to(device())
    return model.to(memory_format=FORMATS[where])


def random_crops(settings: TrainingSettings) -> Tensor:
    """Return a batch of random pixels as the loader leaves it."""
    return empty_batch(settings.batch_size, settings.image_size).random_(0, 256)


def pinned(tensor: Tensor) -> Tensor:
    """Return a tensor in memory that a GPU can copy from by itself, if there is one."""
    return tensor.pin_memory() if device().type == "cuda" else tensor


def rows(
    settings: TrainingSettings,
    formats: Sequence[str],
    variants: Sequence[str],
    round_seconds: float,
) -> Iterator[Row]:
    """Yield a row for each format of timm's, then for each variant of ours, as they are measured.

    Args:
        settings: The backbone, and the size of the batch and its crops.
        formats: Of `FORMATS`.
        variants: Of `FORMATS` and `VARIANTS`; the latter in the best of the formats. Each takes
            turns with the better of timm's, which is its peer.
        round_seconds: For a turn.
    """
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True  # as timm's script sets it
    timms, per_second = dict[str, Contestant](), dict[str, float]()

    def row(name: str, contestant: Contestant, peer: str = "") -> Row:
        there = {name: contestant} | ({peer: timms[peer]} if peer else {})
        seconds = in_turns(there, round_seconds)
        per_second[name] = settings.batch_size / statistics.mean(seconds[name])
        times = ratio(seconds, name, peer) if peer else None
        starts = f"starts in {contestant.start:.0f} s"
        return Row(name, per_second[name], times, contestant.gibibytes, starts)

    for where in formats:
        name = f"timm, {where}"
        found = tried(name, partial(timm_step, settings, where))
        if isinstance(found, Contestant):
            timms[name] = found
            found = row(name, found)
        yield found
    peer = max(timms, key=per_second.__getitem__, default="")
    best = peer.removeprefix("timm, ") or formats[0]
    for variant in variants:
        name, changes = f"ours, {variant}", VARIANTS.get(variant, {})
        where = variant if variant in FORMATS else best
        found = tried(name, partial(our_step, settings, where, **changes))
        yield row(name, found, peer) if isinstance(found, Contestant) else found


def tried(name: str, make: Callable[[], Step]) -> Contestant | Row:
    """Return a step that is warmed up, or the row that says why there is none."""
    try:
        return Contestant(make)
    except torch.OutOfMemoryError:
        return Row(name, remark="out of memory")
    except Exception as error:  # whatever the compiler or cuDNN raises: the others go on
        logger.exception("%s", name)
        return Row(name, remark=f"{type(error).__name__}: {str(error).partition(chr(10))[0][:80]}")
