"""Names and sizes that Kubernetes, Linux and etcd take."""

import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.shared.stage.errors import UserError
from pipelines.cluster import limits, submission
from pipelines.compile import compile_recipe, main
from pipelines.recipe import load
from pipelines.run import graph
from tests.pipelines.recipes import LARGEST, RECIPES

pytestmark = pytest.mark.slow

LABEL = re.compile("[a-z]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123, and no digit first
ARGUMENT_BYTES = 128 * 1024  # MAX_ARG_STRLEN
ETCD_BYTES = 1_500_000
# As long as a pipeline root may well be: a bucket's name and a prefix.
ROOT = "s3://" + 63 * "b" + "/" + 100 * "p"
UUID = "12345678-1234-1234-1234-123456789012"


@pytest.fixture(scope="module", params=[*RECIPES, LARGEST])
def path(request: pytest.FixtureRequest, compiled_recipe: Callable[..., Path]) -> Path:
    return compiled_recipe(request.param)


def executor_input(pipeline: graph.Graph, task: graph.Task) -> str:
    """Return what KFP passes to a task, with URIs as its driver makes them."""

    def artifact(owner: str, output: str, type: str) -> dict[str, Any]:
        uri = f"{ROOT}/{pipeline.name}/{UUID}/{owner}/{UUID}/{output}"
        schema = {"schemaTitle": type, "schemaVersion": "0.0.1"}
        # KFP keeps with an artifact how its store is reached.
        metadata = {"display_name": output, "store_session_info": 600 * "s"}
        entry = {"name": UUID, "type": schema, "uri": uri, "metadata": metadata}
        return {"artifacts": [entry]}

    inputs = {
        name: artifact(source.task, source.output, source.type)
        for name, source in task.inputs.items()
    }
    outputs = {name: artifact(task.name, name, type) for name, type in task.outputs.items()}
    return json.dumps(
        {
            "inputs": {"parameterValues": task.parameters, "artifacts": inputs},
            "outputs": {
                "artifacts": outputs,
                "outputFile": "/tmp/kfp_outputs/output_metadata.json",
            },
        }
    )


def documents(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    spec, platform = graph.documents(path)
    return spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def test_names_are_dns_labels(path: Path) -> None:
    spec, pods = documents(path)

    assert LABEL.fullmatch(spec["pipelineInfo"]["name"])
    for name in spec["root"]["dag"]["tasks"]:
        assert LABEL.fullmatch(name), name
    for pod in pods.values():
        volumes = [*pod.get("genericEphemeralVolume", []), *pod.get("emptyDirMounts", [])]
        assert all(LABEL.fullmatch(volume["volumeName"]) for volume in volumes)
        for key, value in pod["podMetadata"]["labels"].items():
            prefix, _, name = key.rpartition("/")
            assert all(LABEL.fullmatch(part) for part in (*prefix.split("."), name)), key
            assert re.fullmatch("[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", value), key


def test_no_argument_is_longer_than_linux_takes(path: Path) -> None:
    pipeline = graph.read(path, [])
    spec, _ = documents(path)

    for task in pipeline.tasks:
        # The launcher gets each of them as one argument, and the stage the first.
        component = json.dumps(spec["components"][f"comp-{task.name}"])
        for argument in (executor_input(pipeline, task), component):
            assert len(argument.encode()) < ARGUMENT_BYTES / 2, task.name


def test_the_root_dag_is_one_that_kubeflow_starts(path: Path) -> None:
    limits.check(path)


def test_more_tasks_than_kubeflow_starts_are_refused_with_their_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the old spelling of constants, 94,230 and 101,326 bytes started, 129,728 did not."""
    output = tmp_path / "noise.yaml"
    compile_recipe(load("ablation-noise-drawn"), tmp_path / "own.yaml")

    with pytest.raises(SystemExit, match="2"):
        main(["--recipe", "ablation-noise-drawn", "--output", str(output)])
    assert "217 tasks take 26" in caplog.text and "here about 98 tasks" in caplog.text
    assert not output.exists()
    with pytest.raises(UserError, match="Kubeflow starts at most"):
        submission.prepare(tmp_path / "own.yaml", [])


def test_more_text_than_kubernetes_keeps_is_refused_with_its_size(tmp_path: Path) -> None:
    compile_recipe(load("smoke"), tmp_path / "smoke.yaml")
    spec, *platforms = graph.documents(tmp_path / "smoke.yaml")
    spec["pipelineInfo"]["description"] = 800_000 * "x"
    (tmp_path / "long.yaml").write_text(json.dumps(spec))

    limits.check(tmp_path / "smoke.yaml")
    with pytest.raises(UserError, match=r"takes 8\d\d,\d{3} bytes, .* keeps at most 750,000"):
        limits.check(tmp_path / "long.yaml")


def test_a_form_that_makes_a_command_too_long_is_refused(tmp_path: Path) -> None:
    compile_recipe(load("smoke"), tmp_path / "smoke.yaml")
    long = [f"{name}={29_000 * 'x'}" for name in ("dataset", "dataset_version", "rerun_ingest")]

    with pytest.raises(UserError, match="dataset='xx.* has 40,000 characters, of at most 30,000"):
        submission.prepare(tmp_path / "smoke.yaml", [f"dataset={40_000 * 'x'}"])
    with pytest.raises(UserError, match="ingest: all parameters together take .* shorten"):
        submission.prepare(tmp_path / "smoke.yaml", long)


def test_a_workflow_fits_etcd(path: Path) -> None:
    """By an estimate: Argo keeps the specification as it is, and packs the nodes."""
    pipeline = graph.read(path, [])
    spec, pods = documents(path)
    # As JSON within the workflow's JSON.
    specification = len(json.dumps(json.dumps([spec, pods])))
    nodes = []
    for task in pipeline.tasks:
        component = spec["components"][f"comp-{task.name}"]
        executor = spec["deploymentSpec"]["executors"][f"exec-{task.name}"]
        given = [component, spec["root"]["dag"]["tasks"][task.name], executor]
        patch = json.dumps([executor_input(pipeline, task), component, executor])
        # The driver's inputs and output, and both nodes that its output goes to.
        nodes.append(json.dumps([json.dumps(given), json.dumps(pods[f"exec-{task.name}"])]))
        nodes += 3 * [json.dumps(patch)]
    packed = len(zlib.compress("".join(nodes).encode())) * 4 // 3  # base64

    assert specification + packed < ETCD_BYTES / 2
