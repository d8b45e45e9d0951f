"""Every stage on disks that take nothing more."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.disks import small_disk
from tests.forked import Forked

pytestmark = pytest.mark.processes
ALL = (
    "ingest",
    "tagging",
    "weighting",
    "wt_pretrain",
    "multitask_pretrain",
    "initial_model",
    "finetune",
    "audit",
    "pseudo_label",
    "ensemble",
    "compare",
)
CASES = [
    *((task, "outputs") for task in ALL),
    ("ingest", "WEBLY_STORE"),
    ("tagging", "WEBLY_CHECKPOINTS"),
    ("wt_pretrain", "WEBLY_CHECKPOINTS"),
    ("audit", "WEBLY_CHECKPOINTS"),
]
TIMEOUT = 500.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each stage has run."""
    folder = tmp_path_factory.mktemp("made")
    log = folder / "log"
    run = Forked("tests.golden.stages", str(folder), log=log, env=environment(folder))
    assert run.wait(TIMEOUT) == 0, log.read_text()
    return folder


def environment(folder: Path, **others: str) -> dict[str, str]:
    own = {f"WEBLY_{name}": str(folder / name) for name in ("STORE", "CHECKPOINTS", "CACHE")}
    every_step = {"WEBLY_CHECKPOINT_MINUTES": "0.0001"}
    return {**os.environ, **own, **every_step, **others}


@pytest.mark.parametrize("options", [(), ("ro",)], ids=["full", "read-only"])
@pytest.mark.parametrize(("task", "place"), CASES)
def test_a_disk_that_takes_nothing_more_ends_a_stage_in_a_line(
    task: str, options: tuple[str, ...], place: str, made: Path, tmp_path: Path
) -> None:
    module, request = json.loads((made / "requests.json").read_text())[task]
    log = tmp_path / "log"
    with small_disk(tmp_path / "disk", "16k", *options) as disk:
        outputs = disk / "made" if place == "outputs" else tmp_path / "made"
        places = {} if place == "outputs" else {place: str(disk)}
        run = Forked(
            module,
            json.dumps(moved(request, outputs)),
            log=log,
            env=environment(made, **{"WEBLY_CHECKPOINTS": str(tmp_path), **places}),
        )
        code = run.wait(TIMEOUT)
        left = [path.name for path in disk.rglob("*") if path.is_file()]

    said = log.read_text()
    assert "Traceback" not in said
    assert not [name for name in left if name.endswith(".part")]
    (last,) = re.findall("ERROR (.*)", said)
    assert str(disk) in last
    assert code == (2 if options else 1)


def moved(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a request for outputs in another folder."""
    outputs = request["outputs"]
    artifacts = {
        name: {"artifacts": [{**entry, "uri": str(folder / name)} for entry in found["artifacts"]]}
        for name, found in outputs["artifacts"].items()
    }
    return request | {
        "outputs": outputs | {"artifacts": artifacts, "outputFile": str(folder / "output.json")}
    }
