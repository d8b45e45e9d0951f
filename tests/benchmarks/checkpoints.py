"""What checkpoints cost: seconds to write one, their share of training time, seconds to read one.

    python -m tests.benchmarks.checkpoints

Of the first backbone of the paper's recipe, one every `WEBLY_CHECKPOINT_MINUTES`, and of the
demo's, one every epoch (which takes as long as its steps do here, without decoding). To a local
folder, beside `torch.save` of the same tensors there, until the disk has them; and to a bucket of
its own on the S3 server at `AWS_ENDPOINT_URL` or `WEBLY_TEST_S3`, if one is set: it needs 2 GB
there (a Ceph of its own, for it keeps what was removed for hours).
"""

import argparse
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from itertools import repeat

import torch
from torch import nn

from components.shared.stage import environment
from components.shared.storage import filesystem
from components.shared.storage.checkpoints import Checkpoint, Checkpoints
from components.shared.training import models, optimizers
from components.shared.training.loop import _Examples, _gradients
from components.shared.training.losses import TargetsLoss
from components.shared.training.schedule import Division
from components.shared.training.settings import TrainingSettings
from components.shared.training.state import TrainingState
from components.shared.training.transforms import device, empty_batch
from pipelines import recipe
from tests.benchmarks.rounds import machine, print_table

DEMO_IMAGES, DEMO_CLASSES = 6_983, 20


@contextmanager
def locations() -> Iterator[dict[str, str]]:
    """Yield folders to write to, by what they are."""
    with ExitStack() as stack:
        found = {"local": stack.enter_context(tempfile.TemporaryDirectory())}
        endpoint = os.environ.get("AWS_ENDPOINT_URL", os.environ.get("WEBLY_TEST_S3"))
        if endpoint:
            found["S3"] = stack.enter_context(_bucket(endpoint))
        else:
            print("S3 is left out: AWS_ENDPOINT_URL is not set\n")
        yield found


@contextmanager
def _bucket(endpoint: str) -> Iterator[str]:
    import boto3

    os.environ["AWS_ENDPOINT_URL"] = endpoint
    bucket = boto3.resource("s3", endpoint_url=endpoint).Bucket(f"webly-{secrets.token_hex(6)}")
    bucket.create()
    try:
        yield f"s3://{bucket.name}/checkpoints"
    finally:
        filesystem.remove_folder(f"s3://{bucket.name}/checkpoints")
        bucket.delete()


def settings(name: str) -> TrainingSettings:
    """Return how a recipe finetunes its first candidate."""
    found = recipe.load(name)
    candidate = found.candidates[0]
    values = {
        field.name: getattr(candidate, field.name, None)
        or found.resolve("finetune", field.name, {})
        for field in fields(TrainingSettings)
    }
    return TrainingSettings(**values)


class Training:
    """A training on random pictures."""

    def __init__(self, settings: TrainingSettings, num_classes: int) -> None:
        """Take a first step, for there is no momentum before."""
        self._settings = settings
        self._model: nn.Module = models.create(settings, num_classes)
        self._model = models.to_device(self._model, settings.backbone)
        optimizer = optimizers.create(settings.optimizer, self._model, settings.weight_decay)
        self.state = TrainingState(self._model, optimizer, settings.ema)
        for parameter in self._model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self.state.take_step(0.0, settings.clip_norm)

    def step(self) -> None:
        """Train on a batch, in one micro-batch."""
        crops = empty_batch(self._settings.batch_size, self._settings.image_size)
        ones = torch.ones(len(crops), 1)
        examples = repeat(_Examples(crops, ones.long(), ones, 0))
        division = Division(1, len(crops))
        _gradients(self._model, examples, TargetsLoss(), division, self._settings)
        self.state.take_step(self._settings.learning_rate, self._settings.clip_norm)
        if device().type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, images: int) -> float:
        """Return how long it takes to train on so many images."""
        return _median(self.step, rounds=30) * images / self._settings.batch_size


def saved(checkpoint: Checkpoint) -> None:
    """Save a checkpoint as torch does."""
    with tempfile.NamedTemporaryFile() as file:
        torch.save(checkpoint.tensors, file)
        file.flush()
        os.fsync(file.fileno())


def _median(run: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def main() -> None:
    """Print a table of models and locations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    between = environment.checkpoint_seconds()
    print(machine(), "\n")
    rows = []
    with locations() as folders:
        for name, num_classes in (("paper", 5_000), ("demo", DEMO_CLASSES)):
            training = Training(settings(name), num_classes)
            period, when = between, f"every {between / 60:g} min"
            if name == "demo":
                period, when = training.seconds(DEMO_IMAGES), "every epoch"
            for location, folder in folders.items():
                uri = f"{folder}/{name}"
                checkpoints = Checkpoints(uri)
                writing = _median(lambda: checkpoints.save(training.state.checkpoint()), rounds)  # noqa: B023
                reading = _median(checkpoints.newest, rounds)
                peer = _median(lambda: saved(training.state.checkpoint()), rounds)  # noqa: B023
                size = max(entry.bytes for entry in filesystem.listed(uri)) / 1e6
                share = writing / (period + writing)
                row = [
                    f"{name}, {num_classes:,} classes",
                    location,
                    f"{size:.1f}",
                    f"{writing:.3f}",
                    f"{peer:.3f}" if location == "local" else "",
                    f"{share:.2%}",
                ]
                rows.append([*row, when, f"{reading:.3f}"])
                filesystem.remove_folder(uri)
    print_table(
        ["model", "location", "MB", "write s", "torch.save s", "of training", "if", "read s"], rows
    )


if __name__ == "__main__":
    main()
