"""Stages on two nodes: two of torch's agents, in process groups of their own, over loopback.

Weights are compared bit for bit: with one part a rank, sums of two gradients have no order.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from safetensors.torch import load_file
from torch import Tensor

from components.finetune.stage import finetune
from components.pseudo_label.stage import pseudo_label
from components.shared.stage import container
from components.shared.stage.errors import StorageError
from components.shared.stage.interface import Stage
from components.shared.storage import filesystem
from components.shared.training.settings import TrainingSettings
from components.trainjob import node
from components.trainjob.handover import Handover
from tests import tiny_models
from tests.forked import Forked
from tests.shared.training.test_resuming import GROUP_NORM, same, trained
from tests.synthetic import COLOURS, ColouredSquares
from tests.torchrun import environment, free_port

# Eighty steps of two micro-batches, one for each node.
SETTINGS = replace(GROUP_NORM, epochs=2, epoch_images=320)
EVERY_STEP, RARELY = "1e-9", "60"  # minutes between checkpoints
TIMEOUT = 300.0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The weights that one process makes."""
    folder = tmp_path_factory.mktemp("alone")
    return trained(ColouredSquares.write(folder, 7), str(folder / "checkpoints"), SETTINGS)[0]


@pytest.fixture
def data(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> ColouredSquares:
    """Images, with those for training on S3."""
    monkeypatch.setenv("WEBLY_STORE", f"{bucket}/store")
    monkeypatch.setenv("WEBLY_CHECKPOINTS", f"{bucket}/checkpoints")
    monkeypatch.setenv("WEBLY_CACHE", str(tmp_path / "cache"))
    data = ColouredSquares.write(tmp_path / "squares", images_per_shard=7)
    data.put_in_store(f"{bucket}/store")
    return data


class Node:
    """A node of a job: a command in a process group of its own."""

    def __init__(self, folder: Path, *argv: str, **env: str) -> None:
        folder.mkdir(exist_ok=True)
        environment = {"WEBLY_CACHE": str(folder / "cache"), "WEBLY_LOG_LEVEL": "DEBUG"}
        self._process = Forked(*argv, log=folder / "log", env=os.environ | environment | env)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> int:
        """Send a signal to the process group, not to the ranks, which have their own."""
        os.killpg(self._process.pid, number)
        return self.end()

    def end(self) -> int:
        return self._process.wait(TIMEOUT)


class Job:
    """A stage on two nodes, with all that its launcher does."""

    def __init__(
        self,
        folder: Path,
        stage: Stage,
        inputs: Mapping[str, Path],
        outputs: Sequence[str],
        parameters: Mapping[str, Any],
    ) -> None:
        self.folder, self._module = folder, f"components.{stage.__name__}"
        self.executor_input = {
            "inputs": {"artifacts": artifacts(inputs), "parameterValues": dict(parameters)},
            "outputs": {
                "artifacts": artifacts({name: folder / "outputs" / name for name in outputs}),
                "outputFile": str(folder / "outputs" / "executor_output.json"),
            },
        }
        self.uri = f"{os.environ['WEBLY_CHECKPOINTS']}/trainjobs/job"
        self.handover = Handover(self.uri)
        self.handover.give(self.executor_input)
        self._port = free_port()
        self._started: list[Node] = []

    def start(
        self, *numbers: int, checkpoints: str = EVERY_STEP, module: str | None = None
    ) -> list[Node]:
        """Start nodes, with what Kubeflow Trainer sets in their environment."""
        started = [
            Node(
                self.folder / f"node{number}",
                module or self._module,
                self.uri,
                **environment(number, 2, self._port),
                WEBLY_CHECKPOINT_MINUTES=checkpoints,
            )
            for number in numbers
        ]
        self._started += started
        return started

    @property
    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("node*/log")))

    @property
    def went_on_after(self) -> int:
        """The step of the checkpoint that it went on from at last."""
        return max(int(rest.split("\n")[0]) for rest in self.log.split("resuming after step ")[1:])

    def wait_for(self, text: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until a node's log has some text."""
        deadline = time.monotonic() + TIMEOUT
        while text not in self.log:
            assert time.monotonic() < deadline and any(n.is_alive for n in self._started), self.log
            meanwhile()
            time.sleep(0.1)

    def weights(self) -> dict[str, Tensor]:
        """Return those of the model that was given back."""
        assert self.handover.take_back(self.executor_input), self.log
        return load_file(self.folder / "outputs" / "model" / "model.safetensors")

    def close(self) -> None:
        for each in self._started:
            if each.is_alive:
                each.signal(signal.SIGKILL)


def artifacts(paths: Mapping[str, Path]) -> dict[str, Any]:
    return {
        name: {"artifacts": [{"name": name, "uri": str(path), "metadata": {}}]}
        for name, path in paths.items()
    }


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Callable[..., Job]]:
    jobs = []

    def make(*arguments: Any) -> Job:
        jobs.append(Job(tmp_path, *arguments))
        return jobs[-1]

    yield make
    for made in jobs:
        made.close()


@pytest.fixture
def finetuning(job: Callable[..., Job], data: ColouredSquares) -> Callable[[TrainingSettings], Job]:
    inputs = {
        "images": data.images,
        "targets": data.labels,
        "evaluation": data.evaluation,
    }
    outputs = ("model", "predictions", "report")
    return lambda settings: job(finetune, inputs, outputs, asdict(settings))


