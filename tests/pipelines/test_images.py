import subprocess
import sys
from pathlib import Path

import pytest

from components.finetune.component import finetune
from components.shared.stage.fingerprint import ROOT
from pipelines.images import LAUNCHER, components, reference


def test_a_reference_names_registry_target_and_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBLY_REGISTRY", "registry.local/team")

    image, _, version = reference(finetune).partition(":")

    assert image == "registry.local/team/train"
    assert version.startswith("finetune-") and len(version) == len("finetune-") + 7


def test_the_environment_replaces_one_stage_s_whole_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = [reference(component) for component in components() if component is not finetune]
    monkeypatch.setenv("WEBLY_IMAGE_FINETUNE", "elsewhere/mine@sha256:12")

    assert reference(finetune) == "elsewhere/mine@sha256:12"
    assert [reference(each) for each in components() if each is not finetune] == others


def test_the_launchers_reference_is_one_of_its_own() -> None:
    image, _, version = reference(LAUNCHER).partition(":")

    assert image == "webly/launcher"
    assert version == "trainjob-1"


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.images", *words]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)


def test_the_command_prints_one_reference_per_stage_and_the_launchers() -> None:
    ended = run("--registry", "registry.local/team")

    stages = [each.name for each in (*components(), LAUNCHER)]
    lines = ended.stdout.splitlines()
    assert [line.rpartition(":")[2].rpartition("-")[0] for line in lines] == stages
    assert all(line.startswith("registry.local/team/") for line in lines)


def test_a_machine_without_docker_is_told(tmp_path: Path) -> None:
    ended = run("build", PATH=str(tmp_path))

    assert ended.returncode == 2
    assert ended.stderr.startswith("docker: no such command")


def test_pushing_needs_a_registry() -> None:
    ended = run("push")

    assert ended.returncode == 2
    assert "WEBLY_REGISTRY" in ended.stderr
