"""Training steps of the paper's backbones on a GPU, beside those of timm's `train.py`.

    python -m tests.benchmarks.backbones
    python -m tests.benchmarks.backbones --device cpu --batch-size 8 --image-size 64 \
--backbones resnet10t    # tries the benchmark itself

Images/s and the most memory of our training step (from pinned uint8 crops to changed weights, over
5,000 classes, in bf16) with channels first and last and compiled, and of a step as timm's script
takes it with `--amp --amp-dtype bfloat16 --opt sgd`, also with `--channels-last`: its prefetcher
and optimizer, cross-entropy, no clipping (ours clips).

Those of a backbone and size take turns in one process; a compiled step has a process of its own,
with ours that is not. What does not fit memory or time says so in its cell.
"""

import argparse
import gc
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import repeat
from multiprocessing.connection import Connection

import torch
import torch.nn.functional as F
from timm.data.loader import PrefetchLoader
from timm.optim import create_optimizer_v2
from torch import nn

from components.shared.training import models, optimizers
from components.shared.training.loop import _Examples, _gradients, _parallel
from components.shared.training.losses import TargetsLoss
from components.shared.training.schedule import Division
from components.shared.training.settings import TrainingSettings
from components.shared.training.state import TrainingState
from components.shared.training.transforms import device, empty_batch
from tests.benchmarks.rounds import interleaved, machine, print_table, ratio

logger = logging.getLogger("backbones")
BACKBONES = ["resnest101e", "resnext101_32x8d", "efficientnet_b4"]
NUM_CLASSES, TARGETS = 5_000, 5
ROUNDS, ROUND_SECONDS, MOST_STEPS = 3, 1.0, 50
FORMATS = {"first": torch.contiguous_format, "last": torch.channels_last}
OURS, TIMM = ("ours, channels first", "ours, channels last"), ("timm", "timm --channels-last")
COMPILED, RATIO = "ours, compiled", "ours : timm's best"
Step = Callable[[], None]


def our_step(settings: TrainingSettings, where: str) -> Step:
    """Return a step of our training loop."""
    model = _placed(settings).to(memory_format=FORMATS[where])
    state = TrainingState(
        model, optimizers.create(settings.optimizer, model, settings.weight_decay)
    )
    parallel = _parallel(model, compiled=settings.compile)
    classes = torch.randint(NUM_CLASSES, (settings.batch_size, TARGETS))
    pinned = map(_pinned, (_crops(settings), classes, torch.rand(classes.shape)))
    examples, loss, division = (
        repeat(_Examples(*pinned, first=0)),
        TargetsLoss(),
        Division(1, len(classes)),
    )

    def step() -> None:
        state.losses += _gradients(parallel, examples, loss, division, settings)
        state.take_step(settings.learning_rate, settings.clip_norm)

    return step


def timm_step(settings: TrainingSettings, where: str) -> Step:
    """Return a step as timm's `train.py` takes it."""
    model = _placed(settings).to(memory_format=FORMATS[where])
    optimizer = create_optimizer_v2(
        model, "sgd", settings.learning_rate, settings.weight_decay, momentum=0.9
    )
    labels = torch.randint(NUM_CLASSES, (settings.batch_size,))
    batch = _pinned(_crops(settings).contiguous()), _pinned(labels)
    batches = iter(PrefetchLoader(repeat(batch), device=device()))

    def step() -> None:
        images, labels = next(batches)
        if where == "last":
            images = images.contiguous(memory_format=torch.channels_last)
        with models.autocast():
            loss = F.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def _placed(settings: TrainingSettings) -> nn.Module:
    return models.to_device(models.create(settings, NUM_CLASSES), settings.backbone)


def _crops(settings: TrainingSettings) -> torch.Tensor:
    """Return a batch of random pixels as the loader leaves it."""
    return empty_batch(settings.batch_size, settings.image_size).random_(0, 256)


