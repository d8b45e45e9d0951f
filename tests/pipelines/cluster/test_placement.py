"""Stages on several nodes, as far as the compiled file says it."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

from components.finetune.component import finetune
from components.shared.stage.container import parameter
from components.shared.stage.errors import UserError
from components.shared.stage.interface import arguments
from pipelines import local
from pipelines.cluster import difference
from pipelines.cluster.difference import Earlier
from pipelines.compile import compile_recipe
from pipelines.engine.cache import Cache
from pipelines.images import LAUNCHER, reference
from pipelines.recipe import load
from pipelines.run import graph
from pipelines.run.graph import Task
from pipelines.steps import STEPS

HEAD = "name: webly-small\ncandidates: [{backbone: resnet18, pretraining: [wt]}]\n"
SEVERAL = """
finetune: {num_nodes: '2', queue: gpus, timeout_hours: 5, disk_class: fast}
finetune_large: {gpus: '8', image_size: 256}
finetune_again: {num_nodes: '1'}
"""
TASK = "finetune-resnet18-wt"


def compiled(folder: Path, text: str = SEVERAL) -> Path:
    """Return a small recipe's file."""
    (folder / "small.yaml").write_text(HEAD + text)
    compile_recipe(load(str(folder / "small.yaml")), folder / "compiled.yaml")
    return folder / "compiled.yaml"


def parts(path: Path, task: str = TASK) -> tuple[Any, Any, Any]:
    """Return a task's component, its container, and what platforms say of its pod."""
    spec, platform = graph.documents(path)
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    container = spec["deploymentSpec"]["executors"][f"exec-{task}"]["container"]
    return spec["components"][f"comp-{task}"], container, pods[f"exec-{task}"]


def variables(container: Any) -> dict[str, str]:
    return {pair["name"]: pair["value"] for pair in container["env"]}


def tasks(path: Path, *argv: str) -> dict[str, Task]:
    return {task.name: task for task in graph.read(path, argv).tasks}


def test_a_stage_on_several_nodes_is_started_by_the_launcher(tmp_path: Path) -> None:
    path = compiled(tmp_path)

    component, container, _ = parts(path)

    assert container["image"] == reference(LAUNCHER)
    assert container["image"].startswith("webly/launcher:trainjob-")
    assert container["command"] == ["python", "-m", "components.trainjob", "components.finetune"]
    executor_input, *flags = container["args"]
    assert executor_input == "{{$}}"
    inputs = component["inputDefinitions"]["parameters"]
    assert inputs["num_nodes"] == inputs["node_image"] == {"parameterType": "STRING"}
    assert inputs["task_config"] == {"parameterType": "TASK_CONFIG", "isOptional": True}
    own = {argument.name for argument in arguments(finetune.stage) if argument.artifact is None}
    given = {name for name, _ in map(parameter, flags)}
    assert given | set(inputs) == own | {"rerun", "num_nodes", "node_image", "task_config"}


def test_all_but_the_environment_and_the_certificates_is_the_nodes_alone(tmp_path: Path) -> None:
    component, _, _ = parts(compiled(tmp_path))

    handed_over = component["taskConfigPassthroughs"]

    assert {each["field"]: each.get("applyToTask", False) for each in handed_over} == {
        "RESOURCES": False,
        "ENV": True,
        "KUBERNETES_AFFINITY": False,
        "KUBERNETES_TOLERATIONS": False,
        "KUBERNETES_NODE_SELECTOR": False,
        "KUBERNETES_VOLUMES": True,
    }


def test_the_file_parses_without_unknown_fields(tmp_path: Path) -> None:
    spec, platform = graph.documents(compiled(tmp_path))

    json_format.ParseDict(spec, PipelineSpec())
    json_format.ParseDict(platform, PlatformSpec())
    for pod in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        json_format.ParseDict(pod, KubernetesExecutorConfig())


