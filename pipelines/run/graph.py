"""A compiled pipeline as a list of tasks to run.

It must be as our compiler writes it: container tasks with constants, pipeline parameters and other
tasks' artifacts as inputs. Anything else is refused by name: half-understood control flow would run
the wrong tasks.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

from components.shared.reports.titles import Name
from components.shared.stage.container import LAUNCHER_MODULE, parameter, parameters_of
from components.shared.stage.errors import Mistakes, UserError, shortened, shown
from components.shared.stage.machine import OWN_INPUT
from components.shared.stage.suggestions import meant
from components.shared.storage import formats
from components.trainjob.job import number_of_nodes
from pipelines.run import pods
from pipelines.run.pods import Pod
from pipelines.steps import form_fields, renamed

# Constants that describe a pod to itself, of no interest to readers of a pipeline.
ENVIRONMENT = frozenset(
    (
        *("WEBLY_IMAGE", "WEBLY_TASK", "WEBLY_CANDIDATE", "WEBLY_RETRIES", "WEBLY_GPUS"),
        *("WEBLY_CACHE", "WEBLY_CACHE_GIGABYTES", "TMPDIR"),
        *("WEBLY_NODE_ENV", "WEBLY_NODE_VOLUMES", "WEBLY_TRAINJOB_HOURS"),
        *("WEBLY_TRAINJOB_QUEUE", "WEBLY_TRAINJOB_PRIORITY", "WEBLY_TRAINJOB_PULL"),
    )
)
_LARGEST = 2**53  # to KFP's API each number is a double
# The annotation of a task's pod that says step and candidate, as JSON. KFP has no field for them.
IDENTITY = "webly/task"
REMEDY = "compile it again"  # what to do about a file that is no compiled pipeline


@dataclass(frozen=True, slots=True)
class Source:
    """An output of another task, of KFP's type `type`."""

    task: str
    output: str
    type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One task of a compiled pipeline.

    Attributes:
        name: Its key in the graph.
        label: Its display name there.
        step: Its step; in a pipeline without steps, its name.
        candidate: The candidate that it is for.
        module: The stage's module.
        image: The container's image.
        command: The container's command and the first of its arguments, as written.
        flags: The parameters that follow there; to KFP's cache they are part of the command.
        parameters: All parameters of the task, resolved.
        inputs: The artifacts that it reads.
        outputs: The type of each artifact that it makes.
        dependencies: The tasks that come before it.
        enable_cache: Whether outputs of an earlier run may be taken.
        num_nodes: The number of nodes that the stage runs on; 0 if in the task's own pod.
        pod: What its pod asks for.
    """

    name: str
    label: str
    step: str
    candidate: Name
    module: str
    image: str
    command: tuple[str, ...]
    flags: frozenset[str] = frozenset()
    parameters: Mapping[str, Any]
    inputs: Mapping[str, Source]
    outputs: Mapping[str, str]
    dependencies: tuple[str, ...]
    enable_cache: bool
    num_nodes: int = 0
    pod: Pod = Pod()

    @property
    def processes(self) -> int:
        """How many processes it trains in: one per GPU, or one without."""
        return max(1, self.pod.gpus) * max(1, self.num_nodes)

    @property
    def stage(self) -> str:
        """The stage's name."""
        return self.module.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Graph:
    """A compiled pipeline with the values of its form.

    Attributes:
        name: The pipeline's name.
        description: What it is for.
        form: The form's values.
        tasks: The tasks, each after those that it depends on.
    """

    name: str
    description: str
    form: Mapping[str, Any]
    tasks: tuple[Task, ...]

    @property
    def images(self) -> list[str]:
        """The images of its tasks, and of the nodes that these start."""
        nodes = [task.parameters["node_image"] for task in self.tasks if task.num_nodes]
        return list(dict.fromkeys([*(task.image for task in self.tasks), *nodes]))


