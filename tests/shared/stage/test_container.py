import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from kfp import compiler, dsl

from components.shared.stage import cli, container, metadata
from components.shared.stage.container import Component
from components.shared.stage.errors import UserError
from components.shared.stage.interface import (
    InputDataset,
    InputModel,
    InputModels,
    OutputDataset,
    OutputHTML,
    OutputMetrics,
    OutputModel,
    Range,
)
from pipelines.images import ROOT, components


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A shape.

    Attributes:
        width: In pixels.
        scale: Of the width.
    """

    width: int = 3
    scale: float = 1.0


def mix(
    texts: InputDataset,
    models: InputModels,
    mixture: OutputDataset,
    report: OutputHTML,
    metrics: OutputMetrics,
    extra: InputModel | None = None,
    *,
    shape: Shape,
    steps: Annotated[int, Range(at_least=0)] = 10,
    mode: Literal["fast", "fine"] = "fast",
    note: str = "none",
    strict: bool = False,
) -> None:
    """Write down what it was given.

    Args:
        texts: A file.
        models: Files.
        mixture: All that was given.
        report: A page.
        metrics: A number.
        extra: A file.
        shape: A shape.
        steps: A number.
        mode: A choice.
        note: A text.
        strict: Yes or no.
    """
    inputs = [texts.read_text(), [model.read_text() for model in models]]
    parameters = [shape.width, shape.scale, steps, mode, note, strict]
    content = [*inputs, extra.read_text() if extra else None, *parameters]
    mixture.mkdir()
    (mixture / "given.json").write_text(json.dumps(content))
    metadata.write(mixture, {"share": 1 / 3, "mode": mode})
    report.write_text("<p>page</p>")
    metrics.write_text(json.dumps({"steps": steps}))


COMPONENT = Component(mix, target="text")
PARAMETERS: dict[str, Any] = {
    "width": 7,
    "scale": 0.1,
    "steps": 20,
    "mode": "fine",
    "note": 'a "b" {c}',
    "strict": True,
}
FIELDS = ("width", "scale", "strict")  # which the form of the pipeline below sets
# What the stage writes of these, with eleven models and without the optional input.
WRITTEN = ["words", [f"model {i}" for i in range(11)], None, *PARAMETERS.values()]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def bucket(scheme: str, folder: Path) -> Path:
    """Return where a bucket is mounted."""
    return Path(container._MOUNTS[scheme] if scheme else folder) / "bucket"


def artifact(name: str, type: str, uri: str) -> dict[str, Any]:
    entry = {"name": name, "type": {"schemaTitle": type}, "uri": uri, "metadata": {}}
    return {"artifacts": [entry]}


def executor_input(scheme: str, folder: Path) -> dict[str, Any]:
    """Return what a launcher writes, with the artifacts in a bucket, or in a local folder."""
    root = f"{scheme}://bucket" if scheme else str(folder / "bucket")

    def given(name: str, text: str) -> dict[str, Any]:
        write(bucket(scheme, folder) / name, text)
        return artifact(name, "system.Dataset", f"{root}/{name}")

    def made(name: str, type: str) -> dict[str, Any]:
        return artifact(name, type, f"{root}/{name}")

    models = {f"models_{i}": given(f"model-{i}", f"model {i}") for i in range(11)}
    return {
        "inputs": {
            # Protobuf writes whole numbers of a double as numbers without a point, and
            # launchers add parameters and artifacts of their own.
            "parameterValues": {
                **PARAMETERS,
                "rerun": "again",
                "base_image": "python",
                "accelerator_count": "2",
                "pipelinechannel--mix_gpus": "2",
            },
            # The IR sorts by name: models_10 before models_2.
            "artifacts": dict(sorted({"texts": given("texts", "words"), **models}.items())),
        },
        "outputs": {
            "artifacts": {
                "mixture": made("mixture", "system.Dataset"),
                "report": made("report", "system.HTML"),
                "metrics": made("metrics", "system.Metrics"),
                "executor-logs": made("executor-logs", "system.Artifact"),
            },
            "outputFile": str(folder / "out" / "executor_output.json"),
        },
    }


@pytest.fixture(autouse=True)
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Object stores are mounted here, not below the root of this machine."""
    for scheme, mount in container._MOUNTS.items():
        monkeypatch.setitem(container._MOUNTS, scheme, f"{tmp_path}{mount}")


