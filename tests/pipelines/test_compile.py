import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

from components.shared.stage.container import parameter
from components.shared.stage.errors import UserError
from components.shared.stage.interface import arguments
from pipelines import task_checks
from pipelines.compile import compile_recipe, main
from pipelines.images import components
from pipelines.recipe import load
from pipelines.run import graph
from pipelines.values import Recipe
from tests.pipelines.recipes import Compiled

GOLDEN = Path(__file__).parent / "golden"
TRAINING = {component.name for component in components() if component.target == "train"}


@pytest.fixture(scope="module")
def documents(name: str, compiled_recipe: Compiled) -> list[Any]:
    return graph.documents(compiled_recipe(name))


def tasks(spec: Any) -> dict[str, Any]:
    return dict(spec["root"]["dag"]["tasks"])


def executors(document: Any) -> dict[str, Any]:
    return dict(document["deploymentSpec"]["executors"])


def pods(documents: list[Any]) -> dict[str, Any]:
    return executors(documents[1]["platforms"]["kubernetes"])


def stage(spec: Any, task: str) -> str:
    """Return which stage a task runs, by its command."""
    command = executors(spec)[spec["components"][f"comp-{task}"]["executorLabel"]]["container"]
    return str(command["command"][-1].rpartition(".")[2])


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


def test_tasks_take_gpus_and_nodes_from_the_form(documents: list[Any]) -> None:
    spec, _ = documents
    fields = spec["root"]["inputDefinitions"]["parameters"]

    for name in tasks(spec):
        resources = executors(spec)[f"exec-{name}"]["container"]["resources"]
        pod = pods(documents)[f"exec-{name}"]
        kind = "gpu" if stage(spec, name) in TRAINING else "cpu"
        selector = pod["nodeSelector"]["nodeSelectorJson"]
        assert selector == {"componentInputParameter": f"{kind}_node_selector"}
        assert pod["tolerations"] == [
            {"tolerationJson": {"componentInputParameter": f"{kind}_tolerations"}}
        ]
        if kind == "cpu":
            assert "accelerator" not in resources, name
            continue
        count = f"gpus_{stage(spec, name)}"
        given = tasks(spec)[name]["inputs"]["parameters"][f"pipelinechannel--{count}"]
        assert given == {"componentInputParameter": count}
        assert f"pipelinechannel--{count}" in resources["accelerator"]["resourceCount"]
        assert fields[count]["parameterType"] == "STRING"
    types = {name: fields[name]["parameterType"] for name in ("gpu_node_selector", "gpu_type")}
    assert types == {"gpu_node_selector": "STRUCT", "gpu_type": "STRING"}
    assert fields["gpu_tolerations"]["parameterType"] == "LIST"


def test_fields_that_belong_together_stand_together(recipe: Recipe, documents: list[Any]) -> None:
    """The UI sorts them by name, and shows nothing else of them."""
    fields = sorted(documents[0]["root"]["inputDefinitions"]["parameters"])
    blocks = [name.partition("_")[0] for name in fields]

    assert len(set(blocks)) == len(list(groupby(blocks)))
    assert set(recipe.form) == set(fields)


def reached(spec: Any, field: str) -> set[str]:
    """Return the tasks that have a field of the form among their inputs."""
    return {
        name
        for name, task in tasks(spec).items()
        for value in task["inputs"]["parameters"].values()
        if value.get("componentInputParameter") == field
    }


def test_a_form_can_be_surveyed_and_says_what_each_field_does(documents: list[Any]) -> None:
    fields = documents[0]["root"]["inputDefinitions"]["parameters"]

    assert len(fields) <= 33
    for name, field in fields.items():
        assert len(field["description"].split()) >= 3, name
        assert field["isOptional"] and "defaultValue" in field, name


