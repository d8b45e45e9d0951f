"""The tasks that a recipe comes to, as plain values: what is compiled, counted and checked."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.shared.reports.titles import Name
from components.shared.stage.errors import UserError
from components.shared.stage.interface import Value
from pipelines.steps import PRETRAININGS, STEPS, Step
from pipelines.values import Candidate, Recipe


@dataclass(frozen=True, slots=True)
class Field:
    """In place of a value: the form's field that says it."""

    name: str


@dataclass(frozen=True, slots=True)
class Output:
    """What a task makes, for others to read."""

    task: str
    name: str


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the pipeline.

    Attributes:
        step: One of `STEPS`.
        candidate: Whom it is for.
        values: Of all parameters of the step; a `Field` where the form says it.
        inputs: What it reads by the stage's names, and parameters that are no value of a recipe's.
    """

    step: str
    candidate: Name
    values: Mapping[str, Any]
    inputs: Mapping[str, Output | Sequence[Output] | str]

    @property
    def name(self) -> str:
        """Its name in KFP's graph, such as `finetune-large-resnest101e-wt`."""
        return "-".join(filter(None, [self.step.replace("_", "-"), str(self.candidate)]))

    def __getitem__(self, output: str) -> Output:
        """Return one of its outputs."""
        return Output(self.name, output)

    def identity(self) -> dict[str, Any]:
        """Return step and candidate, for JSON."""
        return {"step": self.step, **self.candidate.parts()}


class Tasks:
    """Collects tasks; those that would be the same, once."""

    def __init__(self, recipe: Recipe) -> None:
        """Begin with none; the recipe gives the parameters their values."""
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
        **inputs: Output | Sequence[Output] | str | None,
    ) -> Task:
        """Return a step's task.

        Candidates share it where it has the same values and inputs; the first one names it, so a
        variant's name is only in the names of tasks that it changes.

        Args:
            step: One of `STEPS`.
            whom: The candidate that it is for, or what those have in common whom it is for.
            **inputs: As in `Task`; None is left out.
        """
        given = {name: value for name, value in inputs.items() if value is not None}
        candidate = whom if isinstance(whom, Candidate) else None
        values = {
            name: self._recipe.resolve(step, name, self._form, candidate)
            for name in STEPS[step].arguments()
        }
        if candidate is not None and STEPS[step].trains:
            values |= _of_candidate(candidate, starts="initial_model" not in given)
        for name in [whom] if isinstance(whom, Name) else _names(step, whom.name):
            task = Task(step, name, values, given)
            if self._added.setdefault(task.name, task) == task:
                return task
        raise UserError(
            f"candidates: two need a task {task.name} with different values: name a variant"
        )


def _of_candidate(candidate: Candidate, *, starts: bool) -> dict[str, Value]:
    """Return what a candidate alone says of a training; it starts without a model, or goes on."""
    seed = {} if candidate.seed is None else {"seed": candidate.seed}
    return {
        "backbone": candidate.backbone,
        "backbone_args": candidate.backbone_args,
        "initial_weights": candidate.initial_weights if starts else "none",
        **seed,
    }


def _names(step: str, candidate: Name) -> list[Name]:
    """Return whom a task may be called for, the most general first."""
    if not STEPS[step].trains:
        return [Name(), Name(variant=candidate.variant)]
    if STEPS[step].pretraining is None:
        return [candidate]
    own = replace(candidate, pretraining="")
    return [replace(own, variant=""), own]


def described(predictions: Sequence[Task]) -> str:
    """Return what `compare` is told of the tasks whose predictions it reads, as JSON."""
    steps = {task.step: STEPS[task.step] for task in predictions}
    found = {task.candidate.pretraining for task in predictions}
    shown = {
        "predictions": [task.identity() for task in predictions],
        "steps": {name: _look(step) for name, step in steps.items()},
        "pretrainings": {
            name: {"title": each.title, "color": each.color}
            for name, each in PRETRAININGS.items()
            if name in found
        },
    }
    return json.dumps(shown)


def _look(step: Step) -> dict[str, str]:
    look = {"title": step.title, "color": step.color, "continues": step.continues}
    return {name: value for name, value in look.items() if value}