@pytest.mark.parametrize("scheme", ["", "s3", "minio", "gs", "oci"])
def test_a_stage_means_the_same_as_function_command_and_component(
    tmp_path: Path, scheme: str
) -> None:
    texts = write(tmp_path / "given" / "texts", "words")
    models = [write(tmp_path / "given" / f"{i}", f"model {i}") for i in range(11)]

    def outputs(name: str) -> dict[str, Path]:
        (tmp_path / name).mkdir()
        return {output: tmp_path / name / output for output in ("mixture", "report", "metrics")}

    shape = Shape(width=PARAMETERS["width"], scale=PARAMETERS["scale"])
    rest = {name: value for name, value in PARAMETERS.items() if name not in ("width", "scale")}
    mix(texts, models, **outputs("function"), shape=shape, **rest)

    argv = [f"--texts={texts}", "--models", *map(str, models)]
    argv += [f"--{name}={path}" for name, path in outputs("command").items()]
    cli.main(mix, [*argv, *(f"--{name}={value}" for name, value in PARAMETERS.items())])

    folder = tmp_path / "component"
    cli.main(mix, [json.dumps(executor_input(scheme, folder))])

    for outputs in (tmp_path / "function", tmp_path / "command", bucket(scheme, folder)):
        assert json.loads((outputs / "mixture" / "given.json").read_text()) == WRITTEN
        assert (outputs / "report").read_text() == "<p>page</p>"
        assert json.loads((outputs / "metrics").read_text()) == {"steps": 20}


def test_the_executor_output_tells_the_ui_the_metrics(tmp_path: Path) -> None:
    request = executor_input("s3", tmp_path)

    container.run(mix, request)

    written = json.loads((tmp_path / "out" / "executor_output.json").read_text())["artifacts"]
    (metrics,) = written["metrics"]["artifacts"]
    assert metrics == {"name": "metrics", "uri": "s3://bucket/metrics", "metadata": {"steps": 20}}
    (mixture,) = written["mixture"]["artifacts"]
    assert mixture["metadata"] == {"share": 0.3333, "mode": "fine"}
    assert set(written) == {"mixture", "report", "metrics"}


def test_artifacts_are_named_after_their_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_TASK", "WT again")

    container.run(mix, executor_input("", tmp_path))

    written = json.loads((tmp_path / "out" / "executor_output.json").read_text())["artifacts"]
    names = {each["artifacts"][0]["metadata"]["display_name"] for each in written.values()}
    assert names == {"WT again · mixture", "WT again · report", "WT again · metrics"}


