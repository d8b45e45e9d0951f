"""Which field of the run's form reaches which task's cache key, by the compiled file alone."""

import copy
import functools
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.finetune.component import finetune
from pipelines.cluster.difference import Earlier, compare
from pipelines.compile import compile_recipe
from pipelines.engine.cache import Cache
from pipelines.recipe import load
from pipelines.run import graph
from pipelines.steps import CONSTANT, STEPS
from pipelines.values import Recipe
from tests.pipelines.recipes import Compiled

# The pods' alone: KFP resolves them without making them inputs of the task.
IN_NO_KEY = {
    f"{kind}_{name}" for kind in ("cpu", "gpu") for name in ("node_selector", "tolerations")
}


@pytest.fixture(scope="module", autouse=True)
def parsed_once() -> Iterator[None]:
    """Parse each compiled file once, not for each field of its form."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "documents", functools.cache(graph.documents))
        yield


@pytest.fixture(scope="module")
def path(name: str, compiled_recipe: Compiled) -> Path:
    return compiled_recipe(name)


@functools.cache
def keys(path: Path, *overrides: str) -> dict[str, str]:
    """Return each task's cache key; keys of upstream tasks stand for the artifacts' ids."""
    found: dict[str, str] = {}
    for task in graph.read(path, overrides).tasks:
        inputs = {
            name: f"{found[source.task]}/{source.output}" for name, source in task.inputs.items()
        }
        found[task.name] = Cache(path.parent).key(task, inputs)
    return found


def root(path: Path) -> dict[str, Any]:
    return dict(graph.documents(path)[0]["root"])


def fields(path: Path) -> dict[str, Any]:
    return dict(root(path)["inputDefinitions"]["parameters"])


def another(field: Mapping[str, Any]) -> str:
    """Return another value than a field's default, as a word of the command line."""
    default = field["defaultValue"]
    for choice in field.get("literals", []):
        if choice != default:
            return str(choice)
    match field["parameterType"]:
        case "STRING":
            return f"{default}9".lstrip("0")
        case "BOOLEAN":
            return json.dumps(not default)
        case "LIST":
            return json.dumps([{"key": "gpu", "operator": "Exists"}])
        case "STRUCT":
            return json.dumps({"pool": "gpu"})
        case "NUMBER_INTEGER":
            return str(int(default) + 1)
    return str(default / 2)


def reached(path: Path, field: str) -> set[str]:
    """Return the tasks that run again if a field of the form changes."""
    before, after = keys(path), keys(path, f"{field}={another(fields(path)[field])}")
    return {name for name in before if before[name] != after[name]}


def steps(path: Path, tasks: Collection[str]) -> set[str]:
    return {task.step for task in graph.read(path, []).tasks if task.name in tasks}


@pytest.mark.slow
def test_a_field_reaches_its_own_steps_and_what_follows_them(path: Path) -> None:
    tasks = {task.name: task for task in graph.read(path, []).tasks}

    def follows(name: str, first: set[str]) -> bool:
        return name in first or any(follows(each, first) for each in tasks[name].dependencies)

    for field in set(fields(path)) - IN_NO_KEY:
        first = {
            name
            for name, task in root(path)["dag"]["tasks"].items()
            if {"componentInputParameter": field} in task["inputs"]["parameters"].values()
        }
        assert first, f"{field} has no effect"
        assert reached(path, field) == {name for name in tasks if follows(name, first)}, field


def test_finetunings_fields_reach_finetuning_and_later_but_no_pretraining(
    recipe: Recipe, path: Path
) -> None:
    later = {name for name, step in STEPS.items() if step.component is finetune}
    there = steps(path, keys(path))
    later = (later | {"pseudo_label", "ensemble", "compare"}) & there

    # GPUs of the form are in the key, for KFP makes them inputs of the task.
    own = {"finetune_learning_rate", "finetune_epochs", "rerun_finetune", "gpus_finetune"}
    assert {"rerun_finetune", "gpus_finetune"} <= own & set(fields(path))
    for field in own & set(fields(path)):
        # An audit has finetuning's values, but is rerun, and has GPUs, by itself.
        also = {"audit"} & there if field.startswith("finetune_") else set()
        assert steps(path, reached(path, field)) == later | also, field


def test_a_data_set_version_reaches_every_task(path: Path) -> None:
    assert reached(path, "dataset_version") == set(keys(path))


def test_a_keyword_pretraining_shares_nothing_with_the_other(compiled_recipe: Compiled) -> None:
    path = compiled_recipe("paper")

    assert "lw_pretrain" not in steps(path, reached(path, "tagging_vocabulary_size"))
    assert "weighting" not in steps(path, reached(path, "rerun_tagging"))
    assert "wt_pretrain" not in steps(path, reached(path, "weighting_top_k"))


def test_display_names_reach_no_key(path: Path, tmp_path: Path) -> None:
    """Neither a local one nor, in `difference`, one of KFP's."""
    spec, platform = copy.deepcopy(graph.documents(path))
    for task in spec["root"]["dag"]["tasks"].values():
        task["taskInfo"]["name"] += "!"
    for executor in spec["deploymentSpec"]["executors"].values():
        for variable in executor["container"]["env"]:
            variable["value"] += "!" if variable["name"] == "WEBLY_TASK" else ""
    renamed = tmp_path / "renamed.yaml"
    renamed.write_text(yaml.safe_dump_all([spec, platform]))

    before, after = graph.read(path, []), graph.read(renamed, [])

    assert {task.label for task in before.tasks}.isdisjoint(task.label for task in after.tasks)
    assert keys(renamed) == keys(path)
    made = frozenset(task.name for task in before.tasks)
    assert not any(each.reasons for each in compare(after, [Earlier("run", before, made)]))


def test_where_pods_run_reaches_no_key(path: Path) -> None:
    for field in IN_NO_KEY:
        assert reached(path, field) == set()


def test_what_a_recipe_fixes_about_pods_reaches_no_key(tmp_path: Path) -> None:
    recipe = load("smoke")

    def with_pods(gpus: str, **pods: Any) -> Recipe:
        """Return the recipe with other pods; GPUs that are not the form's are constant, too."""
        values = {step: {**given} for step, given in recipe.values.items()}
        for step in ("ingest", "training", "ensemble"):
            values[step] |= pods
        values["finetune_large"]["gpus"] = gpus
        return replace(recipe, values=values)

    given = {
        "queue": "gpus",
        "queue_priority": "high",
        "pull_secret": "registry",
        "disk_class": "fast",
        "disk": "99Gi",
        "retries": 5,
        "timeout_hours": 9,
    }
    assert set(given) == set(CONSTANT)
    path, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    compile_recipe(with_pods("2"), path)
    compile_recipe(with_pods("4", **given, cpu="16", memory="99Gi"), other)

    assert path.read_text() != other.read_text()
    assert keys(path) == keys(other)