def test_a_choice_is_a_dropdown_where_the_backend_knows_them(compiled_recipe: Compiled) -> None:
    choices = ["title", "title+description", "tags", "all"]

    for backend, literals in (("2.15", None), ("2.16", choices), ("2.17", choices)):
        spec, _ = graph.documents(compiled_recipe("sample", backend))
        field = spec["root"]["inputDefinitions"]["parameters"]["tagging_fields"]
        assert field.get("literals") == literals


def test_a_word_that_is_none_of_a_fields_choices_is_refused(compiled_recipe: Compiled) -> None:
    path = compiled_recipe("sample")

    assert graph.read(path, ["tagging_fields=tags"]).form["tagging_fields"] == "tags"
    with pytest.raises(UserError, match="tagging_fields=titles: did you mean title"):
        graph.read(path, ["tagging_fields=titles"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("finetune_epochs=-3", "finetune_epochs=-3: must be at least 1"),
        ("finetune_learning_rate=NaN", "finetune_learning_rate=nan: must be a finite number"),
        ("dataset=", "dataset='': must be a folder, or s3://bucket/prefix"),
        ("weighting_top_k=0", "weighting_top_k=0: must be at least 1"),
    ],
)
def test_a_value_that_a_stage_would_refuse_is_refused_by_its_fields_name(
    compiled_recipe: Compiled, override: str, message: str
) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        graph.read(compiled_recipe("sample"), [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "training_batch_size=100",
            "lw_pretrain: accumulation_steps=8: must divide batch_size=100",
        ),
        (
            "training_warmup_epochs=500",
            "lw_pretrain: warmup_epochs=500: must be at most epochs=180",
        ),
        ("ingest_image_side=100", "lw_pretrain: image_size=224 is larger than the stored images"),
        ("weighting_similarity=embedding", "weighting: similarity=embedding needs a model"),
        ("ingest_image_side=300", ""),
    ],
)
def test_values_that_do_not_go_together_are_refused(
    tmp_path: Path, override: str, message: str
) -> None:
    fields = "training_batch_size, training_warmup_epochs, ingest_image_side, weighting_similarity"
    with_values(tmp_path, f"form: [{fields}]", "lw")
    tasks = graph.read(tmp_path / "compiled.yaml", [override]).tasks

    with pytest.raises(UserError, match=f"^{message}") if message else nullcontext():
        task_checks.check(tasks)


def test_the_command_takes_settings(tmp_path: Path) -> None:
    output = tmp_path / "smoke.yaml"

    main(["--recipe", "smoke", "--set", "finetune.epochs=7", "--output", str(output)])

    assert graph.read(output, []).form["finetune_epochs"] == 7


