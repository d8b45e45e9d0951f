"""Whether training on a GPU resumes as if nothing had happened, and agrees with the CPU's.

Small networks are trained in processes of their own. Their weights are compared by how far apart
they end, as a share of how far the one they are compared with has come from its start.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.storage.checkpoints import Checkpoints
from components.shared.training import models
from components.shared.training.loop import train
from components.shared.training.losses import TargetsLoss
from components.shared.training.transforms import device
from tests.benchmarks.bounded import in_process
from tests.benchmarks.rounds import Row
from tests.synthetic import COLOURS, TRAINING, ColouredSquares

# Few steps of many images: each magnifies what two trainings differ by.
SETTINGS = replace(TRAINING, epochs=2, epoch_images=128, batch_size=32, learning_rate=0.005)
SECONDS = 60.0  # for each training
# A GPU's sums have no fixed order. On a CPU, two threads end 0.01 from one, bf16 0.14 from fp32,
# and a training that resumes without its momentum 0.11 from one that was not interrupted.
SAME_APART, FP32_APART, BF16_APART = 0.02, 0.05, 0.5
TWICE, RESUMED = "two equal trainings", "one that was interrupted and resumed"
FP32, BF16 = "the GPU's and the CPU's, in fp32", "the GPU's in bf16 and the CPU's"
ROWS = (TWICE, RESUMED, FP32, BF16)


class InterruptionError(Exception):
    pass


class Stopping:
    """In place of a validation: measures nothing, but may end the training after an epoch."""

    score = ""
    per_class: NDArray[np.float64] | None = None

    def __init__(self, stops: bool) -> None:
        self._stops = stops

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Return no metrics."""
        if self._stops:
            raise InterruptionError
        return {}


def trained(folder: Path, checkpoints: str, *, on: str, fp32: bool, stops: bool) -> Iterator[str]:
    """Train, resuming from these checkpoints, and save the weights beside them; yield the device.

    Args:
        folder: Of the coloured squares.
        checkpoints: The name of their folder in there.
        on: "cuda", if there is one, or "cpu".
        fp32: Whether all is computed in fp32, also convolutions.
        stops: Whether to end after the first epoch, without weights.
    """
    if on == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if fp32:
        torch.backends.cudnn.allow_tf32 = False
        patch("torch.cuda.is_bf16_supported", return_value=False).start()
    model = models.create(SETTINGS, len(COLOURS))
    start = _flat(model)
    try:
        train(
            model,
            ImageSet.load(folder / "train" / "images"),
            Targets.load(folder / "train" / "labels"),
            TargetsLoss(),
            Stopping(stops),
            SETTINGS,
            Checkpoints(str(folder / checkpoints)),
            balance_on="strongest",
        )
    except InterruptionError:
        return
    np.save(folder / f"{checkpoints}.npy", np.stack([start, _flat(model)]))
    yield str(device())


def _flat(model: nn.Module) -> NDArray[np.float32]:
    """Return all weights in a row, without batch norm's statistics."""
    flat = torch.cat([each.detach().cpu().flatten() for each in model.parameters()])
    return flat.numpy()


def rows(folder: Path) -> Iterator[Row]:
    """Yield the checks' rows; the remark of one that fails begins with FAILED."""
    ColouredSquares.write(folder)

    def run(checkpoints: str, on: str = "cuda", fp32: bool = False, stops: bool = False) -> None:
        task = partial(trained, folder, checkpoints, on=on, fp32=fp32, stops=stops)
        list(in_process(task, SECONDS))

    def apart(one: str, other: str) -> float:
        (start, end), (_, others) = (np.load(folder / f"{name}.npy") for name in (one, other))
        return float(np.linalg.norm(others - end) / np.linalg.norm(end - start))

    def row(what: str, one: str, other: str, most: float) -> Row:
        found = apart(one, other)
        if found == 0:
            return Row(what, remark="equal, bit for bit")
        verdict = "passed" if found <= most else "FAILED"
        return Row(what, remark=f"{verdict}: {found:.2g} apart, at most {most:.2g}")

    run("whole")
    run("again")
    run("resumed", stops=True)
    run("resumed")
    yield row(TWICE, "whole", "again", SAME_APART)
    most = max(SAME_APART, 2 * apart("whole", "again"))
    yield row(RESUMED, "whole", "resumed", most)
    run("fp32", fp32=True)
    run("cpu", on="cpu", fp32=True)
    yield row(FP32, "cpu", "fp32", FP32_APART)
    yield row(BF16, "cpu", "whole", BF16_APART)
