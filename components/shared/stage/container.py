"""A stage as a KFP container component, seen from both sides.

`Component` makes the component when a pipeline is compiled; `run` is called in its container. The
first argument is `{{$}}`, KFP's ExecutorInput as JSON: inputs, parameters and output paths in one
string. A stage that reads it itself needs none of KFP's other placeholders, can take lists of
artifacts, can do without an optional artifact, and can describe its artifacts to the UI.

Parameters that the form does not set follow as `--name=value`. To KFP's cache they are as good as
its own parameters; but these it would all write into one argument of Argo's, the root DAG, which
Linux limits to 128 KiB: fifty tasks would not start.
"""

import inspect
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Optional

from components.shared.stage import machine, metadata
from components.shared.stage.fingerprint import fingerprint
from components.shared.stage.interface import Argument, Stage, Value, arguments, call

if TYPE_CHECKING:
    from kfp import dsl

# Starts nodes and follows them, in an image of its own.
LAUNCHER_MODULE = "components.trainjob"
# How the launcher mounts object stores into the container.
_MOUNTS = {"gs": "/gcs/", "s3": "/s3/", "minio": "/minio/", "oci": "/oci/"}


def flag(name: str, value: Value) -> str:
    """Return the argument that gives a stage's container a parameter's value."""
    return f"--{name}={json.dumps(value) if isinstance(value, bool) else value}"


def request(argv: Sequence[str]) -> dict[str, Any]:
    """Return the ExecutorInput of a stage's container, with the values of flags among its own."""
    executor_input, *flags = argv
    content: dict[str, Any] = json.loads(executor_input)
    values = content.setdefault("inputs", {}).setdefault("parameterValues", {})
    values.update(parameter(each) for each in flags)
    return content


def parameter(flag: str) -> tuple[str, str]:
    """Return the name and the text of a `--name=value`."""
    name, _, text = flag.removeprefix("--").partition("=")
    return name, text


def run(stage: Stage, request: Mapping[str, Any]) -> None:
    """Call a stage with the arguments of an ExecutorInput, then write the executor's output file.

    Unknown parameters and artifacts, which launchers inject, are ignored.
    """
    inputs, outputs = request.get("inputs", {}), request["outputs"]
    values = inputs.get("parameterValues", {})
    given = inputs.get("artifacts", {})
    made = outputs.get("artifacts", {})
    if "RANK" not in os.environ:  # else this is one of several processes, and the first has done it
        machine.look(values)
    arguments_by_name: dict[str, object] = {}
    for argument in arguments(stage):
        name = argument.name
        if argument.artifact is None:
            if name in values:
                arguments_by_name[name] = values[name]
        elif argument.artifact.many:
            arguments_by_name[name] = [artifact_path(given[key]) for key in _numbered(name, given)]
        elif argument.artifact.output:
            arguments_by_name[name] = artifact_path(made[name])
            artifact_path(made[name]).parent.mkdir(parents=True, exist_ok=True)
        elif name in given:
            arguments_by_name[name] = artifact_path(given[name])
    call(stage, arguments_by_name)
    if os.environ.get("RANK", "0") == "0":  # of several processes the first has made the outputs
        _write_output(stage, outputs)


def artifact_path(artifacts: Mapping[str, Any]) -> Path:
    """Return the path of an ExecutorInput's artifact in this container."""
    (artifact,) = artifacts["artifacts"]
    if artifact.get("customPath"):
        return Path(artifact["customPath"])
    scheme, separator, rest = str(artifact["uri"]).partition("://")
    if separator and scheme in _MOUNTS:
        return Path(_MOUNTS[scheme] + rest)
    return Path(artifact["uri"])


def _numbered(name: str, given: Mapping[str, Any]) -> list[str]:
    """Return the keys `name_0`, `name_1`, … by number: as text, `name_10` sorts before `name_2`."""
    keys = [key for key in given if re.fullmatch(rf"{name}_\d+", key)]
    return sorted(keys, key=lambda key: int(key.rpartition("_")[2]))


def _write_output(stage: Stage, outputs: Mapping[str, Any]) -> None:
    written = {}
    for argument in arguments(stage):
        if argument.artifact is None or not argument.artifact.output:
            continue
        (artifact,) = outputs["artifacts"][argument.name]["artifacts"]
        shown = (artifact.get("metadata") or {}) | _shown(argument, artifact)
        entry = {"name": artifact.get("name", ""), "uri": artifact["uri"], "metadata": shown}
        written[argument.name] = {"artifacts": [entry]}
    path = Path(outputs["outputFile"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"artifacts": written}))


