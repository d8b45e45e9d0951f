import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from components.trainjob import kubernetes_api, launcher
from components.trainjob.handover import Handover
from components.trainjob.job import job_name
from tests.trainjob.generations import NEWEST
from tests.trainjob.kubernetes_api import LAUNCHER, KubernetesApi

MODULE = "components.finetune"
SECONDS = 120.0  # for what takes a moment; as a process on a busy machine, longer

TASK_CONFIG: dict[str, Any] = {  # as KFP's driver writes it
    "affinity": None,
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "nodeSelector": {"pool": "a100"},
    "env": [
        {"name": "WEBLY_IMAGE", "value": "webly/train:finetune-1"},
        {"name": "WEBLY_TRAINJOB_HOURS", "value": "72"},
        {"name": "WEBLY_NODE_ENV", "value": '{"TMPDIR": "/mnt/webly"}'},
        {"name": "WEBLY_NODE_VOLUMES", "value": "{}"},
        {"name": "WEBLY_NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "KFP_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {
            "name": "WEBLY_STORE",
            "valueFrom": {"configMapKeyRef": {"name": "webly", "key": "WEBLY_STORE"}},
        },
        {
            "name": "AWS_ACCESS_KEY_ID",
            "valueFrom": {
                "secretKeyRef": {"name": "webly-s3", "key": "accesskey", "optional": True}
            },
        },
        {"name": "TMPDIR", "value": "/tmp"},
    ],
    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    "resources": {
        "limits": {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "4"},
        "requests": {"cpu": "8", "memory": "64Gi"},
    },
}


@pytest.fixture
def generation() -> str:
    """The generation of Trainer's API that the cluster has; tests may ask for others."""
    return NEWEST


@pytest.fixture
def api(
    generation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KubernetesApi]:
    """A cluster in whose launcher pod this process is."""
    with KubernetesApi(generation) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path / "kubeconfig")))
        monkeypatch.setenv("KFP_POD_NAME", LAUNCHER)
        yield api


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the launcher look again soon."""
    monkeypatch.setattr(launcher, "_PAUSE", 0.02)
    monkeypatch.setattr(launcher, "_SECONDS_BETWEEN_HEARTBEATS", 0.1)
    monkeypatch.setattr(kubernetes_api, "_FIRST_PAUSE", 0.02)


@pytest.fixture
def executor_input(tmp_path: Path) -> dict[str, Any]:
    """What KFP's launcher gives: an input that is there, outputs that are not."""
    targets = tmp_path / "launcher" / "targets.safetensors"
    targets.parent.mkdir()
    targets.write_bytes(b"targets")

    def artifacts(path: Path) -> dict[str, Any]:
        return {"artifacts": [{"name": path.name, "uri": str(path), "metadata": {}}]}

    return {
        "inputs": {
            "parameterValues": {
                "num_nodes": "2",
                "node_image": "webly/train:finetune-1",
                "task_config": TASK_CONFIG,
                "epochs": 3,
            },
            "artifacts": {"targets": artifacts(targets)},
        },
        "outputs": {
            "artifacts": {
                "model": artifacts(tmp_path / "launcher" / "model"),
                "metrics": artifacts(tmp_path / "launcher" / "metrics.json"),
            },
            "outputFile": str(tmp_path / "launcher" / "executor_output.json"),
        },
    }


class Launch:
    """The launcher of a stage on two nodes, in a thread, and what its nodes do to the store.

    Attributes:
        ended: Its end.
        folder: The folder for handovers.
        name: The TrainJob's name.
    """

    def __init__(self, ended: "Future[None]", folder: str, executor_input: dict[str, Any]) -> None:
        self.ended, self.folder = ended, folder
        self.name = job_name(MODULE, executor_input)

    @property
    def handover(self) -> Handover:
        return Handover(f"{self.folder}/{self.name}")


@pytest.fixture
def launch(
    api: KubernetesApi, quick: None, tmp_path: Path, executor_input: dict[str, Any]
) -> Iterator[Callable[[], Launch]]:
    """Start the launcher; its handovers are in a folder."""
    folder = str(tmp_path / "trainjobs")
    with ThreadPoolExecutor() as threads:

        def start() -> Launch:
            ended = threads.submit(launcher.launch, MODULE, executor_input, folder)
            return Launch(ended, folder, executor_input)

        yield start
        for job in list(api.jobs):  # one that a failed test has left to itself
            del api.jobs[job]


def run_stage(handover: Handover, folder: Path) -> dict[str, Any]:
    """Do as the nodes of a stage: take inputs, give outputs back. Return the parameters."""
    request = handover.take(folder)
    inputs, outputs = request["inputs"], request["outputs"]
    assert Path(_uri(inputs["artifacts"]["targets"])).read_bytes() == b"targets"
    model, metrics = (Path(_uri(outputs["artifacts"][name])) for name in ("model", "metrics"))
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"weights")
    metrics.write_text('{"top1": 0.5}')
    made = {
        "model": {"artifacts": [{"name": "model", "uri": str(model), "metadata": {}}]},
        "metrics": {
            "artifacts": [{"name": "metrics", "uri": str(metrics), "metadata": {"top1": 0.5}}]
        },
    }
    Path(outputs["outputFile"]).write_text(json.dumps({"artifacts": made}))
    handover.give_back(request)
    values: dict[str, Any] = inputs["parameterValues"]
    return values


def _uri(artifacts: dict[str, Any]) -> str:
    uri: str = artifacts["artifacts"][0]["uri"]
    return uri