def test_the_command_says_what_a_cluster_cannot_reach(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    main(["--recipe", "demo", "--output", str(tmp_path / "demo.yaml")])

    message, images = (each.message for each in caplog.records if each.levelname == "WARNING")
    assert "WEBLY_REGISTRY" in images
    assert "in place of ingest: dataset=runs/demo/data, tagging: tagger=runs/demo/data" in message


def test_a_pod_that_reads_images_has_a_disk_that_its_cache_fits(documents: list[Any]) -> None:
    spec, _ = documents

    for name, pod in pods(documents).items():
        environment = variables(spec, name)
        reads = stage(spec, name.removeprefix("exec-")) in TRAINING | {"ingest"}
        disks = [each for each in pod.get("emptyDirMounts", []) if each["volumeName"] == "disk"]
        assert bool(disks) == ("WEBLY_CACHE" in environment) == reads, name
        assert "genericEphemeralVolume" not in pod  # which Argo would keep, and root would own
        for disk in disks:
            assert environment["WEBLY_CACHE"] == environment["TMPDIR"] == disk["mountPath"]
            size = float(disk["sizeLimit"].removesuffix("Gi")) * 2**30 / 1e9
            assert 0.7 * size < float(environment["WEBLY_CACHE_GIGABYTES"]) < 0.9 * size


def variables(spec: Any, executor: str) -> dict[str, str]:
    """Return what an executor's environment has beside what config map and secret hold."""
    pairs = executors(spec)[executor]["container"]["env"]
    return {pair["name"]: pair["value"] for pair in pairs}


def test_pods_know_their_names_and_images_and_are_found_by_their_stages(
    recipe: Recipe, documents: list[Any]
) -> None:
    spec, _ = documents

    for name, pod in pods(documents).items():
        paths = {pair["name"]: pair["fieldPath"] for pair in pod["fieldPathAsEnv"]}
        assert paths == {"KFP_POD_NAME": "metadata.name", "WEBLY_NODE": "spec.nodeName"}
        image = executors(spec)[name]["container"]["image"]
        assert variables(spec, name)["WEBLY_IMAGE"] == image
        assert pod["podMetadata"]["labels"] == {
            "app.kubernetes.io/name": "webly",
            "app.kubernetes.io/part-of": recipe.name,
            "app.kubernetes.io/component": stage(spec, name.removeprefix("exec-")),
        }


def test_the_time_in_which_pods_are_retried_is_longer_than_all_their_tries(
    documents: list[Any],
) -> None:
    spec, _ = documents

    for name, task in tasks(spec).items():
        policy = task["retryPolicy"]
        tries = policy["maxRetryCount"] + 1
        timeout = int(pods(documents)[f"exec-{name}"]["activeDeadlineSeconds"])
        assert tries > 1
        # Argo reads whole numbers only, and counts from the first try's start.
        assert policy["backoffFactor"] == int(policy["backoffFactor"])
        assert int(policy["backoffMaxDuration"].removesuffix("s")) > tries * timeout


@pytest.mark.parametrize("values", ["{num_nodes: '2'}", "{queue: gpus}", "{}"])
def test_retries_have_time_to_wait_in_a_queue(tmp_path: Path, values: str) -> None:
    spec, _ = with_values(tmp_path, f"finetune: {values}")

    policy = tasks(spec)["finetune-resnet18-none"]["retryPolicy"]

    hours = int(policy["backoffMaxDuration"].removesuffix("s")) / 3600
    assert hours == (3 * (72 + 1) if values == "{}" else 365 * 24)


def with_values(tmp_path: Path, text: str, pretraining: str = "none") -> list[Any]:
    """Return a small recipe with a section, compiled."""
    candidate = f"{{backbone: resnet18, pretraining: [{pretraining}]}}"
    (tmp_path / "small.yaml").write_text(f"name: webly-small\ncandidates: [{candidate}]\n{text}\n")
    compile_recipe(load(str(tmp_path / "small.yaml")), tmp_path / "compiled.yaml")
    return graph.documents(tmp_path / "compiled.yaml")


def test_a_recipe_sets_pods_by_step(tmp_path: Path) -> None:
    values = "{disk: 1.5Ti, disk_class: fast, retries: 0, timeout_hours: 5, queue: gpus}"

    sections = "finetune_large: {gpus: '2', image_size: 256}\nensemble: {}"
    documents = with_values(tmp_path, f"training: {values}\n{sections}")

    for task in ("finetune-resnet18-none", "finetune-large-resnet18-none"):
        pod = pods(documents)[f"exec-{task}"]
        (disk,) = pod["genericEphemeralVolume"]
        assert (disk["size"], disk["storageClassName"]) == ("1.5Ti", "fast")
        assert "retryPolicy" not in tasks(documents[0])[task]
        assert pod["activeDeadlineSeconds"] == "18000"
        assert pod["podMetadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    # Only a constant number of GPUs has to be told by the environment.
    told = {
        name for name in executors(documents[0]) if "WEBLY_GPUS" in variables(documents[0], name)
    }
    assert told == {"exec-finetune-large-resnet18-none"}
    assert "genericEphemeralVolume" not in pods(documents)["exec-ensemble"]


def test_all_disks_may_be_of_the_clusters_default_class(tmp_path: Path) -> None:
    documents = with_values(tmp_path, "pods: {disk_class: default}")

    for name, pod in pods(documents).items():
        disks = pod.get("genericEphemeralVolume", [])
        assert bool(disks) == ("WEBLY_CACHE" in variables(documents[0], name))
        assert all(disk["defaultStorageClass"] for disk in disks)


def test_weighting_takes_a_gpu_where_a_recipe_says_so(tmp_path: Path) -> None:
    name = "exec-weighting"

    for section, count in (
        ("", None),
        ("weighting: {gpus: '0'}", None),
        ("weighting: {gpus: '1'}", "1"),
        ("form: [gpus_weighting]", "pipelinechannel--gpus_weighting"),
    ):
        documents = with_values(tmp_path, section, "lw")
        accelerator = executors(documents[0])[name]["container"]["resources"].get("accelerator")
        if count is None:
            assert accelerator is None
            assert "WEBLY_GPUS" not in variables(documents[0], name)
            assert "emptyDirMounts" not in pods(documents)[name]
        else:
            assert count in accelerator["resourceCount"]
        selector = pods(documents)[name]["nodeSelector"]["nodeSelectorJson"]
        kind = "cpu" if count is None else "gpu"
        assert selector == {"componentInputParameter": f"{kind}_node_selector"}
        if count is not None:  # a form may set both the number and the type
            assert "pipelinechannel--gpu_type" in accelerator["resourceType"]


def test_a_form_may_set_cores_and_memory(tmp_path: Path) -> None:
    spec, _ = with_values(tmp_path, "form: [cpu_training, memory_training]")

    resources = executors(spec)["exec-finetune-resnet18-none"]["container"]["resources"]
    for name, field in (("Cpu", "cpu_training"), ("Memory", "memory_training")):
        assert spec["root"]["inputDefinitions"]["parameters"][field]["parameterType"] == "STRING"
        for kind in ("Request", "Limit"):
            assert f"pipelinechannel--{field}'" in resources[f"resource{name}{kind}"]
    assert graph.read(tmp_path / "compiled.yaml", ["cpu_training=96"])


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("training: {disk: much}", "training: disk='much': must be a size"),
        ("training: {timeout_hours: 0}", "timeout_hours=0"),
        ("ingest: {retries: -1}", "ingest: retries=-1"),
        ("ingest: {memory: lots}", "ingest: memory='lots': must be a size"),
        ("finetune_large: {gpus: two}", "finetune_large: gpus='two': must be a whole number"),
        ("pods: {tolerations: [{name: x}]}", "no key 'name'; there are key, operator"),
        ("gpu_pods: {node_selector: {pool: 1}}", "pool: 1 must be text"),
        ("gpu_pods: {gpu_type: gpu}", "gpu_type='gpu': must be the name of a resource"),
    ],
)
def test_a_value_that_no_pod_can_have_is_named(section: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        with_values(tmp_path, section)


def test_a_rerun_field_reaches_its_stage_alone(documents: list[Any]) -> None:
    spec, _ = documents

    for name in {stage(spec, task) for task in tasks(spec)}:
        assert {stage(spec, task) for task in reached(spec, f"rerun_{name}")} == {name}


def test_stages_and_components_declare_the_same_parameters(documents: list[Any]) -> None:
    spec, _ = documents

    stages = {component.name: component.stage for component in components()}
    for name in tasks(spec):
        parameters = {a.name for a in arguments(stages[stage(spec, name)]) if a.artifact is None}
        component = spec["components"][f"comp-{name}"]
        declared = set(component["inputDefinitions"]["parameters"])
        _, *flags = executors(spec)[component["executorLabel"]]["container"]["args"]
        fixed = {flag for flag, _ in map(parameter, flags)}
        assert declared | fixed == parameters | {"rerun"} and not declared & fixed, name


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
            name: [field["parameterType"], field["defaultValue"], *field.get("literals", [])]
            for name, field in form.items()
        },
        "tasks": {},
        "pods": [],
    }
    for name, task in tasks(spec).items():
        component = spec["components"][task["componentRef"]["name"]]
        container = executors(spec)[component["executorLabel"]]["container"]
        content["tasks"][name] = {
            "image": _masked(container["image"]),
            "command": " ".join([*container["command"], container["args"][0]]),
            "constants": dict(map(parameter, container["args"][1:])),
            "cache": task["cachingOptions"]["enableCache"],
            "inputs": dict(_inputs(task)),
            "outputs": {
                output: definition["artifactType"]["schemaTitle"]
                for output, definition in component["outputDefinitions"]["artifacts"].items()
            },
        }
        environment = variables(spec, component["executorLabel"])
        several = json.loads(environment.pop("WEBLY_NODE_ENV", "{}"))  # of the nodes, if there are
        environment = {name: _masked(value) for name, value in (environment | several).items()}
        assert environment.pop("WEBLY_IMAGE")
        content["tasks"][name]["label"] = task["taskInfo"]["name"]
        assert environment.pop("WEBLY_TASK") == task["taskInfo"]["name"]
        environment.pop("WEBLY_CANDIDATE", None)
        pod = pods(documents)[component["executorLabel"]] | container["resources"]
        metadata = dict(pod["podMetadata"])
        identity = json.loads(metadata.pop("annotations")[graph.IDENTITY])
        content["tasks"][name]["identity"] = identity
        pod |= {"environment": environment, "podMetadata": metadata, "retry": task["retryPolicy"]}
        same = next((entry for entry in content["pods"] if entry["pod"] == pod), None)
        if same is None:
            content["pods"].append({"tasks": [name], "pod": pod})
        else:
            same["tasks"].append(name)
    return yaml.safe_dump(content, width=200)