def _shown(argument: Argument, artifact: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the UI shows of an artifact that a stage has made."""
    assert argument.artifact is not None
    path = artifact_path({"artifacts": [artifact]})
    shown: dict[str, Any] = dict(metadata.read(path))
    if argument.artifact.type in ("Metrics", "ClassificationMetrics"):
        shown |= json.loads(path.read_text())
    if argument.artifact.type == "Model":
        shown |= {"candidate": os.environ.get("WEBLY_CANDIDATE", ""), "location": artifact["uri"]}
    if task := os.environ.get("WEBLY_TASK"):  # else all of them have the same few names
        shown["display_name"] = f"{task} · {argument.name}"
    return shown


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes that run a stage; the task's own pod starts and follows them.

    Attributes:
        number: How many; a string, or a pipeline parameter.
        launcher: The full image reference of that pod.
    """

    number: object
    launcher: str


@dataclass(frozen=True, slots=True)
class Component:
    """A stage and the image that serves it.

    Attributes:
        stage: The stage's function; its name is the name of its folder.
        target: The Dockerfile's target: `text` (no torch) or `train`.
    """

    stage: Stage
    target: Literal["text", "train"]

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.stage.__name__

    @property
    def module(self) -> str:
        """The module that runs the stage as a command: the package that `stage.py` is in."""
        return self.stage.__module__.removesuffix(".stage")

    @property
    def fingerprint(self) -> str:
        """The identity of the stage's code and of its image's packages."""
        return fingerprint(self.stage.__module__, self.target)

    def task(
        self,
        name: str,
        *,
        image: str,
        rerun: object,
        nodes: Nodes | None = None,
        **given: object,
    ) -> "dsl.PipelineTask":
        """Add a task that runs this stage to the pipeline being compiled.

        Each task gets a component of its own: its name is what KFP's graph, executors and output
        folders show.

        Args:
            name: The task's name, such as `finetune_resnest101e_wt`.
            image: The full image reference.
            rerun: A string whose only purpose is to be in the cache key.
            nodes: The nodes that run the stage; None if the task's own pod does.
            **given: The stage's inputs and all its parameters; a list of models as a list.

        Raises:
            TypeError: An argument is unknown or a parameter is missing: KFP would fail, or use a
                default that is not in its cache key.
        """
        from kfp import dsl  # kfp is not in the images

        signature, passed, flags = self._interface(name, given, dsl)
        passed["rerun"] = rerun
        own: dict[str, object] = {"rerun": str}
        command = ["python", "-m", self.module]
        if nodes is not None:
            passed |= {"num_nodes": nodes.number, "node_image": image}
            # KFP's driver fills in the last, from the task's settings.
            own |= {"num_nodes": str, "node_image": str, "task_config": dsl.TaskConfig}
            image, command = nodes.launcher, ["python", "-m", LAUNCHER_MODULE, self.module]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        signature += [inspect.Parameter(each, kind, annotation=own[each]) for each in own]

        def component(*_: object) -> Any:
            return dsl.ContainerSpec(image=image, command=command, args=["{{$}}", *flags])

        component.__name__ = name.replace("-", "_")
        component.__doc__ = inspect.getdoc(self.stage)
        component.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            sorted(signature, key=lambda parameter: parameter.default is not parameter.empty)
        )
        make = dsl.container_component(component)
        if nodes is not None:
            make.component_spec.task_config_passthroughs = _passthroughs(dsl)
        task: dsl.PipelineTask = make(**passed)
        return task

    def _interface(
        self, name: str, given: dict[str, object], dsl: Any
    ) -> tuple[list[inspect.Parameter], dict[str, object], list[str]]:
        """Return a component's parameters for these arguments, their values, and its flags."""
        signature, passed, flags = [], {}, []
        for argument in arguments(self.stage):
            output = argument.artifact is not None and argument.artifact.output
            if argument.name not in given and not output and not argument.optional:
                raise TypeError(f"{name}: {argument.name} is missing")
            value = given.pop(argument.name, None)
            if argument.artifact is not None and argument.artifact.many:
                assert isinstance(value, Sequence)
                for i, model in enumerate(value):
                    signature.append(_parameter(f"{argument.name}_{i}", argument, dsl))
                    passed[f"{argument.name}_{i}"] = model
            elif isinstance(value, Value):
                flags.append(flag(argument.name, value))
            else:
                signature.append(_parameter(argument.name, argument, dsl))
                if value is not None:
                    passed[argument.name] = value
        if given:
            raise TypeError(f"{name}: the stage {self.name} has no {', '.join(given)}")
        return signature, passed, flags


def component(stage: str) -> Component:
    """Return a stage's component, as its folder declares it."""
    found: Component = getattr(import_module(f"components.{stage}.component"), stage)
    return found


def parameters_of(module: str) -> list[Argument]:
    """Return the parameters of the stage that a module runs; none if there is no such stage."""
    try:
        stage = component(module.rpartition(".")[2]).stage
    except (ImportError, AttributeError):
        return []
    return [argument for argument in arguments(stage) if argument.artifact is None]


def _passthroughs(dsl: Any) -> list[Any]:
    """Return how a task's settings are passed on: all to its nodes, some to its pod as well."""
    fields = dsl.TaskConfigField
    shared = (fields.ENV, fields.KUBERNETES_VOLUMES)  # the launcher speaks to S3, too
    return [dsl.TaskConfigPassthrough(field, apply_to_task=field in shared) for field in fields]


def _parameter(name: str, argument: Argument, dsl: Any) -> inspect.Parameter:
    annotation: Any = argument.type
    if argument.artifact is not None:
        wrap = dsl.Output if argument.artifact.output else dsl.Input
        annotation = wrap[getattr(dsl, argument.artifact.type)]
        if argument.optional:
            annotation = Optional[annotation]  # noqa: UP045 (kfp does not know `X | None`)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    if argument.optional:
        return inspect.Parameter(name, kind, annotation=annotation, default=None)
    return inspect.Parameter(name, kind, annotation=annotation)
