import json
import logging
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from components.shared.stage import machine
from components.shared.stage.errors import UserError

# As KFP's compiler writes a number of GPUs that comes from the run's form.
BY_REFERENCE = {
    "accelerator_count": "{{$.inputs.parameters['pipelinechannel--gpus_finetune']}}",
    "pipelinechannel--gpus_finetune": "8",
}


@pytest.fixture(autouse=True)
def logs(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO)
    for name in ("KFP_POD_NAME", "WEBLY_NODE", "WEBLY_IMAGE", "WEBLY_GPUS", "WEBLY_CACHE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_POD_NAME", "finetune-1")
    monkeypatch.setenv("WEBLY_NODE", "gpu-7")
    monkeypatch.setenv("WEBLY_IMAGE", "webly/train:finetune-1234567")


def see(gpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch see so many GPUs: there is none where the tests run."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"NVIDIA H100 {i}")


def test_a_stage_says_where_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    machine.look({})

    (line,) = caplog.messages
    assert line.startswith(f"{platform.node()}: ")
    assert f"Python {platform.python_version()}" in line
    assert "cores" in line and "GiB" in line


@pytest.mark.usefixtures("pod")
def test_a_training_stage_in_a_pod_names_its_gpus_node_and_image(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(2, monkeypatch)
    monkeypatch.setenv("WEBLY_REVISION", "0123abc")

    machine.look({"accelerator_count": "2"})

    first, second = caplog.messages
    assert first.startswith("pod finetune-1 of node gpu-7: ")
    assert first.endswith("image webly/train:finetune-1234567, revision 0123abc")
    assert second == f"torch {torch.__version__}, GPUs: NVIDIA H100 0, NVIDIA H100 1"


@pytest.mark.usefixtures("pod")
def test_an_image_without_torch_may_be_promised_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    machine.look({"accelerator_count": "0"})
    with pytest.raises(UserError, match="1 GPUs were requested.*WEBLY_IMAGE_<STAGE>"):
        machine.look({"accelerator_count": "1"})


@pytest.mark.usefixtures("pod")
@pytest.mark.parametrize(
    ("values", "constant"),
    [({"accelerator_count": "8"}, None), (BY_REFERENCE, None), ({}, "8")],
    ids=["from the form", "by reference", "from the recipe"],
)
@pytest.mark.parametrize(
    ("found", "cause"), [(0, "driver"), (1, "MIG"), (16, "did not request"), (8, None)]
)
def test_a_pod_without_the_gpus_that_it_was_promised_ends_at_once(
    values: dict[str, Any],
    constant: str | None,
    found: int,
    cause: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    see(found, monkeypatch)
    if constant:
        monkeypatch.setenv("WEBLY_GPUS", constant)

    if cause is None:
        machine.look(values)
        return
    message = f"8 GPUs were requested, but torch sees {found} in pod finetune-1 of node gpu-7: "
    with pytest.raises(UserError, match=f"{message}.*{cause}"):
        machine.look(values)


def test_a_machine_that_is_no_pod_may_have_any_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    see(1, monkeypatch)

    machine.look({"accelerator_count": "8"})


@pytest.mark.usefixtures("pod")
def test_a_stage_that_was_promised_no_gpus_may_lack_torch(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    machine.look({"dataset": "s3://webly/webvision"})

    assert len(caplog.messages) == 1


@pytest.mark.usefixtures("pod")
def test_a_disk_that_is_not_writable_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    monkeypatch.setenv("WEBLY_CACHE", str(disk))
    machine.look({})
    # Root may write anywhere, whatever the folder's mode.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != disk)

    with pytest.raises(UserError, match=f"WEBLY_CACHE={disk}: user .* fsGroup"):
        machine.look({})


def test_a_training_stage_without_its_gpus_ends_with_one_line_before_it_reads_anything() -> None:
    request = {"inputs": {"parameterValues": BY_REFERENCE}, "outputs": {"outputFile": "none"}}
    command = [sys.executable, "-m", "components.finetune", json.dumps(request)]
    environment = os.environ | {"KFP_POD_NAME": "finetune-1", "CUDA_VISIBLE_DEVICES": ""}

    ended = subprocess.run(command, capture_output=True, text=True, env=environment)

    assert ended.returncode == 2
    *first, last = ended.stderr.splitlines()
    assert len(first) == 2
    assert "finetune: 8 GPUs were requested, but torch sees 0" in last