def read(path: Path, overrides: Sequence[str]) -> Graph:
    """Read a compiled pipeline.

    Args:
        path: A YAML file that KFP's compiler wrote.
        overrides: Pipeline parameters that the user sets, as `name=value`.

    Raises:
        UserError: An override is invalid, the pipeline is not static, or this is none.
    """
    with formats.guarded(path, REMEDY):
        spec, configs = _checked(documents(path))
        return _graph(spec, configs, dict(_given(_fields(spec), overrides)))


def named(pipeline: Graph, name: str, option: str) -> set[str]:
    """Return the tasks that a name of a task, step or stage refers to.

    Raises:
        UserError: There are none; the message begins with the option that names them.
    """
    names: dict[str, set[str]] = {}
    for task in pipeline.tasks:
        for known in {task.name, task.step, task.stage}:
            names.setdefault(known, set()).add(task.name)
    for known in (name, name.replace("-", "_")):
        if known in names:
            return names[known]
    hint = meant(name, sorted(names))
    raise UserError(f"{option} {shortened(name)}: no such stage, step or task; {hint}")


def documents(path: Path) -> list[dict[str, Any]]:
    """Return the documents of a compiled file: the pipeline, and what platforms add to it.

    Raises:
        UserError: It is none.
    """
    # Much faster than Python's own, which takes a second for the largest recipes.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with formats.guarded(path, REMEDY):
        return list(yaml.load_all(path.read_text(), Loader=loader))


def canonical(value: Any) -> str:
    """Return a value as JSON; equal texts are equal values to KFP, and others are not.

    Protobuf knows one kind of number: its Python writes 5.0 into files where KFP's API answers 5.
    To Python these are equal, but so are 1 and True.
    """
    return json.dumps(_without_points(value), sort_keys=True, ensure_ascii=False)


def _without_points(value: Any) -> Any:
    match value:
        case Mapping():
            return {name: _without_points(each) for name, each in value.items()}
        case list() | tuple():
            return [_without_points(each) for each in value]
        case float() if value.is_integer():
            return int(value)
    return value


def from_documents(content: Sequence[Mapping[str, Any]], values: Mapping[str, Any]) -> Graph:
    """Read a compiled pipeline as a run of KFP's holds it.

    Args:
        content: The documents of its file.
        values: Values of the form.

    Raises:
        UserError: The pipeline is not static.
    """
    return _graph(*_checked(content), values)


def _graph(spec: Mapping[str, Any], configs: Mapping[str, Any], given: Mapping[str, Any]) -> Graph:
    form = _form(_fields(spec), given)
    tasks = [_task(name, spec, configs, form) for name in spec["root"]["dag"]["tasks"]]
    info = spec["pipelineInfo"]
    return Graph(info["name"], info.get("description", ""), form, tuple(_in_order(tasks)))