def _pinned(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.pin_memory() if device().type == "cuda" else tensor


def chosen(settings: TrainingSettings) -> str:
    """Return where `models.to_device` puts the channels: `first` or `last`."""
    kernels = (each for each in _placed(settings).parameters() if each.ndim == 4)
    kernel = next(each for each in kernels if min(each.shape[1:]) > 1)
    return "last" if kernel.is_contiguous(memory_format=torch.channels_last) else "first"


class Contestant:
    """A step, and what it takes.

    Attributes:
        seconds: How long a step takes, about.
        start: How long the first one took.
        memory: The most that it needs, as text.
    """

    def __init__(self, make: Callable[[], Step]) -> None:
        """Take the first steps, in which cuDNN tries its kernels and all is compiled."""
        on_gpu = device().type == "cuda"
        others = torch.cuda.memory_allocated() if on_gpu else 0
        self._step = make()
        self.start = self.run(1)
        self.run(2)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        self.seconds = self.run(1)
        peak = torch.cuda.max_memory_allocated() - others if on_gpu else 0
        self.memory = f", {peak / 2**30:.1f} GiB" if on_gpu else ""

    def run(self, steps: int) -> float:
        """Return how long so many steps take."""
        start = time.perf_counter()
        for _ in range(steps):
            self._step()
        if device().type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def contestants(settings: TrainingSettings, compiled: bool) -> Mapping[str, Callable[[], Step]]:
    """Return how to make the steps that are measured side by side, by their columns."""
    if compiled:
        where = chosen(settings)
        fast = replace(settings, compile=True)
        ours = OURS[list(FORMATS).index(where)]
        return {ours: partial(our_step, settings, where), COMPILED: partial(our_step, fast, where)}
    return {
        **{
            name: partial(our_step, settings, where)
            for name, where in zip(OURS, FORMATS, strict=True)
        },
        **{
            name: partial(timm_step, settings, where)
            for name, where in zip(TIMM, FORMATS, strict=True)
        },
    }


def measure(settings: TrainingSettings, compiled: bool) -> Iterator[tuple[str, str]]:
    """Yield columns of a row with their texts, as they come to be known."""
    torch.backends.cudnn.benchmark = True
    there: dict[str, Contestant] = {}
    for column, make in contestants(settings, compiled).items():
        try:
            there[column] = Contestant(make)
        except torch.OutOfMemoryError:
            yield column, "out of memory"
        except Exception as error:  # whatever the compiler or cuDNN raises: the others go on
            logger.exception("%s, %s", settings.backbone, column)
            yield column, type(error).__name__
        gc.collect()
        torch.cuda.empty_cache()
    if not there:
        return
    slowest = max(contestant.seconds for contestant in there.values())
    steps = max(1, min(MOST_STEPS, round(ROUND_SECONDS / slowest)))
    seconds = interleaved(
        {column: partial(contestant.run, steps) for column, contestant in there.items()}, ROUNDS
    )
    rate = {column: ROUNDS * steps * settings.batch_size / sum(seconds[column]) for column in there}
    ours = OURS[list(FORMATS).index(chosen(settings))]
    for column, contestant in there.items():
        text = f"{rate[column]:.0f}{contestant.memory}"
        if column == COMPILED:
            faster = f"{ratio(seconds, COMPILED, ours):.2f} ×" if ours in there else ""
            yield column, f"{text} ({faster}, starts in {contestant.start:.0f} s)"
        elif not compiled:
            yield column, f"**{text}**" if column == ours else text
    best = max((column for column in there if column in TIMM), key=rate.__getitem__, default=None)
    if ours in there and best:
        yield RATIO, f"{ratio(seconds, ours, best):.2f}"


def in_process(what: Callable[[], Iterator[tuple[str, str]]], seconds: float) -> dict[str, str]:
    """Return what a process of its own tells, before it is killed if it takes too long.

    Columns that are not there have no time left, or the process failed: the key "" says which.
    """
    context = multiprocessing.get_context("fork")  # torch is imported, and no GPU in use yet
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(what, sender))
    process.start()
    sender.close()
    found, end = {"": "no time"}, time.monotonic() + seconds
    try:
        while receiver.poll(max(0.0, end - time.monotonic())):
            column, text = receiver.recv()
            logger.info("  %s: %s", column, text)
            found[column] = text
    except EOFError:
        process.join(timeout=10)
        found[""] = "failed" if process.exitcode else ""
    with suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.kill()
    process.join()
    return found


def _tell(what: Callable[[], Iterator[tuple[str, str]]], sender: Connection) -> None:
    os.setsid()  # so that all it starts is killed with it
    if device().type == "cpu":
        torch.set_num_threads(1)  # two that share a core wait for each other
    for found in what():
        sender.send(found)


def _machine() -> Iterator[tuple[str, str]]:
    yield device().type, machine()


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--image-size", type=int, nargs="+", default=[224, 320])
    parser.add_argument("--minutes", type=float, default=8.0, help="for all")
    parser.add_argument("--group-minutes", type=float, default=2.0, help="for those of a process")
    arguments = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(message)s")
    if arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    found = in_process(_machine, seconds=120)
    if arguments.device not in found:
        raise SystemExit("no GPU here; to try the benchmark itself, see --help for the CPU")
    end, (smallest, *larger) = time.monotonic() + 60 * arguments.minutes, arguments.image_size
    # What is asked for first may get no time last.
    groups = [(smallest, False), (smallest, True), *((size, False) for size in larger)]
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for size, compiled in groups:
        for backbone in arguments.backbones:
            logger.info("%s, %d px%s", backbone, size, ", compiled" if compiled else "")
            settings = TrainingSettings(
                backbone=backbone,
                image_size=size,
                batch_size=arguments.batch_size,
                accumulation_steps=1,
            )
            seconds = min(60 * arguments.group_minutes, end - time.monotonic())
            told = in_process(partial(measure, settings, compiled), seconds)
            columns = [COMPILED] if compiled else [*OURS, *TIMM, RATIO]
            row = rows.setdefault((backbone, size), {})
            row |= {column: told.get(column, told[""]) for column in columns}
    print(f"\n{found[arguments.device]}; {arguments.batch_size} images a step; images/s, memory;")
    print("**bold**: as `models.to_device` chooses\n")
    columns = [*OURS, COMPILED, *TIMM, RATIO]
    print_table(
        ["", *columns],
        (
            [f"{name}, {size} px", *(row.get(c, "") for c in columns)]
            for (name, size), row in rows.items()
        ),
    )


if __name__ == "__main__":
    main()
