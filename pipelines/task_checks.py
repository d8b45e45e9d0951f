"""What a stage would refuse, perhaps after days, is refused before anything runs.

A recipe's tasks are checked when it is read, those of a compiled file again with the form's values.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from components.shared.stage.container import Component
from components.shared.stage.errors import UserError
from components.shared.stage.interface import Location, arguments, bound
from components.shared.training import initial_weights
from components.shared.training.schedule import Division
from components.shared.training.settings import TrainingSettings
from pipelines import backbones
from pipelines.steps import STEPS

IMAGENET = "imagenet"


class Task(Protocol):
    """A task of a recipe, or of a compiled file."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def step(self) -> str:
        """Its step; in a pipeline without steps, its name."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """All its parameters."""

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The outputs of other tasks that it reads."""

    @property
    def processes(self) -> int:
        """How many processes it trains in, on all its nodes."""


class Folder(NamedTuple):
    """A folder on a machine's own disk that a task reads: named by a step's parameter.

    Attributes:
        step: The task's step.
        parameter: The parameter.
        path: Its value.
        named: What else it might have been, in words.
    """

    step: str
    parameter: str
    path: str
    named: str = ""

    def __str__(self) -> str:
        """Return what was set."""
        return f"{self.step}: {self.parameter}={self.path}"

    @property
    def refusal(self) -> str:
        """Why a cluster cannot read it, and what to do."""
        return f"{self}: a folder of this machine: copy it to S3, and give s3://bucket/prefix"


def check(tasks: Iterable[Task]) -> None:
    """Refuse values that a stage would refuse: one alone, several together, or with its inputs.

    Raises:
        UserError: There are such values.
    """
    by_name = {task.name: task for task in tasks}
    for task, component in _of_steps(by_name.values()):
        try:
            training = bound(component.stage, task.parameters).get("training")
            if isinstance(training, TrainingSettings):
                backbones.check(training.backbone)
                backbones.check_crops(
                    training.backbone, training.backbone_args, training.image_size
                )
                Division.of(training.batch_size, training.accumulation_steps, task.processes)
                _check_crops(training, by_name[task.inputs["images"].task])
                _check_start(task, by_name)
            elif task.step == "initial_model":
                backbones.check(task.parameters["backbone"])
                if task.parameters["weights"] == IMAGENET:
                    backbones.check_weights(task.parameters["backbone"])
        except UserError as error:
            raise UserError(f"{task.step}: {error}") from None


def folders(tasks: Iterable[Task]) -> list[Folder]:
    """Return the local folders that tasks read, beside each other's outputs."""
    found = {
        Folder(task.step, argument.name, task.parameters[argument.name], rule.named)
        for task, component in _of_steps(tasks)
        for argument in arguments(component.stage)
        for rule in argument.rules
        if isinstance(rule, Location) and argument.name in task.parameters
        if rule.is_local(task.parameters[argument.name])
    }
    return sorted(found)


def check_weights(tasks: Iterable[Task]) -> None:
    """Refuse initial weights that timm could not load; a few kB of each are read.

    Raises:
        UserError: There are such weights.
        StorageError: S3 does not answer.
    """
    for task in tasks:
        if task.step == "initial_model" and not is_fetched(task):
            initial_weights.check(task.parameters["weights"], task.parameters["backbone"])


def is_fetched(task: Task) -> bool:
    """Return whether an initial model is fetched from the hub, and not from a folder."""
    weights: str = task.parameters["weights"]
    return weights == IMAGENET or weights.startswith("hf-hub:")


def _of_steps(tasks: Iterable[Task]) -> Iterator[tuple[Task, Component]]:
    """Yield tasks with their stage's component: of those that are ours."""
    for task in tasks:
        component = STEPS[task.step].component if task.step in STEPS else None
        if component is not None:
            yield task, component


def _check_crops(training: TrainingSettings, ingest: Task) -> None:
    side = int(ingest.parameters["image_side"])
    if training.image_size > side:
        raise UserError(
            f"image_size={training.image_size} is larger than the stored images: "
            f"set ingest image_side={side} to {training.image_size} or more"
        )


def _check_start(task: Task, by_name: Mapping[str, Task]) -> None:
    """Refuse to continue from nothing, and arguments that do not go with ImageNet's weights."""
    start = by_name[task.inputs["initial_model"].task] if "initial_model" in task.inputs else None
    of_imagenet = (
        start is not None
        and start.step == "initial_model"
        and start.parameters["weights"] == IMAGENET
    )
    if task.parameters.get("continue_learning_rate") and (start is None or of_imagenet):
        raise UserError("continue_learning_rate=true needs a pretraining")
    if task.parameters.get("keep_head") and (start is None or of_imagenet):
        raise UserError("keep_head=true needs a pretraining, or a folder as initial_weights")
    if of_imagenet:
        backbones.check_shapes(task.parameters["backbone"], task.parameters["backbone_args"])