def test_what_kfps_driver_hands_over_is_set_on_the_task(tmp_path: Path) -> None:
    _, container, pod = parts(compiled(tmp_path))

    resources = container["resources"]
    assert "pipelinechannel--gpus_finetune" in resources["accelerator"]["resourceCount"]
    assert {"resourceCpuLimit", "resourceMemoryLimit"} <= set(resources)
    assert {"nodeSelector", "tolerations"} <= set(pod)
    assert {pair["name"] for pair in pod["fieldPathAsEnv"]} == {"KFP_POD_NAME", "WEBLY_NODE"}


def test_what_it_does_not_hand_over_is_told_to_the_launcher(tmp_path: Path) -> None:
    _, container, pod = parts(compiled(tmp_path), "finetune-large-resnet18-wt")

    told = variables(container)

    assert set(told) == {
        "WEBLY_RETRIES",  # of the launcher: nodes are replaced by their job
        "WEBLY_NODE_ENV",
        "WEBLY_NODE_VOLUMES",
        "WEBLY_TRAINJOB_HOURS",
        "WEBLY_TRAINJOB_QUEUE",
    }
    environment = json.loads(told["WEBLY_NODE_ENV"])
    assert environment.pop("WEBLY_CACHE_GIGABYTES") == "109.951"
    assert environment == {
        "WEBLY_IMAGE": reference(finetune),
        "WEBLY_TASK": "WT large",
        "WEBLY_CANDIDATE": "resnet18-wt",
        "WEBLY_CACHE": "/mnt/webly",
        "TMPDIR": "/mnt/webly",
        "WEBLY_GPUS": "8",
    }
    assert (told["WEBLY_TRAINJOB_HOURS"], told["WEBLY_TRAINJOB_QUEUE"]) == ("5", "gpus")
    # KFP gives these to the task's pod, whatever is handed over; and its time is not the nodes'.
    assert not {"genericEphemeralVolume", "emptyDirMounts", "activeDeadlineSeconds"} & set(pod)
    assert "kueue.x-k8s.io/queue-name" not in pod["podMetadata"]["labels"]
    keys = {pair["configMapKey"] for each in pod["configMapAsEnv"] for pair in each["keyToEnv"]}
    assert {"WEBLY_TRAINJOB_RUNTIME", "WEBLY_TRAINJOB_RESOURCES"} <= keys


