"""The tasks of a recipe, as plain values: what is compiled, counted and checked."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.shared.reports.titles import SCRATCH, Name
from components.shared.stage.errors import UserError
from components.shared.stage.interface import Value
from pipelines.steps import PLAIN, PRETRAINING_TITLES, PRETRAININGS, STEPS, Step
from pipelines.values import Candidate, Recipe

# A cluster takes about 100 of a pipeline (`cluster/limits.py`); a machine would train for years.
MOST_TASKS = 500


@dataclass(frozen=True, slots=True)
class Field:
    """Stands for a value that a pipeline parameter sets."""

    name: str


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a task, for others to read."""

    task: str
    name: str


Input = Output | Field | Sequence[Output] | Value


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the pipeline.

    Attributes:
        step: One of `STEPS`.
        candidate: The candidate that it is for.
        values: Values of all the step's parameters; a `Field` where the form sets it.
        inputs: Its inputs, by the stage's names, and parameters that a recipe cannot set.
    """

    step: str
    candidate: Name
    values: Mapping[str, Any]
    inputs: Mapping[str, Input]

    @property
    def name(self) -> str:
        """Its name in KFP's graph, such as `finetune-large-resnest101e-wt`."""
        return self.candidate.task(self.step)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its values, under the name that those of a compiled task have."""
        return self.values

    @property
    def processes(self) -> int:
        """How many processes it trains in: one per GPU, or one without."""
        return max(1, int(self.values["gpus"])) * int(self.values.get("num_nodes", 1))

    def __getitem__(self, output: str) -> Output:
        """Return one of its outputs."""
        return Output(self.name, output)

    def fields(self) -> Iterator[Field]:
        """Yield the form's fields that set values of it."""
        return (value for value in self.values.values() if isinstance(value, Field))

    def identity(self) -> dict[str, Any]:
        """Return step and candidate, for JSON."""
        return {"step": self.step, **self.candidate.parts()}


class Tasks:
    """Collects tasks, without duplicates."""

    def __init__(self, recipe: Recipe) -> None:
        """Begin with none; the recipe sets the parameters' values."""
        self._recipe = recipe
        self._form = {name: Field(name) for name in recipe.form}
        self._added: dict[str, Task] = {}

    def __iter__(self) -> Iterator[Task]:
        """Yield the tasks, each after those that it reads."""
        return iter(self._added.values())

    def add(
        self,
        step: str,
        whom: Candidate | Name,
        /,
        **inputs: Input | None,
    ) -> Task:
        """Return a step's task.

        Candidates share it where it has the same values and inputs; the first one names it, so a
        variant's name is only in the names of tasks that it changes.

        Args:
            step: One of `STEPS`.
            whom: The candidate that it is for, or the name that several share.
            **inputs: As in `Task`; None is left out.
        """
        given = {name: value for name, value in inputs.items() if value is not None}
        candidate = whom if isinstance(whom, Candidate) else None
        values = {
            name: self._recipe.resolve(step, name, self._form, candidate)
            for name in STEPS[step].arguments()
        }
        if candidate is not None and STEPS[step].trains:
            values |= _of_candidate(candidate)
        elif candidate is not None and step == "initial_model":
            values["backbone"] = candidate.backbone
        for name in [whom] if isinstance(whom, Name) else _names(step, whom.name):
            task = Task(step, name, values, given)
            if self._added.setdefault(task.name, task) == task:
                self._check_number()
                return task
        raise UserError(
            f"candidates: two need a task {task.name} with different values: make one a variant"
        )

    def _check_number(self) -> None:
        if len(self._added) > MOST_TASKS:
            raise UserError(
                f"more than {MOST_TASKS:,} tasks, the most of one pipeline: divide seeds or "
                "candidates among recipes of the same name, which share their tasks in the cache"
            )


def _of_candidate(candidate: Candidate) -> dict[str, Value]:
    """Return a training's values that the candidate sets."""
    seed = {} if candidate.seed is None else {"seed": candidate.seed}
    return {
        "backbone": candidate.backbone,
        "backbone_args": candidate.backbone_args,
        **seed,
    }


def _names(step: str, candidate: Name) -> list[Name]:
    """Return the candidate names that a task may have, the most general first."""
    if step == "initial_model":
        own = Name(candidate.backbone)
        return [own, replace(own, variant=candidate.variant)]
    if not STEPS[step].trains:
        return [Name(), Name(variant=candidate.variant)]
    if STEPS[step].pretraining is None:
        return [candidate]
    own = replace(candidate, pretraining="")
    return [replace(own, variant=""), own]


def pretraining_titles(tasks: Iterable[Task]) -> dict[str, str]:
    """Return the display name of each pretraining in a pipeline of these tasks.

    Candidates without one are trained from scratch, unless weights are given to them.
    """
    return PRETRAINING_TITLES | ({SCRATCH: PLAIN.title} if _starts_given(tasks) else {})


def _starts_given(tasks: Iterable[Task]) -> bool:
    """Return whether candidates without a pretraining start from weights that are given."""
    return any(
        task.candidate.pretraining == SCRATCH
        and STEPS[task.step].continues is None
        and "initial_model" in task.inputs
        for task in tasks
    )


def described(predictions: Sequence[Task], audits: Sequence[Task] = ()) -> str:
    """Return, as JSON for `compare`, what it says of other tasks.

    Args:
        predictions: The tasks whose predictions it reads.
        audits: Those that look for wrong labels, of which it names the first.
    """
    steps = {task.step: STEPS[task.step] for task in predictions}
    ways = PRETRAININGS | ({SCRATCH: PLAIN} if _starts_given(predictions) else {})
    found = {task.candidate.pretraining for task in predictions}
    shown = {
        "predictions": [task.identity() for task in predictions],
        "steps": {name: _look(step) for name, step in steps.items()},
        "pretrainings": {
            name: {"title": each.title, "color": each.color, "about": each.about}
            for name, each in ways.items()
            if name in found
        },
        **({"suspects": audits[0].name} if audits else {}),
    }
    return json.dumps(shown)


def _look(step: Step) -> dict[str, str]:
    look = {"title": step.title, "color": step.color, "continues": step.continues}
    look["about"] = step.about
    return {name: value for name, value in look.items() if value}