def _masked(image: str) -> str:
    return re.sub("-[0-9a-f]{7}$", "-*", image)


def _inputs(task: Any) -> Iterator[tuple[str, Any]]:
    for name, source in task["inputs"].get("artifacts", {}).items():
        output = source["taskOutputArtifact"]
        yield name, f"{output['producerTask']}.{output['outputArtifactKey']}"
    for name, source in task["inputs"]["parameters"].items():
        if "componentInputParameter" in source:
            yield name, f"form.{source['componentInputParameter']}"
        else:
            constant = source["runtimeValue"]["constant"]
            yield name, _masked(constant) if isinstance(constant, str) else constant


@pytest.mark.parametrize("name", ["demo", "paper", "sample", "smoke"])
def test_a_compiled_recipe_is_what_was_reviewed(name: str, compiled_recipe: Compiled) -> None:
    documents = graph.documents(compiled_recipe(name))
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("WEBLY_UPDATE_GOLDEN"):
        path.write_text(golden(documents))

    assert golden(documents) == path.read_text(), "WEBLY_UPDATE_GOLDEN=1 writes it anew"


PLACEMENT = """
name: webly-placement
candidates: [{backbone: resnet18, pretraining: [wt, lw]}]
form: [node_selector_pseudo_label, gpu_type_training]
pods: {pull_secret: registry, queue: research, queue_priority: high}
cpu_pods: {node_selector: {pool: cpu}}
gpu_pods: {tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]}
training: {node_selector: {gpu: h200}, gpus: "8"}
lw_pretrain: {num_nodes: "2", disk_class: fast}
finetune: {node_selector: {gpu: a100}, tolerations: []}
pseudo_label: {node_selector: {gpu: l4}, gpu_type: nvidia.com/mig-3g.40gb}
finetune_again: {}
weighting: {gpus: "1"}
"""


