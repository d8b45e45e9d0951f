"""Compile a recipe to the file that Kubeflow Pipelines runs.

python -m pipelines.compile --recipe paper --output pretraining.yaml
"""

import argparse
import inspect
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from kfp import compiler, dsl
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

from components.shared.stage.boundary import boundary
from components.shared.stage.container import Nodes
from components.shared.stage.errors import UserError
from components.shared.stage.interface import Argument
from pipelines import task_checks
from pipelines.cluster import limits, pod_settings
from pipelines.cluster.pod_settings import Backend
from pipelines.display_names import display_names
from pipelines.form import description
from pipelines.images import LAUNCHER, reference, require_registries
from pipelines.pretraining import pretraining
from pipelines.recipe import load
from pipelines.recipe_arguments import add_recipe
from pipelines.run import graph
from pipelines.steps import POD, STEPS
from pipelines.tasks import Field, Output, Task
from pipelines.values import Recipe

logger = logging.getLogger(__name__)


def compile_recipe(
    recipe: Recipe, path: Path, *, backend: Backend = "2.17", cache: bool = True
) -> None:
    """Compile a recipe; its form becomes the pipeline's signature.

    Args:
        recipe: What to compile.
        path: The YAML file to write.
        backend: The oldest version of KFP's backend to support.
        cache: Whether a task may reuse an earlier run's outputs.
    """
    fields, tasks = recipe.fields(), pretraining(recipe)
    labels = display_names(tasks)

    def pipeline(*channels: object) -> None:
        adding = _Adding(recipe.name, dict(zip(fields, channels, strict=True)), labels, backend)
        for task in tasks:
            adding.add(task)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        inspect.Parameter(name, kind, default=field.default, annotation=type(field.default))
        for name, field in fields.items()
    ]
    pipeline.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    compiled = dsl.pipeline(pipeline, name=recipe.name, description=description(recipe))
    _complete(compiled.pipeline_spec, fields, labels, backend, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(compiled, str(path))


class _Adding:
    """Adds tasks to the pipeline that is being compiled."""

    def __init__(
        self,
        pipeline: str,
        form: Mapping[str, Any],
        labels: Mapping[str, str],
        backend: Backend,
    ) -> None:
        self._pipeline, self._form, self._labels = pipeline, form, labels
        self._backend: Backend = backend
        self._outputs: dict[str, Mapping[str, Any]] = {}

    def add(self, task: Task) -> None:
        """Add a task whose inputs have been added."""
        component = STEPS[task.step].component
        assert component is not None, f"{task.step} is a group"
        image = reference(component)
        given = {name: self._known(value) for name, value in {**task.values, **task.inputs}.items()}
        pod = {name: given.pop(name) for name in POD if name in given}
        # A pipeline parameter may be any number; only of a constant is it known to be 1.
        number = pod.get("num_nodes", "1")
        nodes = None if str(number) == "1" else Nodes(number, reference(LAUNCHER))
        added = component.task(task.name, image=image, nodes=nodes, **given)
        pod_settings.configure(
            added,
            pipeline=self._pipeline,
            component=component,
            identity=task.identity(),
            candidate=str(task.candidate),
            label=self._labels[task.name],
            image=image,
            values=pod,
            backend=self._backend,
            several_nodes=nodes is not None,
        )
        self._outputs[task.name] = added.outputs

    def _known(self, given: Any) -> Any:
        """Return KFP's representation of a value or an input."""
        match given:
            case Field(name):
                return self._form[name]
            case Output(task, name):
                return self._outputs[task][name]
            case list():
                return [self._known(each) for each in given]
        return given


def _complete(
    spec: PipelineSpec,
    fields: Mapping[str, Argument],
    labels: Mapping[str, str],
    backend: Backend,
    cache: bool,
) -> None:
    """Add to a compiled pipeline what KFP's SDK cannot express."""
    definitions = spec.root.input_definitions.parameters
    for name, field in fields.items():
        definitions[name].description = field.help
        if backend == "2.15":  # it does not know this field of the IR; newer ones show a dropdown
            continue
        for choice in field.choices:
            definitions[name].literals.add(string_value=choice)
        for truth in (True, False) if field.type is bool else ():
            definitions[name].literals.add(bool_value=truth)
    for name, task in spec.root.dag.tasks.items():
        task.caching_options.enable_cache = cache
        # Only what the graph shows: the key names the task to the cache and in the API.
        task.task_info.name = labels[name]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.compile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_recipe(parser, default="paper")
    parser.add_argument("--output", type=Path, default=Path("pretraining.yaml"))
    parser.add_argument(
        "--backend",
        choices=get_args(Backend),
        default="2.17",
        help="oldest version of KFP's backend to support (default: 2.17)",
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="run every task, ignoring the cache"
    )
    given = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    with boundary():
        recipe = load(given.recipe, given.set)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "pipeline.yaml"
            compile_recipe(recipe, file, backend=given.backend, cache=not given.no_cache)
            limits.check(file)
            given.output.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, given.output)
        local = task_checks.folders(pretraining(replace(recipe, form=())))
        if local:
            found = ", ".join(map(str, local))
            logger.warning("runs on a cluster need s3://bucket/prefix in place of %s", found)
    logger.info("%s", given.output)
    try:
        require_registries(graph.read(given.output, []).images)
    except UserError as error:
        logger.warning("%s", error)


if __name__ == "__main__":
    main()
