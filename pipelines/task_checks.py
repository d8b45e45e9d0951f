"""What a stage would refuse, perhaps after days, is refused before anything runs.

A recipe's tasks are checked when it is read, those of a compiled file again with the form's values.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from components.shared.stage.container import Component
from components.shared.stage.errors import Mistakes, UserError
from components.shared.stage.interface import Location, arguments, bound
from components.shared.storage import filesystem
from components.shared.training import initial_weights
from components.shared.training.schedule import Division
from components.shared.training.settings import LEARNING_RATE_ENDED, TrainingSettings
from pipelines import backbones
from pipelines.steps import STEPS

if TYPE_CHECKING:
    from components.ingest.survey import Survey

IMAGENET = "imagenet"
_MOST_BYTES = 60_000  # of the 128 KiB of an argument on Linux, beside the artifacts' URIs
_DATA_SETS = ("dataset", "external_validation")  # parameters of ingest


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


class Here(NamedTuple):
    """What is found on this machine.

    Attributes:
        lines: What data sets are understood as, and what is amiss, for people.
        images: The number of training images by the task that reads them; 0 if it is not known.
    """

    lines: list[str]
    images: dict[str, int]


def check(tasks: Iterable[Task]) -> None:
    """Refuse values that a stage would refuse: one alone, several together, or with its inputs.

    Raises:
        UserError: There are such values.
    """
    by_name = {task.name: task for task in tasks}
    first: dict[str, str] = {}  # of several steps with the same mistake, which share its cause
    for task, component in _of_steps(by_name.values()):
        try:
            _check_size(task.parameters)
            training = bound(component.stage, task.parameters).get("training")
            if isinstance(training, TrainingSettings):
                _check_training(task, training, by_name)
            elif task.step == "initial_model":
                backbones.check(task.parameters["backbone"])
                if task.parameters["weights"] == IMAGENET:
                    backbones.check_weights(task.parameters["backbone"])
        except UserError as error:
            first.setdefault(str(error), task.step)
    if first:
        raise UserError("\n".join(f"{step}: {message}" for message, step in first.items()))


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


def check_elsewhere(tasks: Iterable[Task]) -> None:
    """Refuse what tasks read of this machine, where they run on others.

    Raises:
        UserError: There are such folders.
    """
    if refusals := [folder.refusal for folder in folders(tasks)]:
        raise UserError("\n".join(refusals))


def check_here(tasks: Sequence[Task], *, in_containers: bool = False) -> Here:
    """Refuse what tasks on this machine would not find; say what data sets are understood as.

    Args:
        tasks: The tasks.
        in_containers: Whether they run in images, which hold NLTK's data.

    Raises:
        UserError: Something is missing, or cannot be used.
        StorageError: S3 does not answer.
    """
    mistakes, lines, images = Mistakes(), list[str](), dict[str, int]()
    missing = {folder for folder in folders(tasks) if not Path(folder.path).is_dir()}
    for folder in sorted(missing):
        with mistakes.collected():
            others = ", ".join(filter(None, ["s3://bucket/prefix", folder.named]))
            raise UserError(f"{folder}: no such folder; {others} would do as well")
    gone = {folder.path for folder in missing}
    with mistakes.collected():
        check_weights(task for task in tasks if task.parameters.get("weights") not in gone)
    taggers = {task.parameters["tagger"] for task in tasks if task.step == "tagging"}
    for task in tasks:
        if task.step == "ingest" and gone.isdisjoint(map(task.parameters.get, _DATA_SETS)):
            with mistakes.collected():
                found = _survey(task, needs_texts=bool(taggers))
                lines += found.lines
                images[task.name] = found.images
    for tagger in sorted(taggers - gone):
        if not (in_containers and _is_resource(tagger)):
            with mistakes.collected("tagging: "):
                lines += _tagger(tagger)
    mistakes.tell()
    return Here(lines, images)


def _survey(ingest: Task, *, needs_texts: bool) -> "Survey":
    from components.ingest import survey  # imports pyarrow

    found = survey.survey_if_small(ingest.parameters["dataset"], ingest.parameters)
    if needs_texts and survey.NO_TEXTS in found.lines:
        raise UserError(
            f"tagging: {ingest.parameters['dataset']} has no texts to pretrain on: add a table or "
            "files of texts, or leave wt and multitask out of the candidates' pretraining"
        )
    return found


def _is_resource(tagger: str) -> bool:
    """Return whether a tagger is one of NLTK's data, not a folder."""
    return not filesystem.is_s3(tagger) and not Path(tagger).is_dir()


def _tagger(name: str) -> Iterator[str]:
    """Load a tagger as tagging will, and yield what its language lacks."""
    from components.shared.data.bare_nltk import nltk
    from components.tagging import taggers

    if taggers.PLURALS & set(taggers.load(name).tags):
        try:
            nltk.data.find("corpora/wordnet/")
        except LookupError:
            yield (
                "tagging     without WordNet, plurals are told by rules; to have it: "
                "`python -m nltk.downloader wordnet`"
            )


def check_weights(tasks: Iterable[Task]) -> None:
    """Refuse initial weights that timm could not load; a few kB of each are read.

    Raises:
        UserError: There are such weights.
        StorageError: S3 does not answer.
    """
    mistakes = Mistakes()
    for task in tasks:
        if task.step == "initial_model" and not is_fetched(task):
            with mistakes.collected():
                initial_weights.check(task.parameters["weights"], task.parameters["backbone"])
    mistakes.tell()


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


def _check_size(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that no command could be given: each stage gets all as one argument."""
    taken = len(json.dumps(dict(parameters), default=str).encode())
    if taken > _MOST_BYTES:
        longest = max(parameters, key=lambda name: len(str(parameters[name])))
        raise UserError(
            f"all parameters together take {taken:,} bytes, of at most {_MOST_BYTES:,} in one "
            f"argument of a command: shorten {longest}"
        )


def _check_training(task: Task, training: TrainingSettings, by_name: Mapping[str, Task]) -> None:
    backbones.check(training.backbone)
    backbones.check_crops(training.backbone, training.backbone_args, training.image_size)
    Division.of(training.batch_size, training.accumulation_steps, task.processes)
    _check_crops(training, by_name[task.inputs["images"].task])
    _check_start(task, by_name)
    if STEPS[task.step].continues:
        _check_larger(training.image_size, by_name[task.inputs["initial_model"].task])


def _check_larger(image_size: int, before: Task) -> None:
    """Refuse a round at a higher resolution that has none."""
    size = int(before.parameters["image_size"])
    if image_size <= size:
        raise UserError(
            f"image_size={image_size} is not larger than that of {before.step}, which it "
            f"continues: set it to more than {size}, or leave this step out of the recipe"
        )


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
    if task.parameters.get("continue_learning_rate"):
        if start is None or of_imagenet:
            raise UserError("continue_learning_rate=true needs a pretraining")
        if start.parameters.get("schedule") == "cosine":
            raise UserError(LEARNING_RATE_ENDED)
    if task.parameters.get("keep_head") and (start is None or of_imagenet):
        raise UserError("keep_head=true needs a pretraining, or a folder as initial_weights")
    if of_imagenet:
        backbones.check_shapes(task.parameters["backbone"], task.parameters["backbone_args"])
