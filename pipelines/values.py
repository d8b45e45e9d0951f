"""The content of a recipe: what to train, and with which values."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from components.shared.reports.titles import Name
from components.shared.stage.interface import Argument, Value
from pipelines.demo.settings import DataSettings
from pipelines.steps import STEPS, field_name, form_fields

Values = Mapping[str, Mapping[str, Value]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backbone with one way to pretrain it, and what else sets it apart.

    Attributes:
        backbone: A timm model.
        pretraining: One of `PRETRAININGS`; `none` is training from scratch.
        backbone_args: More arguments for `timm.create_model`, as JSON.
        variant: The name of candidates with values of their own; else empty.
        values: Their values by step and parameter; they take precedence over the recipe's and the
            form's.
        seed: The seed of its trainings; None if it is a parameter like others.
    """

    backbone: str
    pretraining: str
    backbone_args: str = "{}"
    variant: str = ""
    values: Values = field(default_factory=dict, compare=False)
    seed: int | None = None

    @property
    def name(self) -> Name:
        """Its name, with the backbone spelled as in task names."""
        backbone = re.sub("[^a-z0-9]+", "-", self.backbone.lower()).strip("-")
        return Name(backbone, self.pretraining, self.variant, self.seed)

    @property
    def pretraining_step(self) -> str | None:
        """The step that pretrains it, if it is not trained from scratch."""
        for name, step in STEPS.items():
            if step.pretraining and step.pretraining.name == self.pretraining:
                return name
        return None


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe; `pipelines.recipe.load` reads and checks one.

    Attributes:
        name: The pipeline's name. KFP caches tasks by it: never change it.
        description: What the pipeline is for, shown in KFP's UI.
        candidates: What to train.
        seeds: Everything is trained once with each of them; with a single None, once.
        drawn: Data sets that `pipelines.local` draws before it runs the pipeline, by their folder.
        form: Names of the pipeline's parameters.
        values: Values by step and parameter, where they differ from the defaults.
        one_node: Whether every stage runs on one node, whatever the values say.
    """

    name: str
    description: str
    candidates: tuple[Candidate, ...]
    seeds: tuple[int | None, ...]
    drawn: Mapping[str, DataSettings]
    form: tuple[str, ...]
    values: Values
    one_node: bool = False

    def has(self, step: str) -> bool:
        """Return whether there is a section for a step; that is how a recipe adds optional ones."""
        return step in self.values

    def weights(self, candidate: Candidate) -> str:
        """Return the weights that a candidate's first training starts from; none if it is random.

        The recipe's section `initial_model` is for all candidates that have none of their own.
        """
        if self.has("initial_model") or "initial_model" in candidate.values:
            return str(self.resolve("initial_model", "weights", {}, candidate))
        return "none"

    def resolve(
        self, step: str, name: str, form: Mapping[str, Any], candidate: Candidate | None = None
    ) -> Any:
        """Return a parameter's value in a step.

        Args:
            step: One of `STEPS`.
            name: One of its parameters.
            form: Values of the form's fields, one of which may set this parameter.
            candidate: The candidate that it is for, if it is for one.
        """
        if name == "num_nodes" and self.one_node:
            return "1"
        for at in self._sections(step, name, form, candidate):
            if candidate and name in candidate.values.get(at, {}):
                return candidate.values[at][name]
            if field_name(at, name) in form:
                return form[field_name(at, name)]
            for given in (self.values.get(at, {}), STEPS[at].defaults):
                if name in given:
                    return given[name]
        return STEPS[step].arguments()[name].default

    def _sections(
        self, step: str, name: str, form: Mapping[str, Any], candidate: Candidate | None
    ) -> Iterator[str]:
        """Yield the sections that may set a step's parameter, the most particular first."""
        at: str | None = step
        while at is not None:
            yield at
            at = STEPS[at].inherits
        if name in STEPS["gpu_pods"].arguments() and STEPS[step].component is not None:
            # What the form sets may be any number: then it must be possible to have some.
            has_gpus = "gpus" in STEPS[step].arguments()
            on_gpus = has_gpus and self.resolve(step, "gpus", form, candidate) != "0"
            yield from self._sections("gpu_pods" if on_gpus else "cpu_pods", name, form, candidate)

    def fields(self) -> dict[str, Argument]:
        """Return the form's fields by name, each with the recipe's value as default."""
        fields = {name: form_fields()[name] for name in self.form}
        return {
            name: replace(argument, default=self.resolve(step, argument.name, {}))
            for name, (step, argument) in fields.items()
        }
