"""How long a run's trainings will take on this machine: said before they begin.

It is measured: `python -m pipelines.trial …` takes a few steps of a training in a process of its
own, which takes some seconds. So only runs with crops of photographs get one.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from components.shared.stage.boundary import boundary
from components.shared.stage.errors import shown
from components.shared.storage import filesystem, formats
from components.shared.storage.formats import FormatError
from pipelines.run.graph import Graph, Task
from pipelines.run.record import duration

# Smaller ones are trained within minutes: a trial would be a good part of the run.
_SMALLEST_CROPS = 128
_SECONDS = 6.0  # of a trial, without the start
_MOST_SECONDS = 180.0  # with it
_CPU_BATCH = 4
_EACH = 1_000  # images, where nobody knows how many there are
# Crops that a core decodes per second, at 224 pixels (tests/benchmarks/loader.py).
_DECODED, _SIDE = 670, 224


class Training(NamedTuple):
    """What a training's speed depends on."""

    backbone: str
    backbone_args: str
    image_size: int
    batch_size: int


def forecast(pipeline: Graph, images: Mapping[str, int], file: Path) -> Iterator[str]:
    """Yield lines that say how long the trainings will take, if they are of photographs.

    Args:
        pipeline: The pipeline.
        images: The number of training images by the task that reads them; 0 if not known.
        file: Where rates are kept, so that a run that goes on takes no trial again.
    """
    trainings = [task for task in pipeline.tasks if "epoch_images" in task.parameters]
    if max((task.parameters["image_size"] for task in trainings), default=0) < _SMALLEST_CROPS:
        return
    # Pixels per second: of one backbone, the time of an image is as its area, so one trial does.
    rates = _kept(file)
    seconds, drawn, are_known = 0.0, 0, True
    for task in trainings:
        training = _training(task)
        key = f"{training.backbone} {training.backbone_args}"
        if key not in rates:
            yield f"time        to be measured: a trial of {training.backbone} takes a few steps"
            rates[key] = measured(training) * training.image_size**2
            if rates[key]:
                with filesystem.complete(file) as temporary:
                    temporary.write_text(json.dumps(rates))
        if not rates[key]:
            yield f"time        unknown: a trial of {training.backbone} failed, or took too long"
            return
        number = task.parameters["epoch_images"] or images.get(task.inputs["images"].task, 0)
        are_known = are_known and number > 0
        seen = task.parameters["epochs"] * (number or _EACH)
        drawn += seen
        seconds += seen / rates[key] * training.image_size**2
    of = "" if are_known else f" for each {_EACH:,} images of the data set"
    yield (
        f"time        about {duration(seconds)}{of} on {_machine()}, if nothing is cached: "
        f"{len(trainings)} trainings see {drawn:,} images, {drawn / seconds:,.1f} per second in a "
        "trial of a few steps"
    )


def _kept(file: Path) -> dict[str, float]:
    """Return the rates of earlier trials; none if the file is damaged."""
    with suppress(FormatError), formats.guarded(file):
        return {name: float(rate) for name, rate in json.loads(file.read_bytes()).items()}
    return {}


def measured(training: Training) -> float:
    """Return how many images per second a training sees; 0 if a trial takes too long."""
    command = [sys.executable, "-m", "pipelines.trial", json.dumps(training)]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=_MOST_SECONDS, text=True)
    except subprocess.TimeoutExpired:
        return 0.0
    # A trial that fails is no reason to stop: the stage will say what it is about.
    return float(ended.stdout.split()[-1]) if ended.returncode == 0 else 0.0


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command: print images per second."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.trial", description=__doc__)
    parser.add_argument("training", help="a `Training`, as a JSON list")
    given = parser.parse_args(argv)
    with boundary():
        with formats.guarded(shown(given.training), "give the values of a `Training`"):
            training = Training(*json.loads(given.training))
        sys.stdout.write(f"{_trial(training)}\n")


def _trial(training: Training) -> float:
    import torch

    from components.shared.training import models
    from components.shared.training.settings import TrainingSettings
    from components.shared.training.transforms import device

    where = device()
    torch.set_num_threads(os.cpu_count() or 1)  # all tasks in parallel have as many together
    batch = training.batch_size if where.type == "cuda" else min(_CPU_BATCH, training.batch_size)
    settings = TrainingSettings(
        backbone=training.backbone,
        backbone_args=training.backbone_args,
        image_size=training.image_size,
    )
    model = models.to_device(models.create(settings, 1000), training.backbone)
    crops = torch.zeros(batch, 3, training.image_size, training.image_size, device=where)

    def step() -> None:
        with models.autocast():
            loss = model(crops).float().logsumexp(1).sum()
        loss.backward()
        if where.type == "cuda":
            torch.cuda.synchronize()

    step()  # the first one takes longer
    steps, seconds, started = 0, 0.0, time.perf_counter()
    while seconds < _SECONDS:
        step()
        steps, seconds = steps + 1, time.perf_counter() - started
    rate = steps * batch / seconds
    if where.type == "cpu":
        return rate
    decoded = _DECODED * (os.cpu_count() or 1) * (_SIDE / training.image_size) ** 2
    return min(rate * torch.cuda.device_count(), decoded)


def _training(task: Task) -> Training:
    values = task.parameters
    batch_size = values["batch_size"] // values["accumulation_steps"]
    return Training(values["backbone"], values["backbone_args"], values["image_size"], batch_size)


def _machine() -> str:
    cores = os.cpu_count() or 1
    gpus = "" if not os.path.exists("/dev/nvidia0") else " and its GPUs"
    return f"this machine's {cores} cores{gpus}"


if __name__ == "__main__":
    main()
