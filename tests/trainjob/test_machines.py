"""A stage on two nodes from its launcher on, all of it: only the cluster's API is a stand-in."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from components.shared.stage.boundary import USER_ERROR
from components.shared.stage.fingerprint import ROOT
from components.shared.storage import filesystem
from components.shared.training.settings import TrainingSettings
from tests.shared.training.test_resuming import same, trained
from tests.synthetic import ColouredSquares
from tests.trainjob.kubernetes_api import KubernetesApi
from tests.trainjob.machines import Machines
from tests.trainjob.test_node import EVERY_STEP, RARELY, SETTINGS, artifacts

MODULE = "components.finetune"
OUTPUTS = ("model", "predictions", "report")
TIMEOUT = 300.0


class Task:
    """KFP's task of a stage: its launcher, started once or again."""

    def __init__(self, folder: Path, data: ColouredSquares, settings: TrainingSettings) -> None:
        self.outputs = folder / "outputs"
        self._log, self._settings = folder / "log", settings
        self._inputs = {
            "images": data.images,
            "targets": data.labels,
            "evaluation": data.evaluation,
        }

    def launch(self, *, checkpoints: str) -> "subprocess.Popen[bytes]":
        request = json.dumps(self._executor_input(checkpoints))
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "components.trainjob", MODULE, request],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    def _executor_input(self, checkpoints: str) -> dict[str, Any]:
        secret = {"name": "webly-s3", "optional": True}
        names = ("WEBLY_STORE", "WEBLY_CHECKPOINTS", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
        secrets = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        env: list[dict[str, Any]] = [
            *({"name": name, "value": os.environ[name]} for name in names),
            {"name": "WEBLY_CHECKPOINT_MINUTES", "value": checkpoints},
            {"name": "WEBLY_LOG_LEVEL", "value": "DEBUG"},
            *(
                {"name": name, "valueFrom": {"secretKeyRef": {**secret, "key": name}}}
                for name in secrets
            ),
        ]
        parameters = {
            "num_nodes": "2",
            "node_image": "webly/train",
            "task_config": {"env": env, "resources": {}},
        }
        return {
            "inputs": {
                "parameterValues": asdict(self._settings) | parameters,
                "artifacts": artifacts(self._inputs),
            },
            "outputs": {
                "artifacts": artifacts({name: self.outputs / name for name in OUTPUTS}),
                "outputFile": str(self.outputs / "executor_output.json"),
            },
        }

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str) -> None:
        """Wait until the log has some text."""
        deadline = time.monotonic() + TIMEOUT
        while text not in self.log:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.1)

    @property
    def weights(self) -> dict[str, Tensor]:
        return load_file(self.outputs / "model" / "model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The weights that one process makes."""
    folder = tmp_path_factory.mktemp("alone")
    return trained(ColouredSquares.write(folder, 7), str(folder / "checkpoints"), SETTINGS)[0]


@pytest.fixture
def machines(api: KubernetesApi, bucket: str, tmp_path: Path) -> Iterator[Machines]:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    secrets = {name: os.environ[name] for name in names}
    with Machines(api, secrets, tmp_path / "machines") as machines:
        yield machines


@pytest.fixture
def task(
    machines: Machines, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[TrainingSettings], Task]:
    monkeypatch.setenv("WEBLY_STORE", f"{bucket}/store")
    monkeypatch.setenv("WEBLY_CHECKPOINTS", f"{bucket}/checkpoints")
    data = ColouredSquares.write(tmp_path / "squares", images_per_shard=7)
    data.put_in_store(f"{bucket}/store")
    return lambda settings: Task(tmp_path, data, settings)


def test_the_loss_of_a_node_and_of_the_launcher_change_no_weight(
    api: KubernetesApi,
    machines: Machines,
    task: Callable[[TrainingSettings], Task],
    undisturbed: dict[str, Tensor],
    bucket: str,
) -> None:
    finetuning = task(SETTINGS)
    first = finetuning.launch(checkpoints=EVERY_STEP)
    finetuning.wait_for("step 5\n")
    first.kill()

    second = finetuning.launch(checkpoints=EVERY_STEP)
    finetuning.wait_for("resuming it")
    machines.kill(1)

    assert second.wait(TIMEOUT) == 0, finetuning.log
    assert "node 1 ended with exit code 137" in finetuning.log
    assert "[node 1] " in finetuning.log
    assert same(finetuning.weights, undisturbed)
    assert {path.name for path in finetuning.outputs.iterdir()} >= set(OUTPUTS)
    assert api.jobs == {}
    left = [entry.name for entry in filesystem.listed(f"{bucket}/checkpoints")]
    assert left == []


def test_what_is_terminated_goes_on_when_it_is_started_again(
    api: KubernetesApi,
    task: Callable[[TrainingSettings], Task],
    undisturbed: dict[str, Tensor],
) -> None:
    finetuning = task(SETTINGS)
    first = finetuning.launch(checkpoints=RARELY)
    finetuning.wait_for("step 10\n")

    first.send_signal(signal.SIGTERM)

    assert first.wait(TIMEOUT) == 128 + signal.SIGTERM
    assert api.jobs == {}
    assert finetuning.launch(checkpoints=RARELY).wait(TIMEOUT) == 0, finetuning.log
    step = int(finetuning.log.partition("resuming after step ")[2].split("\n")[0])
    assert step >= 10
    assert same(finetuning.weights, undisturbed)


def test_an_error_of_the_user_s_is_the_launcher_s(
    api: KubernetesApi, task: Callable[[TrainingSettings], Task]
) -> None:
    settings = replace(SETTINGS, learning_rate=1_000.0, weight_decay=100.0, warmup_epochs=0.0)
    finetuning = task(settings)

    assert finetuning.launch(checkpoints=RARELY).wait(TIMEOUT) == USER_ERROR

    assert "lower learning_rate" in finetuning.log
    assert "again" not in finetuning.log
    assert api.jobs == {}
    assert len(api.nodes) == 2