def test_stages_run_where_a_recipe_or_its_form_says(tmp_path: Path) -> None:
    """Pretraining on one kind of GPU, labelling on another; one field for all is the default."""
    (tmp_path / "placement.yaml").write_text(PLACEMENT)
    compile_recipe(load(str(tmp_path / "placement.yaml")), tmp_path / "compiled.yaml")
    documents = graph.documents(tmp_path / "compiled.yaml")
    path = GOLDEN / "placement.yaml"
    if os.environ.get("WEBLY_UPDATE_GOLDEN"):
        path.write_text(golden(documents))

    assert golden(documents) == path.read_text(), "WEBLY_UPDATE_GOLDEN=1 writes it anew"
    overrides = ['node_selector_pseudo_label={"gpu": "t4"}', "gpu_type_training=amd.com/gpu"]
    pods = {task.step: task.pod for task in graph.read(tmp_path / "compiled.yaml", overrides).tasks}
    assert {step: pod.node_selector for step, pod in pods.items()} == {
        "ingest": {"pool": "cpu"},
        "tagging": {"pool": "cpu"},
        "weighting": {},  # it has a GPU
        "wt_pretrain": {"gpu": "h200"},
        "lw_pretrain": {"gpu": "h200"},
        "finetune": {"gpu": "a100"},
        "pseudo_label": {"gpu": "t4"},
        "finetune_again": {"gpu": "a100"},
        "compare": {"pool": "cpu"},
    }
    exists = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    tolerant = {step for step, pod in pods.items() if pod.tolerations == exists}
    assert tolerant == {"weighting", "wt_pretrain", "lw_pretrain", "pseudo_label"}
    assert (pods["lw_pretrain"].gpu_type, pods["lw_pretrain"].gpus) == ("amd.com/gpu", 8)
    assert (pods["pseudo_label"].gpu_type, pods["weighting"].gpus) == ("nvidia.com/mig-3g.40gb", 1)
    assert {pod.pull_secret for pod in pods.values()} == {"registry"}
    assert (pods["lw_pretrain"].disk, pods["lw_pretrain"].disk_class) == ("128Gi", "fast")
    assert (pods["finetune"].disk, pods["finetune"].disk_class) == ("128Gi", "")


