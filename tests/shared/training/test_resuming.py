"""Training that is interrupted, killed, terminated, or done by several processes."""

import json
import os
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.stage import ranks
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem
from components.shared.storage.checkpoints import Checkpoints
from components.shared.training import loop, models
from components.shared.training.loop import train
from components.shared.training.losses import TargetsLoss
from components.shared.training.schedule import Division
from components.shared.training.settings import TrainingSettings
from components.shared.training.state import TrainingState
from components.shared.training.validation import LabelValidation
from tests.forked import Forked
from tests.synthetic import COLOURS, TRAINING, ColouredSquares

# Twelve steps of two micro-batches in three epochs; with batch norm and dropout state and chance
# count.
ARGUMENTS = json.loads(TRAINING.backbone_args) | {"drop_rate": 0.5}
# Nine shards of seven images, two a window: micro-batches, epochs and passes end amid windows.
SETTINGS = replace(
    TRAINING,
    backbone_args=json.dumps(ARGUMENTS),
    epochs=3,
    epoch_images=32,
    window_gigabytes=4.5e-5,
)
# One of each, and whatever goes with it: each alone changes the weights.
OPTIONS: dict[str, dict[str, Any]] = {
    "AdamW": {"optimizer": "adamw", "learning_rate": 0.002},
    "LAMB": {"optimizer": "lamb"},
    "NAdamW": {"optimizer": "nadamw", "learning_rate": 0.002},
    "cosine": {"schedule": "cosine"},
    "EMA": {"ema": 0.9},
    "smoothing": {"label_smoothing": 0.1},
    "mixup": {"mixup": 0.4},
    "CutMix": {"cutmix": 1.0},
    "RandAugment": {"randaugment": 9},
}
ALL = OPTIONS["AdamW"] | {
    name: value
    for option in ("cosine", "EMA", "smoothing", "mixup", "CutMix", "RandAugment")
    for name, value in OPTIONS[option].items()
}
GROUP_NORM = replace(
    SETTINGS,
    backbone="resnet50_gn",
    backbone_args=json.dumps(
        {"layers": [1, 1, 1, 1], "channels": [64, 64, 64, 64], "stem_width": 32}
    ),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ColouredSquares:
    data = ColouredSquares.write(tmp_path_factory.mktemp("squares"), images_per_shard=7)
    assert ImageSet.load(data.images).window_shards(SETTINGS.window_gigabytes) == 2
    return data


@pytest.fixture(autouse=True)
def checkpoint_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBLY_CHECKPOINT_MINUTES", "1e-9")


def trained(
    data: ColouredSquares, uri: str, settings: TrainingSettings = SETTINGS
) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """Train in this process; return the weights, and the curve without the time that it took."""
    labels = Targets.load(data.evaluation / "validation_labels")
    images = ImageSet.load(data.evaluation / "validation")
    model = models.create(settings, len(COLOURS))
    curve = train(
        model,
        ImageSet.load(data.images),
        Targets.load(data.labels),
        TargetsLoss(),
        LabelValidation(images, labels, COLOURS, settings.image_size, settings.micro_batch_size),
        settings,
        Checkpoints(uri),
        balance_on="strongest",
    )
    return model.state_dict(), [entry | {"seconds": 0.0} for entry in curve]


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Interruption(BaseException):
    pass


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch):
    """Let training fail when a step has been taken, but before it is in a checkpoint."""

    def at(last: int) -> None:
        take_step = TrainingState.take_step

        def failing(state: TrainingState, rate: float, clip_norm: float) -> None:
            take_step(state, rate, clip_norm)
            if state.step == last:
                monkeypatch.setattr(TrainingState, "take_step", take_step)
                raise Interruption

        monkeypatch.setattr(TrainingState, "take_step", failing)

    return at


@pytest.fixture(scope="module")
def whole(
    data: ColouredSquares, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    return trained(data, str(tmp_path_factory.mktemp("undisturbed")))


@pytest.mark.parametrize(
    ("step", "location"),
    [(step, "local") for step in (1, 2, 4, 5, 7, 12)]
    + [pytest.param(7, "s3", marks=pytest.mark.s3)],
    indirect=["location"],
)
def test_a_training_that_goes_on_ends_as_one_that_was_not_interrupted(
    step: int, data: ColouredSquares, whole, interrupt, location: str
) -> None:
    interrupt(step)
    with pytest.raises(Interruption):
        trained(data, location)
    weights, curve = trained(data, location)
    assert same(weights, whole[0])
    assert curve == whole[1]


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS.keys())
def test_every_option_changes_the_weights_and_goes_on_bit_for_bit(
    option: dict[str, Any], data: ColouredSquares, whole, interrupt, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, **option)
    undisturbed = trained(data, str(tmp_path / "whole"), settings)
    interrupt(6)
    with pytest.raises(Interruption):
        trained(data, str(tmp_path / "checkpoints"), settings)
    weights, curve = trained(data, str(tmp_path / "checkpoints"), settings)
    assert same(weights, undisturbed[0])
    assert curve == undisturbed[1]
    assert not same(weights, whole[0])


