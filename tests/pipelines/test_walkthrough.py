"""The commands of the READMEs, run against a stand-in for a cluster."""

import importlib
import logging
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.cluster import kfp_api, watch
from pipelines.recipe import load
from tests.pipelines.kubeflow import Kubeflow

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "k8s/README.md")


def commands(start: str) -> list[str]:
    """Return the commands of the READMEs' shell blocks that begin so, in their order."""
    blocks = [
        block
        for name in READMES
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
    ]
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return list(dict.fromkeys(part for part in parts if part.startswith(start)))


@pytest.fixture
def kubeflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kubeflow]:
    monkeypatch.setattr(watch, "_SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(kfp_api, "_FIRST_PAUSE", 0.0)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody is there
    monkeypatch.setenv("WEBLY_STORAGE_TIMEOUT", "1")
    monkeypatch.chdir(tmp_path)
    with Kubeflow() as server:
        monkeypatch.setenv("KFP_ENDPOINT", server.endpoint)
        yield server


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run `python -m module …` in this process; return its exit code."""
    _, _, module, *argv = shlex.split(command)
    monkeypatch.setattr(sys, "argv", [module, *argv])
    try:
        importlib.import_module(module).main()
    except SystemExit as ended:
        assert ended.code is None or isinstance(ended.code, int)
        return ended.code or 0
    return 0


@pytest.mark.slow
def test_the_commands_for_a_cluster_do_what_the_readmes_say(
    kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found = commands("python -m pipelines.submit")
    assert len(found) >= 7
    for command in found:
        runs = list(kubeflow.kept["runs"])
        command = command.replace("RUN", runs[-1] if runs else "RUN").replace("BUCKET", "bucket")
        caplog.clear()
        code = run(command, monkeypatch)
        if "--check" in command:
            assert code == 0  # what cannot be looked at from here is unknown, not missing
            assert "ok       API" in caplog.text and "GPU hours" in caplog.text
        else:
            assert code == 0, f"{command}\n{caplog.text}"
        if " diff " in command:
            assert "tasks will run" in caplog.text
        starts = not any(word in command for word in ("--check", "diff", "retry", "follow"))
        assert len(kubeflow.kept["runs"]) == len(runs) + starts


def test_compile_writes_the_file_that_the_readme_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (command,) = commands("python -m pipelines.compile")
    assert run(command, monkeypatch) == 0
    assert (tmp_path / command.split()[-1]).is_file()


def test_images_are_built_and_pushed_as_the_readme_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("WEBLY_REGISTRY", "registry.example.org/team")
    for command in commands("python -m pipelines.images"):
        assert run(command, monkeypatch) == 0
    calls = (tmp_path / "calls").read_text()
    assert "registry.example.org/team/train:finetune-" in calls
    assert "push registry.example.org/team/text:tagging-" in calls
    assert "push registry.example.org/team/launcher:trainjob-" in calls


def test_folders_for_kubectl_are_there() -> None:
    found = commands("kubectl")
    assert len(found) >= 3
    for command in found:
        argv = shlex.split(command)
        folder = ROOT / argv[argv.index("--kustomize") + 1]
        assert (folder / "kustomization.yaml").is_file()


def test_the_walkthrough_has_each_field_of_the_papers_form() -> None:
    text = (ROOT / "k8s" / "README.md").read_text()
    named = set(re.findall(r"`([a-z_]+)`", text))
    for field in load("paper").fields():
        stage, _, parameter = field.rpartition("_")
        assert field in named or (stage and f"`<stage>_{parameter}`" in text), field
