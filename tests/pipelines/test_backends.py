import importlib.util
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from pipelines.cluster.pod_settings import Backend
from pipelines.run import graph

pytestmark = pytest.mark.slow

BACKENDS = get_args(Backend)
SEVERAL_NODES = """
name: several-nodes
candidates: [{backbone: resnet18, pretraining: [wt]}]
training: {num_nodes: '2'}
"""
RECIPES = ["paper", "sample"]  # pods differ by the step, not by the recipe
NAMES = [*RECIPES, "several-nodes"]
Compile = Callable[..., Path]


@pytest.fixture(scope="module")
def compiled(compiled_recipe: Compile, tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Compile one of the recipes for a backend."""
    several_nodes = tmp_path_factory.mktemp("recipes") / "several-nodes.yaml"
    several_nodes.write_text(SEVERAL_NODES)
    return lambda name, backend: compiled_recipe(
        str(several_nodes) if name == several_nodes.stem else name, backend
    )


@dataclass(frozen=True)
class Protos:
    """The messages that a version of KFP's backend knows."""

    version: str
    site: Path

    def parse(self, *paths: Path) -> "subprocess.CompletedProcess[str]":
        script = Path(__file__).parent / "strict_parse.py"
        command = [sys.executable, str(script), str(self.site), *map(str, paths)]
        return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module", params=BACKENDS)
def protos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Protos:
    version = request.param
    site = request.config.cache.mkdir("kfp-protos") / f"{version}.0"
    if not site.exists():
        packages = [f"{name}=={version}.0" for name in ("kfp-pipeline-spec", "kfp-kubernetes")]
        pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else ["pip"]
        made = tmp_path_factory.mktemp("site")
        install = [*pip, "install", "--quiet", "--no-deps", "--target", str(made), *packages]
        if subprocess.run(install).returncode:
            pytest.skip(f"needs {' and '.join(packages)} from a package index")
        with suppress(OSError):  # another worker was faster
            made.rename(site)
    return Protos(version, site)


def test_each_recipe_parses_with_the_protos_of_the_backend_it_is_compiled_for(
    protos: Protos, compiled: Compile
) -> None:
    paths = [compiled(name, protos.version) for name in NAMES]

    ended = protos.parse(*paths)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [str(path) for path in paths]


def test_what_a_backend_does_not_know_is_noticed(protos: Protos, compiled: Compile) -> None:
    ended = protos.parse(compiled("sample", "2.17"))

    older = protos.version == "2.15"
    assert ended.returncode == (1 if older else 0)
    assert ('no field named "literals"' in ended.stderr) == older


@pytest.mark.parametrize("name", NAMES)
def test_only_newer_backends_get_a_security_context(name: str, compiled: Compile) -> None:
    for backend in BACKENDS:
        _, platform = graph.documents(compiled(name, backend))
        pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
        contexts = [pod.get("securityContext") for pod in pods]

        expected = None if backend == "2.15" else {"runAsNonRoot": True}
        assert contexts == [expected] * len(pods)
