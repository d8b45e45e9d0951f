import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

from components.shared.interface import arguments
from pipelines.compile import compile_recipe
from pipelines.images import ROOT
from pipelines.recipe import FOLDER, Recipe, load
from pipelines.steps import STEPS, split_task

GOLDEN = Path(__file__).parent / "golden"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
TRAINING = {"wt_pretrain", "lw_pretrain", "finetune", "pseudo_label", "ensemble"}


@pytest.fixture(scope="module", params=RECIPES)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return load(request.param)


@pytest.fixture(scope="module")
def documents(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    compile_recipe(recipe, path)
    return list(yaml.safe_load_all(path.read_text()))


def tasks(spec: Any) -> dict[str, Any]:
    return dict(spec["root"]["dag"]["tasks"])


def executors(document: Any) -> dict[str, Any]:
    return dict(document["deploymentSpec"]["executors"])


def pods(documents: list[Any]) -> dict[str, Any]:
    return executors(documents[1]["platforms"]["kubernetes"])


def stage(task: str) -> str:
    component = STEPS[split_task(task)[0]].component
    assert component is not None
    return component.name


def test_a_compiled_recipe_parses_without_unknown_fields(documents: list[Any]) -> None:
    spec, platform = documents

    json_format.ParseDict(spec, PipelineSpec())
    json_format.ParseDict(platform, PlatformSpec())
    for pod in pods(documents).values():
        json_format.ParseDict(pod, KubernetesExecutorConfig())
    assert spec["schemaVersion"] == "2.1.0"


def test_every_reference_of_a_compiled_recipe_is_there(documents: list[Any]) -> None:
    spec, _ = documents
    components = spec["components"]

    used = {task["componentRef"]["name"] for task in tasks(spec).values()}
    labels = {component["executorLabel"] for component in components.values()}

    assert used == set(components)
    assert labels == set(executors(spec)) == set(pods(documents))
    assert "{{channel:" not in yaml.dump(documents)
    assert all(re.fullmatch("[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name) for name in tasks(spec))


def test_every_parameter_of_every_component_is_passed(documents: list[Any]) -> None:
    spec, _ = documents

    for name, task in tasks(spec).items():
        declared = spec["components"][task["componentRef"]["name"]]["inputDefinitions"]
        assert set(declared["parameters"]) <= set(task["inputs"]["parameters"]), name


def test_training_tasks_take_gpus_and_nodes_from_the_form(documents: list[Any]) -> None:
    spec, _ = documents
    fields = spec["root"]["inputDefinitions"]["parameters"]

    for name in tasks(spec):
        resources = executors(spec)[f"exec-{name}"]["container"]["resources"]
        pod = pods(documents)[f"exec-{name}"]
        if stage(name) not in TRAINING:
            assert "accelerator" not in resources and "nodeSelector" not in pod, name
            continue
        count = f"{stage(name)}_gpus"
        given = tasks(spec)[name]["inputs"]["parameters"][f"pipelinechannel--{count}"]
        assert given == {"componentInputParameter": count}
        assert f"pipelinechannel--{count}" in resources["accelerator"]["resourceCount"]
        assert fields[count]["parameterType"] == "STRING"
        selector = pod["nodeSelector"]["nodeSelectorJson"]
        assert selector == {"componentInputParameter": "gpu_node_selector"}
        assert pod["tolerations"] == [
            {"tolerationJson": {"componentInputParameter": "gpu_tolerations"}}
        ]
    types = {name: fields[name]["parameterType"] for name in ("gpu_node_selector", "gpu_type")}
    assert types == {"gpu_node_selector": "STRUCT", "gpu_type": "STRING"}
    assert fields["gpu_tolerations"]["parameterType"] == "LIST"


def test_the_config_map_holds_what_pods_need_of_it(documents: list[Any]) -> None:
    (generated,) = yaml.safe_load((ROOT / "k8s/base/kustomization.yaml").read_text())[
        "configMapGenerator"
    ]
    held = {literal.partition("=")[0] for literal in generated["literals"]}

    for name, pod in pods(documents).items():
        sources = [each for each in pod["configMapAsEnv"] if not each["optional"]]
        needed = {pair["configMapKey"] for each in sources for pair in each["keyToEnv"]}
        assert needed and needed <= held, name
        assert {each["configMapName"] for each in sources} == {generated["name"]}


def test_the_form_names_fields_by_step(recipe: Recipe, documents: list[Any]) -> None:
    fields = set(documents[0]["root"]["inputDefinitions"]["parameters"])
    prefixes = tuple(f"{name}_" for name in (*STEPS, "gpu"))

    free = {name for name in fields if not name.startswith(prefixes)}

    assert free == {"dataset", "dataset_version"}
    assert set(recipe.form) <= fields


def reached(spec: Any, field: str) -> set[str]:
    """Return the tasks whose cache key holds a field of the form."""
    return {
        name
        for name, task in tasks(spec).items()
        for value in task["inputs"]["parameters"].values()
        if value.get("componentInputParameter") == field
    }


def test_finetunings_learning_rate_reaches_no_pretraining(documents: list[Any]) -> None:
    spec, _ = documents
    finetunings = {name for name in tasks(spec) if stage(name) == "finetune"}

    assert reached(spec, "finetune_learning_rate") == finetunings


def test_every_field_of_the_form_reaches_a_task(documents: list[Any]) -> None:
    spec, _ = documents
    fields = set(spec["root"]["inputDefinitions"]["parameters"])

    without = {field for field in fields if not reached(spec, field)}

    assert without == {"gpu_node_selector", "gpu_tolerations"}  # the pods' alone


def test_a_rerun_field_reaches_its_stage_alone(documents: list[Any]) -> None:
    spec, _ = documents

    for name in {stage(task) for task in tasks(spec)}:
        assert {stage(task) for task in reached(spec, f"{name}_rerun")} == {name}


def test_stages_and_components_declare_the_same_parameters(documents: list[Any]) -> None:
    spec, _ = documents

    for name in tasks(spec):
        component = STEPS[split_task(name)[0]].component
        assert component is not None
        parameters = {a.name for a in arguments(component.stage) if a.artifact is None}
        declared = spec["components"][f"comp-{name}"]["inputDefinitions"]["parameters"]
        assert set(declared) == parameters | {"rerun"}, name


def test_the_paper_recipe_is_the_talks() -> None:
    recipe = load("paper")

    backbones = {candidate.backbone for candidate in recipe.candidates}
    assert backbones == {"resnest101e", "resnest200e", "resnext101_32x8d", "efficientnet_b4"}
    names = ("learning_rate", "decay_epochs", "batch_size", "accumulation_steps")
    values = [recipe.resolve("finetune", name, {}) for name in names]
    assert values == [0.01, 90, 256, 8]
    assert recipe.resolve("tagging", "vocabulary_size", {}) == 35_000


def golden(documents: list[Any]) -> str:
    """Return a compiled pipeline without descriptions and without what is said many times.

    Tags change with the code of the stages: their hashes are masked.
    """
    spec, _ = documents
    form = spec["root"]["inputDefinitions"]["parameters"]
    content: dict[str, Any] = {
        "form": {
            name: [field["parameterType"], field["defaultValue"]] for name, field in form.items()
        },
        "tasks": {},
        "pods": [],
    }
    for name, task in tasks(spec).items():
        component = spec["components"][task["componentRef"]["name"]]
        container = executors(spec)[component["executorLabel"]]["container"]
        content["tasks"][name] = {
            "image": re.sub("-[0-9a-f]{7}$", "-*", container["image"]),
            "command": " ".join([*container["command"], *container["args"]]),
            "cache": task["cachingOptions"]["enableCache"],
            "inputs": dict(_inputs(task)),
            "outputs": {
                output: definition["artifactType"]["schemaTitle"]
                for output, definition in component["outputDefinitions"]["artifacts"].items()
            },
        }
        pod = pods(documents)[component["executorLabel"]] | container["resources"]
        same = next((entry for entry in content["pods"] if entry["pod"] == pod), None)
        if same is None:
            content["pods"].append({"tasks": [name], "pod": pod})
        else:
            same["tasks"].append(name)
    return yaml.safe_dump(content, width=200)


def _inputs(task: Any) -> Iterator[tuple[str, Any]]:
    for name, source in task["inputs"].get("artifacts", {}).items():
        output = source["taskOutputArtifact"]
        yield name, f"{output['producerTask']}.{output['outputArtifactKey']}"
    for name, source in task["inputs"]["parameters"].items():
        if "componentInputParameter" in source:
            yield name, f"form.{source['componentInputParameter']}"
        else:
            yield name, source["runtimeValue"]["constant"]


def test_a_compiled_recipe_is_what_was_reviewed(
    recipe: Recipe, documents: list[Any], request: pytest.FixtureRequest
) -> None:
    path = GOLDEN / f"{recipe.name.removeprefix('webly-')}.yaml"
    if os.environ.get("WEBLY_UPDATE_GOLDEN"):
        path.write_text(golden(documents))

    assert golden(documents) == path.read_text(), "WEBLY_UPDATE_GOLDEN=1 writes it anew"


def test_the_command_compiles_a_recipe(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.compile", "--recipe", "smoke"]

    subprocess.run([*command, "--output", str(tmp_path / "x.yaml")], check=True)

    spec, _ = yaml.safe_load_all((tmp_path / "x.yaml").read_text())
    assert spec["pipelineInfo"]["name"] == "webly-smoke"


def test_the_command_refuses_an_unknown_recipe_in_one_line() -> None:
    command = [sys.executable, "-m", "pipelines.compile", "--recipe", "nosuch"]

    ended = subprocess.run(command, capture_output=True, text=True)

    assert ended.returncode == 2
    assert "there are demo, paper, sample, smoke" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