def test_the_command_compiles_for_an_older_backend_and_without_the_cache(tmp_path: Path) -> None:
    options = ["--backend", "2.15", "--no-cache", "--output", str(tmp_path / "x.yaml")]

    main(["--recipe", "smoke", *options])

    spec, platform = graph.documents(tmp_path / "x.yaml")
    assert spec["pipelineInfo"]["name"] == "webly-smoke"
    assert all(not task["cachingOptions"] for task in tasks(spec).values())
    assert "securityContext" not in str(platform)
    assert not any(task.enable_cache for task in graph.read(tmp_path / "x.yaml", []).tasks)


def test_the_command_refuses_an_unknown_recipe_in_one_line() -> None:
    command = [sys.executable, "-m", "pipelines.compile", "--recipe", "nosuch"]

    ended = subprocess.run(command, capture_output=True, text=True)

    assert ended.returncode == 2
    names = "experiment-photos, mini-webvision, modern, paper, photos, sample, smoke, or give"
    assert names in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_command_warns_of_images_that_no_registry_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    command = ["--recipe", "smoke", "--output", str(tmp_path / "smoke.yaml")]

    main(command)

    assert "webly/text:ingest-" in caplog.text and "names no registry" in caplog.text
    caplog.clear()
    monkeypatch.setenv("WEBLY_REGISTRY", "registry.example.org/team")
    main(command)
    assert "names no registry" not in caplog.text


def test_only_the_pods_that_fetch_weights_know_the_hub(tmp_path: Path) -> None:
    text = "name: own\ninitial_model: {weights: imagenet}\ncandidates: [{backbone: resnet18}]\n"
    (tmp_path / "own.yaml").write_text(text)

    compile_recipe(load(str(tmp_path / "own.yaml")), tmp_path / "compiled.yaml")

    _, platform = graph.documents(tmp_path / "compiled.yaml")
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    given = {
        name: {entry["envVar"] for source in each["secretAsEnv"] for entry in source["keyToEnv"]}
        for name, each in executors.items()
    }
    assert [name for name in given if "HF_TOKEN" in given[name]] == ["exec-initial-model-resnet18"]
