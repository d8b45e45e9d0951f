import functools
import sys
from pathlib import Path

import pytest

from pipelines.cluster.pod_settings import Backend
from pipelines.compile import compile_recipe
from pipelines.recipe import load
from pipelines.values import Recipe
from tests.pipelines.recipes import RECIPES, Compiled

TOY = Path(__file__).parent / "toy"
# Stages of the toy pipelines run in processes of their own, and are compiled in this one.
sys.path.append(str(TOY))


@pytest.fixture(autouse=True)
def toy_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TOY))


@pytest.fixture(scope="module", params=RECIPES)
def name(request: pytest.FixtureRequest) -> str:
    """A recipe's name: a test that asks for it, or for `recipe`, runs once for each."""
    return str(request.param)


@pytest.fixture
def recipe(name: str) -> Recipe:
    return load(name)


@pytest.fixture(scope="session")
def compiled_recipe(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Compile a recipe, for a backend, if no other test has; nobody writes to its file."""

    @functools.cache
    def compiled(name: str, backend: Backend = "2.17") -> Path:
        path = tmp_path_factory.mktemp("compiled") / f"{Path(name).stem}.yaml"
        compile_recipe(load(name), path, backend=backend)
        return path

    return compiled