def checkpoints(bucket: str) -> list[str]:
    """Return the names of the checkpoints."""
    names = [Path(entry.name) for entry in filesystem.listed(f"{bucket}/checkpoints")]
    return [name.name for name in names if name.parts[0] != "trainjobs"]


# Of node 1 in test_machines, with all that is around it.
def test_node_0_killed_and_started_again_changes_no_weight(
    finetuning, undisturbed, bucket: str
) -> None:
    job = finetuning(SETTINGS)
    first, second = job.start(0, 1)
    job.wait_for("step 10\n")

    assert first.signal(signal.SIGKILL) == -signal.SIGKILL
    (first,) = job.start(0)

    assert [first.end(), second.end()] == [0, 0], job.log
    assert "2 × 1 micro-batches" in job.log
    assert job.went_on_after >= 9
    assert same(job.weights(), undisturbed)
    assert not checkpoints(bucket)
    # One that was lost before it could end, and is started again, has nothing to wait for.
    assert job.start(1)[0].end() == 0


def test_what_two_nodes_have_begun_one_pod_can_finish(
    finetuning, undisturbed, caplog: pytest.LogCaptureFixture
) -> None:
    job = finetuning(SETTINGS)
    first, second = job.start(0, 1)
    job.wait_for("step 10\n")
    first.signal(signal.SIGKILL)
    job.wait_for("node 0 does not answer")  # its agent's store is lost
    assert second.signal(signal.SIGTERM) == 128 + signal.SIGTERM

    caplog.set_level("INFO", "components")
    container.run(finetune, job.executor_input)

    assert int(caplog.text.partition("resuming after step ")[2].split("\n")[0]) >= 9
    made = load_file(job.folder / "outputs" / "model" / "model.safetensors")
    assert same(made, undisturbed)


def test_checkpoints_stay_until_the_outputs_are_given_back(
    finetuning,
    undisturbed,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = finetuning(SETTINGS)
    request = job.handover.take(job.folder / "node")
    monkeypatch.setenv("WEBLY_HANDOVER", job.uri)
    monkeypatch.setattr(sys, "argv", ["finetune", json.dumps(request)])
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="1"):
        patch.setattr(Handover, "give_back", Mock(side_effect=StorageError("S3 does not answer")))
        node.main(finetune)
    assert checkpoints(bucket)

    caplog.set_level("INFO", "components")
    node.main(finetune)

    assert f"resuming after step {40 * SETTINGS.epochs}" in caplog.text
    assert same(job.weights(), undisturbed)
    assert not checkpoints(bucket)


def test_a_node_that_is_terminated_costs_no_step(finetuning, bucket: str) -> None:
    job = finetuning(SETTINGS)
    _, second = job.start(0, 1, checkpoints=RARELY)
    job.wait_for("step 10\n")

    assert second.signal(signal.SIGTERM) == 128 + signal.SIGTERM

    (checkpoint,) = checkpoints(bucket)
    assert 10 <= int(checkpoint.split("-")[0]) < 40


def test_nodes_that_nobody_follows_leave_a_checkpoint_and_end_well(finetuning, bucket: str) -> None:
    job = finetuning(replace(SETTINGS, epochs=1000, decay_epochs=500))
    started = job.start(0, 1, checkpoints=RARELY, module="tests.impatient")
    job.wait_for("step 1\n", job.handover.beat)

    assert [node.end() for node in started] == [0, 0], job.log

    assert "no heartbeat for" in job.log
    assert not job.handover.is_given_back()
    assert checkpoints(bucket)


def test_nodes_that_start_when_nobody_follows_them_any_more_end_at_once(
    finetuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = finetuning(SETTINGS)
    job.handover.beat()
    monkeypatch.setattr(node, "_PATIENCE", 0.0)
    monkeypatch.setenv("PET_NNODES", "2")
    monkeypatch.setattr(sys, "argv", ["finetune", job.uri])

    node.main(finetune)

    assert not job.handover.is_given_back()


def test_two_nodes_label_as_one_process(
    job: Callable[..., Job], data: ColouredSquares, tmp_path: Path
) -> None:
    teachers = {
        f"models_{seed}": tiny_models.save(tmp_path / f"teacher{seed}", COLOURS, seed=seed)
        for seed in range(2)
    }
    inputs = {"images": data.images, "labels": data.labels, **teachers}
    outputs = ("pseudo_labels", "report")
    labelling = job(pseudo_label, inputs, outputs, {"batch_size": 4, "num_teachers": 2})

    assert [node.end() for node in labelling.start(0, 1)] == [0, 0], labelling.log

    fetched = [{path.name for path in tmp_path.glob(f"node{n}/cache/*.tar")} for n in range(2)]
    assert all(fetched) and not set.intersection(*fetched)
    assert labelling.handover.take_back(labelling.executor_input)
    made = contents(tmp_path / "outputs")
    (tmp_path / "outputs").rename(tmp_path / "from_nodes")
    container.run(pseudo_label, labelling.executor_input)
    assert made == contents(tmp_path / "outputs")


def contents(folder: Path) -> dict[str, bytes]:
    """Return the outputs, without what the stage says of them to its own pod."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".metadata.json")
    }


def test_nodes_that_do_not_know_of_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["finetune", "s3://bucket/trainjobs/job"])
    with pytest.raises(SystemExit, match="2"):
        node.main(finetune)
    assert "PET_NNODES is not set" in caplog.text