def _fields(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return fields


def _checked(content: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the pipeline's document and its pods' configurations, refusing unknown fields."""
    spec, *platforms = content
    configs: dict[str, Any] = {}
    json_format.ParseDict(spec, PipelineSpec())
    for platform in platforms:
        json_format.ParseDict(platform, PlatformSpec())
        deployment = platform["platforms"]["kubernetes"]["deploymentSpec"]
        for executor in deployment["executors"].values():
            json_format.ParseDict(executor, KubernetesExecutorConfig())
        configs |= deployment["executors"]
    return spec, configs


def _given(fields: Mapping[str, Any], overrides: Sequence[str]) -> Iterator[tuple[str, Any]]:
    mistakes = Mistakes()
    for override in overrides:
        with mistakes.collected():
            yield _override(fields, override)
    mistakes.tell()


def _override(fields: Mapping[str, Any], override: str) -> tuple[str, Any]:
    """Return the name and the value of a `name=value`."""
    name, separator, value = override.partition("=")
    if not separator:
        raise UserError(f"{shown(override)}: write name=value")
    if name not in fields:
        new = renamed(name)
        hint = f"it is {new} now" if new in fields else meant(name, sorted(fields))
        raise UserError(f"{shortened(name)}: no such parameter; {hint}")
    typed = _typed(name, value, fields[name]["parameterType"])
    choices = fields[name].get("literals", [typed])
    if typed not in choices:
        said = meant(value, map(str, choices), "choose one of {}")
        raise UserError(f"{name}={shortened(value)}: {said}")
    if name in form_fields():
        _, argument = form_fields()[name]
        replace(argument, name=name).parse(typed)
    return name, typed


def _form(fields: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    form = {}
    for name, field in fields.items():
        if name not in given and "defaultValue" not in field:
            raise UserError(f"{name}: has no default: give {name}=…")
        value = given.get(name, field.get("defaultValue"))
        form[name] = _as_declared(value, field["parameterType"])
    return form


def _typed(name: str, text: str, kind: str) -> Any:
    """Parse a command-line value as one of KFP's types."""
    if kind == "STRING":
        return text
    python = {
        "NUMBER_INTEGER": int,
        "NUMBER_DOUBLE": (int, float),
        "BOOLEAN": bool,
        "LIST": list,
        "STRUCT": dict,
    }
    try:
        value = json.loads(text.lower() if kind == "BOOLEAN" else text)
    except (ValueError, RecursionError):  # also of a number with thousands of digits
        value = None
    fits = isinstance(value, python[kind])  # type: ignore[arg-type]
    if not fits or (isinstance(value, bool) and kind != "BOOLEAN"):
        raise UserError(f"{name}={shortened(text)}: must be a {kind}, written as JSON")
    if isinstance(value, int | float) and abs(value) > _LARGEST:
        raise UserError(f"{name}={shortened(text)}: must be at most {_LARGEST:,}, as in Kubeflow")
    return float(value) if kind == "NUMBER_DOUBLE" else value


def _as_declared(value: Any, kind: str | None) -> Any:
    """Return a value of the file in its type: protobuf writes integers with a decimal point."""
    return int(value) if kind == "NUMBER_INTEGER" else value


def _task(
    name: str, spec: Mapping[str, Any], configs: Mapping[str, Any], form: Mapping[str, Any]
) -> Task:
    task = spec["root"]["dag"]["tasks"][name]
    known = {"cachingOptions", "componentRef", "dependentTasks", "inputs", "retryPolicy"}
    _refuse(name, set(task) - known - {"taskInfo"})
    component = spec["components"][task["componentRef"]["name"]]
    of_component = {"executorLabel", "inputDefinitions", "outputDefinitions"}
    _refuse(name, set(component) - of_component - {"taskConfigPassthroughs"})
    executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]
    _refuse(name, set(executor) - {"container"})
    container = executor["container"]
    _refuse(name, set(container) - {"args", "command", "env", "image", "resources"})
    variables = {f"env {variable['name']}" for variable in container.get("env", [])}
    _refuse(name, variables - {f"env {known}" for known in ENVIRONMENT})
    command, (executor_input, *flags) = container["command"], container["args"]
    launched = command[2:3] == [LAUNCHER_MODULE]
    length = 4 if launched else 3
    if command[:2] != ["python", "-m"] or len(command) != length or executor_input != "{{$}}":
        _refuse(name, {" ".join([*command, executor_input])})
    _refuse(name, {flag for flag in flags if "{{$" in flag})
    outputs = component.get("outputDefinitions", {})
    _refuse(name, {f"output {key}" for key in outputs.get("parameters", {})})
    inputs = dict(_inputs(name, task, component))
    producers = {source.task for source in inputs.values()}
    parameters = _parameters(name, task, component, form) | _constants(command[-1], flags)
    config = configs.get(component["executorLabel"], {})
    annotations = config.get("podMetadata", {}).get("annotations", {})
    identity = {"step": name} | json.loads(annotations.get(IDENTITY, "{}"))
    return Task(
        name=name,
        label=task.get("taskInfo", {}).get("name", name),
        step=identity.pop("step"),
        candidate=Name(**identity),
        module=command[-1],
        image=container["image"],
        command=(*command, executor_input),
        flags=frozenset(name for name, _ in map(parameter, flags)),
        parameters=parameters,
        inputs=inputs,
        outputs={
            output: _schema(definition)
            for output, definition in outputs.get("artifacts", {}).items()
        },
        dependencies=tuple(sorted(producers | set(task.get("dependentTasks", [])))),
        enable_cache=task.get("cachingOptions", {}).get("enableCache", False),
        num_nodes=number_of_nodes(parameters["num_nodes"]) if launched else 0,
        pod=pods.pod(config, container, parameters, form),
    )


def _constants(module: str, flags: Sequence[str]) -> dict[str, Any]:
    """Return the values of a command's flags: in the stage's types, unless it is an older one's."""
    known = {each.name: each for each in parameters_of(module)}
    values: dict[str, Any] = dict(map(parameter, flags))
    for name in values.keys() & known.keys():
        with suppress(UserError):
            values[name] = known[name].parse(values[name])
    return values


def _parameters(
    name: str, task: Mapping[str, Any], component: Mapping[str, Any], form: Mapping[str, Any]
) -> dict[str, Any]:
    declared = {
        key: definition
        for key, definition in component.get("inputDefinitions", {}).get("parameters", {}).items()
        if definition["parameterType"] != "TASK_CONFIG"  # which KFP's driver makes
    }
    given = task.get("inputs", {}).get("parameters", {})
    # KFP would leave such a value out of its cache key.
    _refuse(name, {f"{key} (not passed)" for key in set(declared) - set(given)})
    values = {}
    for key, source in given.items():
        _refuse(name, set(source) - {"runtimeValue", "componentInputParameter"})
        if "componentInputParameter" in source:
            values[key] = form[source["componentInputParameter"]]
        else:
            kind = declared.get(key, {}).get("parameterType")
            values[key] = _as_declared(source["runtimeValue"]["constant"], kind)
    for key, value in values.items():
        own = OWN_INPUT.fullmatch(value) if isinstance(value, str) else None
        if own and own[1] in values:
            values[key] = values[own[1]]
        elif isinstance(value, str) and "{{$" in value:
            _refuse(name, {value})
    return values


def _inputs(
    name: str, task: Mapping[str, Any], component: Mapping[str, Any]
) -> Iterator[tuple[str, Source]]:
    declared = component.get("inputDefinitions", {}).get("artifacts", {})
    for key, source in task.get("inputs", {}).get("artifacts", {}).items():
        _refuse(name, set(source) - {"taskOutputArtifact"})
        output = source["taskOutputArtifact"]
        schema = _schema(declared[key])
        yield key, Source(output["producerTask"], output["outputArtifactKey"], schema)


def _schema(definition: Mapping[str, Any]) -> str:
    title = definition["artifactType"]["schemaTitle"]
    assert isinstance(title, str)
    return title


def _refuse(task: str, features: set[str]) -> None:
    if features:
        found = ", ".join(sorted(features))
        raise UserError(f"task {task}: the local engine runs static pipelines only, not {found}")


def _in_order(tasks: Sequence[Task]) -> Iterator[Task]:
    """Yield tasks in topological order, those on the longest path to the end first."""
    followers: dict[str, list[str]] = {task.name: [] for task in tasks}
    for task in tasks:
        for name in task.dependencies:
            followers[name].append(task.name)

    heights: dict[str, int] = {}

    def height(name: str) -> int:
        if name not in heights:
            heights[name] = 1 + max(map(height, followers[name]), default=0)
        return heights[name]

    # A task is higher than all that follow it.
    yield from sorted(tasks, key=lambda task: (-height(task.name), task.name))
