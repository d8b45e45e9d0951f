"""The commands of k8s/README.md, from top to bottom, against a stand-in for a cluster."""

import importlib
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.cluster import argo, kfp_api, watch
from pipelines.form import rows
from pipelines.recipe import load
from tests.pipelines.kubeflow import Kubeflow

ROOT = Path(__file__).parents[2]
API = "/api/v1/namespaces/kubeflow"
NODE = {"cpu": "96", "memory": "512Gi", "ephemeral-storage": "2Ti", "nvidia.com/gpu": "8"}
# What a reader writes in place of these.
NAMES = {"NAMESPACE": "kubeflow", "BUCKET": "bucket", "/path/to/": "own/"}


def commands(readme: str) -> list[str]:
    """Return the commands of a README's shell blocks, in their order."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / readme).read_text(), re.DOTALL)
    lines = [re.split(r"\s#", line)[0] for block in blocks for line in block.splitlines()]
    return [part.strip() for line in lines for part in line.split("&&")]


class Walk:
    """Does what a reader does, in a folder with a copy of k8s."""

    def __init__(self, kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kubeflow, self._monkeypatch = kubeflow, monkeypatch

    def do(self, command: str) -> int:
        """Run a command as far as it can be run here; return its exit code."""
        for name, value in NAMES.items():
            command = command.replace(name, value)
        command = command.replace("RUN", next(reversed(self.kubeflow.kept["runs"]), "RUN"))
        match shlex.split(command):
            case ["export", assignment]:
                name, _, value = assignment.partition("=")
                if name != "KFP_ENDPOINT":  # where the port is forwarded to
                    self._monkeypatch.setenv(name, os.path.expandvars(value))
                return 0
            case ["python", "-m", module, *argv]:
                return self._python(module, argv)
            case ["kubectl", "apply", *options, "--kustomize", folder]:
                assert options in ([], ["--namespace", "kubeflow"])
                return self._apply(folder)
            case ["kubectl", "port-forward", "--namespace", "kubeflow", service, ports]:
                assert (service, ports) == ("svc/ml-pipeline-ui", "8080:80")
                return 0
            case ["make", target]:
                return subprocess.run(["make", "--dry-run", target], cwd=ROOT).returncode
            case ["cp" | "docker", *_] as argv:
                return subprocess.run(argv).returncode
        raise AssertionError(f"{command}: no test runs this")

    def _python(self, module: str, argv: list[str]) -> int:
        self._monkeypatch.setattr(sys, "argv", [module, *argv])
        try:
            importlib.import_module(module).main()
        except SystemExit as ended:
            assert ended.code is None or isinstance(ended.code, int)
            return ended.code or 0
        return 0

    def _apply(self, folder: str) -> int:
        """Put into the stand-in what kubectl would apply."""
        ended = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
        for each in yaml.safe_load_all(ended.stdout):
            plural = f"{each['kind'].lower()}s"
            self.kubeflow.objects[f"{API}/{plural}/{each['metadata']['name']}"] = each
        return ended.returncode


@pytest.fixture
def walk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Walk]:
    """A bare cluster, and a folder with what a reader has."""
    if not shutil.which("kubectl"):
        pytest.skip("needs kubectl")
    monkeypatch.setattr(watch, "_SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(kfp_api, "_FIRST_PAUSE", 0.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody is there
    monkeypatch.setenv("WEBLY_STORAGE_TIMEOUT", "1")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "k8s", "k8s")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "ca.crt").write_text("PEM")
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(docker.parent), prepend=":")
    config = yaml.safe_load((Path(__file__).parent / "cluster/argo/kfp-2.17.0.yaml").read_text())
    config["metadata"]["resourceVersion"] = "1"
    with Kubeflow() as server:
        server.objects = {
            "/api/v1/nodes": {"items": [{"spec": {}, "status": {"allocatable": NODE}}]},
            f"{API}/resourcequotas": {"items": []},
            f"{API}/configmaps/{argo.CONFIG_MAP}": config,
        }
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config")))
        monkeypatch.setenv("KFP_ENDPOINT", server.endpoint)
        yield Walk(server, monkeypatch)


@pytest.mark.slow
def test_the_walk_leads_from_a_bare_cluster_to_a_finished_run_and_on(
    walk: Walk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for command in commands("k8s/README.md"):
        caplog.clear()
        runs = len(walk.kubeflow.kept["runs"])
        code = walk.do(command)
        submits = command.startswith("python -m pipelines.submit")
        starts = not re.search("--check| diff | retry | follow ", command)
        assert len(walk.kubeflow.kept["runs"]) - runs == (submits and starts)
        match command.removeprefix("python -m pipelines.").split():
            case ["argo"]:
                assert code == 1  # there is something to apply
            case ["submit", "--check", *_]:
                # What cannot be looked at from here is unknown.
                assert code == 0 and "missing" not in caplog.text
                assert "ok       config map   webly" in caplog.text
                assert "ok       secret       webly-s3" in caplog.text
            case ["submit", "diff", *_]:
                assert code == 0 and "tasks will run" in caplog.text
            case _:
                assert code == 0, f"{command}\n{caplog.text}"
    assert (tmp_path / "paper.yaml").is_file()
    calls = (tmp_path / "calls").read_text()
    assert "login registry.example.org" in calls
    assert "push registry.example.org/team/text:tagging-" in calls
    assert "push registry.example.org/team/launcher:trainjob-" in calls
    applied: dict[str, Any] = walk.kubeflow.objects
    assert applied[f"{API}/configmaps/webly-ca"]["data"] == {"ca.crt": "PEM"}
    assert "trainjobs" in str(applied[f"{API}/roles/webly-trainjobs"])


def test_the_first_readme_has_no_other_commands_for_a_cluster() -> None:
    kinds = (
        "kubectl",
        "export WEBLY_REGISTRY",
        *(f"python -m pipelines.{each}" for each in ("submit", "images")),
    )

    ours = [each for each in commands("README.md") if each.startswith(kinds)]

    assert len(ours) >= 6
    assert set(ours) <= set(commands("k8s/README.md"))


def test_the_walkthroughs_table_is_the_papers_form() -> None:
    path, head = ROOT / "k8s" / "README.md", "| field | default | |\n|---|---|---|\n"
    before, _, after = path.read_text().partition(head)
    table = "".join(
        f"| `{row.field}` | `{row.default}` | {row.help} |\n" for row in rows(load("paper"))
    )
    rest = re.sub(r"\A(\|.*\n)*", "", after)
    written = before + head + table + rest
    if os.environ.get("WEBLY_UPDATE_GOLDEN"):
        path.write_text(written)

    assert path.read_text() == written, "WEBLY_UPDATE_GOLDEN=1 writes it anew"