def test_the_nodes_disks_are_a_pods(tmp_path: Path) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    _, container, _ = parts(compiled(tmp_path))

    given = json.loads(variables(container)["WEBLY_NODE_VOLUMES"])

    main = {"name": "node", "image": "webly", "volumeMounts": given["volumeMounts"]}
    pod = {"containers": [main], "volumes": given["volumes"]}
    described = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "node"}, "spec": pod}
    validator.validate(described, "1.33", strict=True)
    disk, memory = given["volumes"]
    claim = disk["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert claim["storageClassName"] == "fast"
    assert claim["resources"] == {"requests": {"storage": "128Gi"}}
    assert memory["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Gi"}
    paths = {mount["name"]: mount["mountPath"] for mount in given["volumeMounts"]}
    assert paths == {"disk": "/mnt/webly", "shm": "/dev/shm"}


def test_later_rounds_inherit_the_nodes_and_may_have_their_own(tmp_path: Path) -> None:
    found = tasks(compiled(tmp_path))

    assert {name: task.num_nodes for name, task in found.items() if task.num_nodes} == {
        TASK: 2,
        "finetune-large-resnet18-wt": 2,
    }
    assert found[TASK].module == "components.finetune"
    assert found["finetune-again-resnet18-wt"].image == reference(finetune)


def test_the_form_may_say_it(tmp_path: Path) -> None:
    path = compiled(tmp_path, "form: [num_nodes_training]\nfinetune: {num_nodes: '1'}\n")
    field = "num_nodes_training"

    definitions = graph.documents(path)[0]["root"]["inputDefinitions"]["parameters"]
    few, many = tasks(path), tasks(path, f"{field}=4")

    assert (definitions[field]["parameterType"], definitions[field]["defaultValue"]) == (
        "STRING",
        "1",
    )
    # Which number it will be is not known: also one node is the launcher's.
    assert (few["wt-pretrain-resnet18"].num_nodes, few[TASK].num_nodes) == (1, 0)
    assert (many["wt-pretrain-resnet18"].num_nodes, many[TASK].num_nodes) == (4, 0)
    with pytest.raises(UserError, match="num_nodes_training='two': must be a positive integer"):
        tasks(path, f"{field}=two")


@pytest.mark.parametrize("number", ["'0'", "x", "'1.5'", "'-2'", "''", "'02'"])
def test_a_number_that_is_none_is_refused(number: str, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"line 3: training: num_nodes=.*must be a positive integer"
    ):
        compiled(tmp_path, f"training: {{num_nodes: {number}}}\n")


def test_stages_that_train_and_label_can_run_on_several_nodes() -> None:
    several = {step for step in STEPS if "num_nodes" in STEPS[step].arguments()}

    training = {name for name, step in STEPS.items() if step.trains}
    assert several == training | {"training", "pseudo_label"}


def test_the_cache_key_has_the_nodes_and_their_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = compiled(tmp_path, "form: [num_nodes_finetune]\n")

    def key(*argv: str) -> str:
        return Cache(tmp_path).key(tasks(path, *argv)[TASK], {})

    two, four = key("num_nodes_finetune=2"), key("num_nodes_finetune=4")
    monkeypatch.setenv("WEBLY_IMAGE_FINETUNE", "webly/train:another")
    compiled(tmp_path, "form: [num_nodes_finetune]\n")
    other = key("num_nodes_finetune=2")

    assert len({two, four, other}) == 3


def test_where_nodes_run_and_their_disks_reach_no_key(tmp_path: Path) -> None:
    path = compiled(tmp_path)
    before = Cache(tmp_path).key(tasks(path)[TASK], {})

    text = SEVERAL.replace("queue: gpus", "queue: other, disk: 1Ti").replace("hours: 5", "hours: 9")
    after = Cache(tmp_path).key(tasks(compiled(tmp_path, text))[TASK], {})

    assert after == before


def test_a_changed_stage_is_what_a_difference_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = f"registry.example.org/{'long' * 20}"
    monkeypatch.setenv("WEBLY_IMAGE_FINETUNE", f"{registry}/train:finetune-1111111")
    before = graph.read(compiled(tmp_path), [])
    monkeypatch.setenv("WEBLY_IMAGE_FINETUNE", f"{registry}/train:finetune-2222222")
    after = graph.read(compiled(tmp_path, SEVERAL.replace("'2'", "'4'")), [])

    made = frozenset(task.name for task in before.tasks)
    verdicts = difference.compare(after, [Earlier("run 1", before, made)])

    (reasons,) = (each.reasons for each in verdicts if each.task == TASK)
    assert reasons == ("image finetune-1111111→finetune-2222222", 'num_nodes "2"→"4"')


def test_a_machine_is_one_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "small.yaml").write_text(f"{HEAD}form: [num_nodes_pseudo_label]\n{SEVERAL}")
    run = tmp_path / "run"
    argv = ["--recipe", str(tmp_path / "small.yaml"), "--run", str(run), "dataset=nowhere"]
    caplog.set_level(logging.INFO)

    with pytest.raises(SystemExit):  # compiled, then stopped: no data set
        local.main([*argv, "num_nodes_pseudo_label=3"])

    assert "ignoring num_nodes: this machine is one node" in caplog.messages
    assert not any(task.num_nodes for task in tasks(run / "pipeline.yaml").values())
    assert "components.trainjob" not in (run / "pipeline.yaml").read_text()


def test_a_recipe_for_one_node_compiles_as_without_saying_so(tmp_path: Path) -> None:
    plain = compiled(tmp_path, "training: {gpus: '2'}\n").read_text()

    said = compiled(tmp_path, "training: {gpus: '2', num_nodes: '1'}\n").read_text()

    assert said == plain
