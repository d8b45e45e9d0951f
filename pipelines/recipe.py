"""Recipes: which candidates a pipeline trains, with which values, and what its form shows.

A recipe is a YAML file of `pipelines/recipes`. Beside `name`, `description`, `form` and
`candidates` it has a section of values for each step that differs from the stage's defaults:

    name: webly-example
    form: [finetune_learning_rate]
    candidates:
      - {backbone: resnest101e, pretraining: [wt, lw, none]}
    training: {image_size: 224}            # both pretrainings and every finetuning
    finetune: {epochs: 20}                 # … and the later rounds, which inherit it
    finetune_large: {image_size: 288}      # this section adds the large-resolution round
    finetune_again: {}                     # this one the second round, on pseudo labels
    finetune_again_large: {}

A pipeline parameter is named `<step>_<parameter>`, except `dataset` and `dataset_version`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from components.shared.interface import Argument, UserError, Value
from pipelines.steps import CONSTANT, OF_CANDIDATES, OPTIONAL, STEPS, field_name

FOLDER = Path(__file__).parent / "recipes"
Pretraining = Literal["wt", "lw", "none"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backbone with one way to pretrain it.

    Attributes:
        backbone: A timm model.
        pretraining: `wt` or `lw`, or `none` for training from scratch.
        backbone_args: More arguments for `timm.create_model`, as JSON.
        initial_weights: A timm folder that the first training starts from; or none.
    """

    backbone: str
    pretraining: Pretraining
    backbone_args: str = "{}"
    initial_weights: str = "none"

    @property
    def short_backbone(self) -> str:
        """The backbone as a part of task names."""
        return re.sub("[^a-z0-9]+", "-", self.backbone.lower()).strip("-")

    @property
    def name(self) -> str:
        """The candidate as a part of task names, such as `resnest101e-wt`."""
        return f"{self.short_backbone}-{self.pretraining}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe; `load` reads and checks one.

    Attributes:
        name: The pipeline's name. KFP looks for cached tasks under it: it never changes.
        description: What the pipeline is for, shown in KFP's UI.
        candidates: What to train.
        form: Names of the pipeline's parameters.
        values: Values by step and parameter, where they differ from the defaults.
    """

    name: str
    description: str
    candidates: tuple[Candidate, ...]
    form: tuple[str, ...]
    values: Mapping[str, Mapping[str, Value]]

    def has(self, step: str) -> bool:
        """Return whether the pipeline takes a step."""
        pretrainings = {candidate.pretraining for candidate in self.candidates}
        if step in OPTIONAL:
            return step in self.values
        if step == "pseudo_label":
            return "finetune_again" in self.values
        if step in ("wt_pretrain", "lw_pretrain"):
            return step.removesuffix("_pretrain") in pretrainings
        return True

    def resolve(self, step: str, name: str, form: Mapping[str, Any]) -> Any:
        """Return a parameter's value in a step.

        Args:
            step: One of `STEPS`.
            name: One of its parameters.
            form: Values of the form's fields; one is taken if it governs this parameter.
        """
        at: str | None = step
        while at is not None:
            if field_name(at, name) in form:
                return form[field_name(at, name)]
            for given in (self.values.get(at, {}), STEPS[at].defaults):
                if name in given:
                    return given[name]
            at = STEPS[at].inherits
        return STEPS[step].arguments()[name].default

    def fields(self) -> dict[str, Argument]:
        """Return the form's fields by name, each with the recipe's value as default."""
        known = {
            field_name(step, name): replace(argument, default=self.resolve(step, name, {}))
            for step in STEPS
            if self.has(step)
            for name, argument in STEPS[step].arguments().items()
            if name not in CONSTANT
        }
        for name in self.form:
            if name not in known:
                allowed = ", ".join(sorted(known))
                raise UserError(f"form: {name!r} can be no field of this recipe's; {allowed} can")
        return {name: known[name] for name in self.form}


def load(name: str) -> Recipe:
    """Read a recipe.

    Args:
        name: One of `pipelines/recipes`, or the path of a YAML file.

    Raises:
        UserError: There is no such recipe, or something in it is unknown or of a wrong type.
    """
    path = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.yaml")))
        raise UserError(f"no recipe {name!r}; there are {known}, or give the path of a .yaml file")
    text = path.read_text()
    try:
        content = yaml.safe_load(text)
        lines = dict(_lines(yaml.compose(text, Loader=yaml.SafeLoader)))
        return _recipe(content, lines)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _recipe(content: Any, lines: Mapping[tuple[str, str], int]) -> Recipe:
    if not isinstance(content, dict) or not isinstance(content.get("name"), str):
        raise UserError("a recipe is a mapping with a name")
    content = dict(content)
    name = content.pop("name")
    if not re.fullmatch("[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name):  # a label's value, too
        raise UserError(f"name: {name!r}: write a-z, 0-9 and hyphens, at most 63 of them")
    description = content.pop("description", "")
    form = content.pop("form", [])
    candidates = tuple(_candidates(content.pop("candidates", [])))
    values = {}
    for step, section in content.items():
        if step not in STEPS:
            allowed = ", ".join(["name", "description", "form", "candidates", *STEPS])
            raise UserError(f"line {lines[step, '']}: no section {step!r}; there are {allowed}")
        values[step] = dict(_section(step, section or {}, lines))
    recipe = Recipe(name, description, candidates, (), values)
    recipe = replace(recipe, form=tuple(dict.fromkeys([*_always_shown(recipe), *form])))
    recipe.fields()
    _check_steps(recipe)
    return recipe


def _section(
    step: str, section: Any, lines: Mapping[tuple[str, str], int]
) -> Iterator[tuple[str, Value]]:
    if not isinstance(section, dict):
        raise UserError(f"line {lines[step, '']}: {step}: values by parameter are needed")
    known = STEPS[step].arguments()
    for name, value in section.items():
        where = f"line {lines[step, name]}: {step}"
        if name in OF_CANDIDATES:
            raise UserError(f"{where}: {name} belongs to the candidates")
        if name not in known:
            raise UserError(f"{where}: no parameter {name!r}; there are {', '.join(known)}")
        try:
            yield name, known[name].parse(value)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None


def _candidates(entries: Any) -> Iterator[Candidate]:
    if not entries:
        raise UserError("candidates: at least one is needed")
    known, seen = ("backbone", "pretraining", "backbone_args", "initial_weights"), set()
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) - set(known) or "backbone" not in entry:
            raise UserError(f"candidates: {entry}: it takes {', '.join(known)}")
        pretrainings = entry.get("pretraining", ["none"])
        if not isinstance(pretrainings, list) or not pretrainings:
            raise UserError(f"candidates: {entry}: write pretraining as a list, such as [wt, none]")
        for pretraining in pretrainings:
            if pretraining not in get_args(Pretraining):
                allowed = ", ".join(get_args(Pretraining))
                raise UserError(f"candidates: pretraining {pretraining!r}: choose from {allowed}")
            candidate = Candidate(
                entry["backbone"],
                pretraining,
                json.dumps(entry.get("backbone_args", {})),
                entry.get("initial_weights", "none"),
            )
            if candidate.name in seen:
                raise UserError(f"candidates: {candidate.name} is there twice")
            seen.add(candidate.name)
            yield candidate


def _always_shown(recipe: Recipe) -> Iterator[str]:
    """Yield what every form has: the data set, and per stage what to rerun and where to train."""
    yield from ("dataset", "dataset_version")
    for step, description in STEPS.items():
        if description.component is None or step != description.component.name:
            continue
        if recipe.has(step):
            yield field_name(step, "rerun")
            if description.component.target == "train":
                yield field_name(step, "gpus")


def _check_steps(recipe: Recipe) -> None:
    for step in recipe.values:
        if not recipe.has(step):
            raise UserError(f"{step}: nothing in this recipe takes this step")
    if recipe.has("finetune_again_large") and not recipe.has("finetune_again"):
        raise UserError("finetune_again_large: it goes on from finetune_again, which is missing")
    side = recipe.resolve("ingest", "image_side", {})
    for step in STEPS:
        if STEPS[step].component is None or not recipe.has(step):
            continue
        if "image_size" in STEPS[step].arguments():
            size = recipe.resolve(step, "image_size", {})
            if size > side:
                raise UserError(
                    f"{step}: image_size={size} is larger than the stored images: "
                    f"set ingest image_side={side} to {size} or more"
                )


def _lines(root: Any) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield the lines of sections (with an empty second part) and of values in them."""

    def entries(node: Any) -> Iterator[tuple[str, int, Any]]:
        seen = set()
        for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise UserError(f"line {line}: {key.value} is there twice")
            seen.add(key.value)
            yield key.value, line, value

    for section, line, node in entries(root):
        yield (section, ""), line
        for name, inner, _ in entries(node):
            yield (section, name), inner