@pytest.mark.slow
def test_several_threads_go_on_bit_for_bit_as_well(
    data: ColouredSquares, interrupt, tmp_path: Path
) -> None:
    torch.set_num_threads(2)
    try:
        whole = trained(data, str(tmp_path / "whole"))
        interrupt(7)
        with pytest.raises(Interruption):
            trained(data, str(tmp_path / "checkpoints"))
        weights, curve = trained(data, str(tmp_path / "checkpoints"))
    finally:
        torch.set_num_threads(1)

    assert same(weights, whole[0])
    assert curve == whole[1]


def test_a_training_that_streams_its_shards_is_the_same(
    data: ColouredSquares,
    whole,
    interrupt,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shards = ImageSet.load(data.images).shards
    limit = 4 * shards[0].bytes  # two windows
    monkeypatch.setenv("WEBLY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WEBLY_CACHE_GIGABYTES", str(limit / 1e9))
    monkeypatch.setenv("WEBLY_STORE", bucket)
    shutil.copytree(data.images, tmp_path / "images")
    manifest = tmp_path / "images" / "manifest.json"
    for number, shard in enumerate(shards):
        filesystem.put(Path(shard.uri), f"{bucket}/{number}.tar")
        manifest.write_text(manifest.read_text().replace(f'"{shard.uri}"', f'"{number}.tar"'))
    remote = replace(data, images=tmp_path / "images")

    interrupt(7)
    with pytest.raises(Interruption):
        trained(remote, f"{bucket}/checkpoints")
    weights, curve = trained(remote, f"{bucket}/checkpoints")

    assert same(weights, whole[0])
    assert curve == whole[1]
    # The process that fetches ahead was killed: it may leave a part, and its lock, which only says
    # how much was reserved.
    files = [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]
    held = sum(path.stat().st_size for path in files)
    assert 0 < held <= limit


def test_an_interrupted_validation_is_done_again(
    data: ColouredSquares, whole, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(LabelValidation, "__call__", lambda *_: (_ for _ in ()).throw(Interruption))
        with pytest.raises(Interruption):
            trained(data, str(tmp_path))
    weights, curve = trained(data, str(tmp_path))
    assert same(weights, whole[0])
    assert curve == whole[1]


def test_a_damaged_checkpoint_is_told_of_and_the_one_before_is_taken(
    data: ColouredSquares, whole, interrupt, location: str, tmp_path: Path, caplog
) -> None:
    interrupt(7)
    with pytest.raises(Interruption):
        trained(data, location)
    _, newest = [f"{location}/{entry.name}" for entry in filesystem.listed(location)]
    content = bytearray(filesystem.read(newest))
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(content)
    filesystem.put(tmp_path / "damaged", newest)

    caplog.set_level("INFO")
    weights, _ = trained(data, location)

    assert f"{newest} is damaged" in caplog.text
    assert "resuming after step 5" in caplog.text
    assert same(weights, whole[0])


def test_two_checkpoints_are_kept(data: ColouredSquares, tmp_path: Path) -> None:
    trained(data, str(tmp_path))
    steps = [int(path.name.split("-")[0]) for path in sorted(tmp_path.iterdir())]
    assert steps == [11, 12]


def test_without_its_time_a_checkpoint_is_made_after_each_epoch(
    data: ColouredSquares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_CHECKPOINT_MINUTES", "60")
    trained(data, str(tmp_path))
    steps = [int(path.name.split("-")[0]) for path in sorted(tmp_path.iterdir())]
    assert steps == [8, 12]


@pytest.mark.slow
@pytest.mark.parametrize("option", [{}, ALL | {"optimizer": "sgd"}], ids=["plain", "options"])
def test_a_compiled_model_trains_alike_and_goes_on_from_a_plain_ones_checkpoint(
    option: dict[str, Any],
    data: ColouredSquares,
    interrupt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = replace(SETTINGS, **option)
    plain, _ = trained(data, str(tmp_path / "plain"), settings)
    # Captured and differentiated as ever, but not made into C++, for which not all have a compiler.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    interrupt(5)
    with pytest.raises(Interruption):
        trained(data, str(tmp_path / "compiled"), settings)
    weights, _ = trained(data, str(tmp_path / "compiled"), replace(settings, compile=True))
    assert weights.keys() == plain.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, plain[name], rtol=1e-3, atol=1e-5)


class Stage:
    """The stage `finetune` as a command, in a process group of its own."""

    def __init__(self, data: ColouredSquares, folder: Path, settings: TrainingSettings, **env: str):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        artifacts = {
            "images": data.images,
            "targets": data.labels,
            "evaluation": data.evaluation,
            "model": folder / "model",
            "predictions": folder / "predictions",
            "report": folder / "report.html",
        }
        argv = [
            word
            for name, value in (artifacts | asdict(settings)).items()
            for word in (f"--{name}", str(value))
        ]
        (folder / "log").touch()
        environment = {
            "WEBLY_CHECKPOINTS": str(folder / "checkpoints"),
            "WEBLY_LOG_LEVEL": "DEBUG",
        }
        self._process = Forked(
            "components.finetune", *argv, log=folder / "log", env=os.environ | environment | env
        )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def went_on_after(self) -> int:
        """The step of the checkpoint that the last of the processes began with."""
        return int(self.log.rpartition("resuming after step ")[2].split("\n")[0])

    @property
    def weights(self) -> dict[str, Tensor]:
        return load_file(self.folder / "model" / "model.safetensors")

    def end(self) -> int:
        """Wait for it; return its exit code."""
        return self._process.wait(120)

    def wait_for(self, text: str) -> None:
        """Wait until its log has some text."""
        deadline = time.monotonic() + 120
        while text not in self.log:
            assert self._process.poll() is None and time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def ranks(self) -> list[int]:
        """Return the process numbers of its ranks, in their order."""
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [
            child
            for child in sorted(map(int, path.read_text().split()))
            if b"RANK=" in Path(f"/proc/{child}/environ").read_bytes()
        ]

    def signal_after(self, step: int, number: signal.Signals) -> int:
        """Send a signal to the process when it has taken a step; return its exit code."""
        self.wait_for(f"step {step}\n")
        os.kill(self._process.pid, number)
        return self.end()


LONGER = replace(SETTINGS, epochs=2, epoch_images=160)


@pytest.fixture(scope="module")
def undisturbed(data: ColouredSquares, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    stage = Stage(data, tmp_path_factory.mktemp("stage") / "finetune", LONGER)
    assert stage.end() == 0, stage.log
    return stage


@pytest.mark.slow
def test_a_killed_stage_goes_on(data: ColouredSquares, tmp_path: Path, undisturbed: Stage) -> None:
    assert Stage(data, tmp_path / "stage", LONGER).signal_after(25, signal.SIGKILL) == -9
    again = Stage(data, tmp_path / "stage", LONGER)
    assert again.end() == 0, again.log
    assert again.went_on_after >= 24
    assert same(again.weights, undisturbed.weights)


@pytest.mark.slow
def test_sigterm_leaves_a_checkpoint_of_the_step_at_hand(
    data: ColouredSquares, tmp_path: Path, undisturbed: Stage
) -> None:
    rare = {"WEBLY_CHECKPOINT_MINUTES": "60"}
    assert Stage(data, tmp_path / "stage", LONGER, **rare).signal_after(5, signal.SIGTERM) == 143
    again = Stage(data, tmp_path / "stage", LONGER, **rare)
    assert again.end() == 0, again.log
    assert 5 <= again.went_on_after < 20
    assert same(again.weights, undisturbed.weights)


def test_sigterm_is_deferred_within_an_epoch_and_ends_a_validation() -> None:
    with ranks.termination() as termination:
        termination.at_once = False
        os.kill(os.getpid(), signal.SIGTERM)
        assert termination.received
        termination.at_once = True
        with pytest.raises(SystemExit, match="143"):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_a_finished_stage_leaves_no_checkpoint(undisturbed: Stage) -> None:
    assert not any((undisturbed.folder / "checkpoints").iterdir())


# Of batch norm's running statistics each rank has seen its own micro-batches only.
@pytest.mark.processes
@pytest.mark.parametrize(
    ("settings", "micro_batches"),
    [
        (GROUP_NORM, 1),
        (SETTINGS, 2),
        (replace(SETTINGS, **ALL), 1),
        (replace(SETTINGS, **OPTIONS["LAMB"], **OPTIONS["EMA"]), 1),
        (replace(SETTINGS, **OPTIONS["NAdamW"], **OPTIONS["mixup"]), 1),
    ],
    ids=["group norm", "batch norm", "AdamW and all options", "LAMB", "NAdamW"],
)
def test_two_processes_train_as_one(
    settings: TrainingSettings, micro_batches: int, data: ColouredSquares, tmp_path: Path
) -> None:
    settings = replace(settings, accumulation_steps=2 * micro_batches)
    alone, _ = trained(data, str(tmp_path / "alone"), settings)
    stage = Stage(data, tmp_path / "together", settings, WEBLY_PROCESSES="2")
    assert stage.end() == 0, stage.log
    assert f"2 × {micro_batches} micro-batches" in stage.log
    together = stage.weights
    assert together.keys() == alone.keys()
    for name in alone:
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(together[name], alone[name], rtol=1e-3, atol=1e-5)


@pytest.mark.processes
def test_a_process_that_dies_ends_the_others(data: ColouredSquares, tmp_path: Path) -> None:
    stage = Stage(data, tmp_path / "stage", LONGER, WEBLY_PROCESSES="2")
    stage.wait_for("step 5\n")
    os.kill(stage.ranks()[1], signal.SIGKILL)
    assert stage.end() == 137


@pytest.mark.processes
def test_two_processes_that_are_terminated_go_on_as_if_they_were_not(
    data: ColouredSquares, tmp_path: Path
) -> None:
    two = {"WEBLY_PROCESSES": "2", "WEBLY_CHECKPOINT_MINUTES": "60"}
    settings = replace(GROUP_NORM, epochs=2, epoch_images=160)  # one part a rank: bit for bit
    assert Stage(data, tmp_path / "stage", settings, **two).signal_after(5, signal.SIGTERM) == 143
    again = Stage(data, tmp_path / "stage", settings, **two)
    assert again.end() == 0, again.log
    assert 5 <= again.went_on_after < 20
    alone, _ = trained(data, str(tmp_path / "alone"), settings)
    assert same(again.weights, alone)


@pytest.mark.processes
def test_a_users_error_in_one_of_several_processes_is_the_stages(
    data: ColouredSquares, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, learning_rate=1_000.0, weight_decay=100.0, warmup_epochs=0.0)
    stage = Stage(data, tmp_path / "stage", settings, WEBLY_PROCESSES="2")
    assert stage.end() == 2
    assert "lower learning_rate" in stage.log


def test_a_step_that_may_never_end_does_not_keep_the_first_signal_waiting(
    data: ColouredSquares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients, after = loop._gradients, list[int]()

    def signalled(*arguments: object) -> Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        after.append(1)
        return gradients(*arguments)

    monkeypatch.setattr(loop, "_gradients", signalled)
    with pytest.raises(SystemExit, match="143"):
        trained(data, str(tmp_path / "checkpoints"))

    assert not after
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("batch_size", "accumulation_steps", "world_size", "micro_batches", "size"),
    [(256, 8, 1, 8, 32), (256, 8, 8, 1, 32), (256, 8, 3, 0, 0), (256, 1, 8, 1, 32)]
    + [(256, 8, 16, 1, 16), (256, 8, 4, 2, 32), (12, 1, 3, 1, 4), (8, 1, 8, 0, 0)],
)
def test_a_batch_is_divided_among_the_ranks(
    batch_size: int, accumulation_steps: int, world_size: int, micro_batches: int, size: int
) -> None:
    asked = batch_size, accumulation_steps, world_size
    if micro_batches:
        assert Division.of(*asked) == (micro_batches, size)
        return
    with pytest.raises(UserError, match=f"batch_size={batch_size}"):
        Division.of(*asked)


def test_micro_batches_that_do_not_fit_the_gpu_end_with_what_to_set(
    data: ColouredSquares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TargetsLoss, "forward", full)
    with pytest.raises(UserError, match=r"4 images of 24 pixels .* set accumulation_steps=4"):
        trained(data, str(tmp_path))
    with pytest.raises(UserError, match="lower image_size"):
        trained(data, str(tmp_path), replace(SETTINGS, accumulation_steps=4))