@pytest.mark.parametrize("rank", ["0", "1"])
def test_of_several_processes_only_the_first_writes_the_executor_output(
    rank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", rank)
    container.run(mix, executor_input("", tmp_path))
    assert (tmp_path / "out" / "executor_output.json").exists() == (rank == "0")


def test_an_optional_input_that_is_given_arrives(tmp_path: Path) -> None:
    request = executor_input("", tmp_path)
    extra = write(tmp_path / "elsewhere", "more")
    request["inputs"]["artifacts"]["extra"] = artifact("extra", "system.Model", str(extra))

    container.run(mix, request)

    content = json.loads((tmp_path / "bucket" / "mixture" / "given.json").read_text())
    assert content[2] == "more"


def test_a_parameter_out_of_its_range_is_refused(tmp_path: Path) -> None:
    request = executor_input("", tmp_path)
    request["inputs"]["parameterValues"]["steps"] = -1.0

    with pytest.raises(UserError, match="steps=-1: must be at least 0"):
        container.run(mix, request)


def test_a_custom_path_goes_before_the_uri(tmp_path: Path) -> None:
    request = executor_input("", tmp_path)
    (texts,) = request["inputs"]["artifacts"]["texts"]["artifacts"]
    texts |= {"uri": "s3://bucket/nowhere", "customPath": str(write(tmp_path / "x", "custom"))}

    container.run(mix, request)

    content = json.loads((tmp_path / "bucket" / "mixture" / "given.json").read_text())
    assert content[0] == "custom"


def compiled(path: Path, **given: Any) -> dict[str, Any]:
    """Compile a pipeline of two sources and a mix."""

    @dsl.container_component
    def source(texts: dsl.Output[dsl.Dataset], model: dsl.Output[dsl.Model]):
        return dsl.ContainerSpec(image="source", command=["true"], args=[texts.path, model.path])

    @dsl.pipeline(name="mixing")
    def mixing(width: int = 7, scale: float = 0.1, strict: bool = True) -> None:
        form = {"width": width, "scale": scale, "strict": strict}
        made = source()
        models = [made.outputs["model"]] * 11
        inputs = {"texts": made.outputs["texts"], "models": models}
        COMPONENT.task("mix-large", **{"image": "mix:1", "rerun": "", **inputs, **given, **form})

    compiler.Compiler().compile(mixing, str(path))
    return dict(yaml.safe_load(path.read_text()))


def test_a_component_declares_what_the_stages_signature_says(tmp_path: Path) -> None:
    spec = compiled(tmp_path / "p.yaml", **PARAMETERS)

    component = spec["components"]["comp-mix-large"]
    inputs, outputs = component["inputDefinitions"], component["outputDefinitions"]
    assert {name: value["parameterType"] for name, value in inputs["parameters"].items()} == {
        "width": "NUMBER_INTEGER",
        "scale": "NUMBER_DOUBLE",
        "strict": "BOOLEAN",
        "rerun": "STRING",
    }
    assert set(inputs["artifacts"]) == {"texts", "extra", *(f"models_{i}" for i in range(11))}
    assert inputs["artifacts"]["extra"]["isOptional"]
    assert set(outputs["artifacts"]) == {"mixture", "report", "metrics"}
    (executor,) = (
        value for name, value in spec["deploymentSpec"]["executors"].items() if "mix" in name
    )
    command = ["python", "-m", mix.__module__]
    arguments = ["{{$}}", "--steps=20", "--mode=fine", '--note=a "b" {c}']
    assert executor["container"] == {"image": "mix:1", "command": command, "args": arguments}


def test_a_task_passes_what_the_form_sets_and_no_absent_input(tmp_path: Path) -> None:
    spec = compiled(tmp_path / "p.yaml", **PARAMETERS)

    inputs = spec["root"]["dag"]["tasks"]["mix-large"]["inputs"]
    fields = {
        name: each.get("componentInputParameter") for name, each in inputs["parameters"].items()
    }
    assert fields == {name: name for name in FIELDS} | {"rerun": None}
    assert "extra" not in inputs["artifacts"]


def test_values_that_follow_the_executor_input_are_parameters(tmp_path: Path) -> None:
    request = executor_input("", tmp_path)
    values = request["inputs"]["parameterValues"]
    flags = [container.flag(name, values.pop(name)) for name in PARAMETERS if name not in FIELDS]

    cli.main(mix, [json.dumps(request), *flags])

    content = json.loads((tmp_path / "bucket" / "mixture" / "given.json").read_text())
    assert content == WRITTEN


def test_a_task_with_a_missing_or_unknown_parameter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="mix-large: mode is missing"):
        compiled(tmp_path / "p.yaml", steps=1)
    with pytest.raises(TypeError, match="the stage mix has no step"):
        compiled(tmp_path / "p.yaml", **PARAMETERS, step=1)


@pytest.mark.parametrize("stage", [component.name for component in components()])
def test_help_of_a_stage_imports_nothing_heavy_and_no_kfp(stage: str) -> None:
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['x', '--help']\n"
        "try:\n"
        f"    runpy.run_module('components.{stage}', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "heavy = {'kfp', 'torch', 'timm', 'nltk', 'pyarrow', 'scipy', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert ended.returncode == 0, ended.stderr
    assert f"usage: python -m components.{stage} " in ended.stdout


def test_object_stores_are_read_where_the_launcher_mounts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()

    paths = [
        str(container.artifact_path(artifact("x", "system.Dataset", f"{scheme}://bucket/key")))
        for scheme in ("s3", "minio", "gs", "oci")
    ]

    assert paths == ["/s3/bucket/key", "/minio/bucket/key", "/gcs/bucket/key", "/oci/bucket/key"]


def test_a_model_says_whose_it_is_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(model: OutputModel) -> None:
        """Make a model.

        Args:
            model: It.
        """
        model.mkdir()
        metadata.write(model, {"top1_percent": 200 / 3})

    monkeypatch.setenv("WEBLY_CANDIDATE", "resnet18-wt")
    made = artifact("model", "system.Model", "s3://bucket/model")
    output = tmp_path / "output.json"

    container.run(make, {"outputs": {"artifacts": {"model": made}, "outputFile": str(output)}})

    (model,) = json.loads(output.read_text())["artifacts"]["model"]["artifacts"]
    assert model["metadata"] == {
        "top1_percent": 66.67,
        "candidate": "resnet18-wt",
        "location": "s3://bucket/model",
    }
