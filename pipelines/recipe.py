"""Recipes: which candidates a pipeline trains, with which values, and what its form shows.

A recipe is a YAML file of `pipelines/recipes`. Beside `name`, `description`, `form`, `seeds`,
`candidates` and `drawn` it has a section of values for each step that differs from the defaults:

    name: webly-example
    form: [finetune_learning_rate]
    seeds: [0, 1, 2]                       # everything is trained once with each
    candidates:
      - {backbone: resnest101e, pretraining: [wt, lw, none]}
      - {backbone: resnest101e, pretraining: [none], variant: longer, finetune: {epochs: 40}}
    initial_model: {weights: imagenet}     # all start from these; or a candidate's initial_weights
    training: {image_size: 224}            # both pretrainings and every finetuning
    finetune: {epochs: 20}                 # … and the later rounds, which inherit it
    finetune_large: {image_size: 288}      # this section adds the round at a higher resolution
    finetune_again: {}                     # this one the second round, on pseudo labels
    finetune_again_large: {}
    ensemble: {}                           # and this one the ensemble of all candidates
    drawn: {runs/example/data: {}}         # `pipelines.local` draws it, with these settings

With `extends: example` a recipe inherits from another one what it does not set itself, except the
form.

A pipeline parameter is named `<step>_<parameter>`, except `dataset` and `dataset_version`.
"""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from components.shared.reports.titles import SCRATCH
from components.shared.stage.errors import UserError
from components.shared.stage.interface import Value
from pipelines import task_checks
from pipelines.demo import webvision
from pipelines.demo.settings import DataSettings
from pipelines.pretraining import pretraining
from pipelines.steps import CONSTANT, OF_CANDIDATES, PRETRAININGS, STEPS, field_name, renamed
from pipelines.tasks import Task
from pipelines.values import Candidate, Recipe

FOLDER = Path(__file__).parent / "recipes"
_SECTIONS = ("name", "description", "form", "seeds", "candidates", "drawn")


def load(name: str) -> Recipe:
    """Read a recipe.

    Args:
        name: One of `pipelines/recipes`, or the path of a YAML file.

    Raises:
        UserError: There is no such recipe, or something in it is unknown or of the wrong type.
    """
    path = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.yaml")))
        raise UserError(f"no recipe {name!r}; there are {known}, or give the path of a .yaml file")
    try:
        return _recipe(*_read(path))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read(path: Path) -> tuple[Any, Mapping[tuple[str, str], int]]:
    """Return a recipe's content, including what it extends, and the lines of its own values."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"line {line}: not UTF-8: save the file in that encoding") from None
    content = yaml.safe_load(text)
    lines = dict(_lines(yaml.compose(text, Loader=yaml.SafeLoader)))
    if isinstance(content, dict) and "extends" in content:
        content = dict(content)
        base = FOLDER / f"{content.pop('extends')}.yaml"
        if not base.is_file():
            raise UserError(f"extends: no recipe {base.stem!r} in {FOLDER}")
        below, _ = _read(base)
        sections = {step: content[step] or {} for step in STEPS if step in content}
        values = {
            step: (below.get(step) or {}) | section
            for step, section in sections.items()
            if isinstance(section, dict)  # else it is refused later
        }
        content = below | {"form": []} | content | values
    return content, lines


def _recipe(content: Any, lines: Mapping[tuple[str, str], int]) -> Recipe:
    if not isinstance(content, dict) or "name" not in content:
        raise UserError("a recipe must be a mapping with a name")
    content = dict(content)
    name = content.pop("name")
    if not isinstance(name, str):
        raise UserError(f"name: {name!r}: must be text: put it in quotes")
    if not re.fullmatch("[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name):  # a label's value, too
        raise UserError(f"name: {name!r}: use at most 63 characters of a-z, 0-9 and hyphens")
    description = content.pop("description", "")
    if not isinstance(description, str):
        raise UserError(f"description: {description!r} must be text")
    form = content.pop("form", [])
    if not isinstance(form, list) or not all(isinstance(field, str) for field in form):
        raise UserError(f"form: {form!r} must be a list of fields, such as [finetune_epochs]")
    seeds = tuple(_seeds(content.pop("seeds", None)))
    candidates = tuple(_candidates(content.pop("candidates", [])))
    drawn = dict(_drawn(content.pop("drawn", {})))
    values = {}
    for step, section in content.items():
        if step not in STEPS:
            allowed = ", ".join([*_SECTIONS, *STEPS])
            raise UserError(f"line {lines[step, '']}: no section {step!r}; there are {allowed}")
        own = {name: f"line {at}: " for (of, name), at in lines.items() if of == step}
        where = defaultdict(str, own)
        values[step] = dict(_section(step, section or {}, where))
    recipe = Recipe(name, description, candidates, seeds, drawn, (), values)
    tasks = pretraining(recipe)
    taken = {task.step for task in tasks}
    taken |= {step for step in STEPS if STEPS[step].component is None}
    _check_sections([step for step in values if (step, "") in lines], taken)
    # Inherited values may be for steps that this recipe does not have.
    values = {step: section for step, section in values.items() if step in taken}
    shown = dict.fromkeys([*_always_shown(taken), *form])
    _check_form(shown, taken)
    recipe = replace(recipe, values=values, form=tuple(shown))
    _check_seeds(recipe)
    used = {each.name for task in pretraining(recipe) for each in task.fields()}
    for field in form:
        if field not in used:
            raise UserError(f"form: {field} has no effect: its steps have their own values")
    recipe = replace(recipe, form=tuple(field for field in shown if field in used))
    _check_models(tasks)
    task_checks.check(tasks)
    return recipe


def _section(step: str, section: Any, where: defaultdict[str, str]) -> Iterator[tuple[str, Value]]:
    """Yield the values of a step; messages begin with `where` they are written."""
    if not isinstance(section, dict):
        raise UserError(f"{where['']}{step}: must be a mapping of parameters to values")
    known = STEPS[step].arguments()
    for name, value in section.items():
        context = f"{where[name]}{step}"
        if name in OF_CANDIDATES:
            raise UserError(f"{context}: {name} belongs to the candidates")
        if name not in known:
            raise UserError(f"{context}: no parameter {name!r}; there are {', '.join(known)}")
        try:
            yield name, known[name].parse(value)
        except UserError as error:
            raise UserError(f"{context}: {error}") from None


def _drawn(entries: Any) -> Iterator[tuple[str, DataSettings]]:
    if not isinstance(entries, dict):
        raise UserError(
            f"drawn: {entries}: must map folders to settings, such as runs/demo/data: {{}}"
        )
    for folder, settings in entries.items():
        try:
            yield str(folder), webvision.parse(settings)
        except UserError as error:
            raise UserError(f"drawn: {folder}: {error}") from None


def _seeds(entries: Any) -> Iterator[int | None]:
    if entries is None:
        yield None
        return
    whole = isinstance(entries, list) and all(type(seed) is int and seed >= 0 for seed in entries)
    if not whole or not entries or len(set(entries)) < len(entries):
        raise UserError(f"seeds: {entries}: must be distinct integers, such as [0, 1]")
    yield from entries


def _candidates(entries: Any) -> Iterator[Candidate]:
    if not entries:
        raise UserError("candidates: there must be at least one")
    known, seen = ("backbone", "pretraining", "backbone_args", "initial_weights", "variant"), set()
    for entry in entries:
        unknown = set(entry) - {*known, *STEPS} if isinstance(entry, dict) else {str(entry)}
        if unknown or "backbone" not in entry:
            raise UserError(f"candidates: {entry}: may have {', '.join(known)}, and values by step")
        if not isinstance(entry["backbone"], str):
            raise UserError(f"candidates: {entry}: backbone must be the name of a timm model")
        variant, values = str(entry.get("variant", "")), dict(_own_values(entry))
        if (values and not variant) or (variant and not (values or "initial_weights" in entry)):
            raise UserError(
                f"candidates: {entry}: a variant must have values of its own, and a name"
            )
        if "initial_weights" in entry:
            values["initial_model"] = {"weights": _weights(entry["initial_weights"])}
        if variant and not re.fullmatch(r"(?!seed\d)[a-z0-9]+", variant):
            raise UserError(f"candidates: variant {variant!r}: use a-z and 0-9, but not like seed1")
        pretrainings = entry.get("pretraining", [SCRATCH])
        if not isinstance(pretrainings, list) or not pretrainings:
            raise UserError(f"candidates: {entry}: pretraining must be a list, such as [wt, none]")
        for each in pretrainings:
            if each not in PRETRAININGS:
                allowed = ", ".join(PRETRAININGS)
                raise UserError(f"candidates: pretraining {each!r}: choose from {allowed}")
            candidate = Candidate(
                entry["backbone"],
                each,
                json.dumps(entry.get("backbone_args", {})),
                variant,
                values,
            )
            if candidate.name in seen:
                raise UserError(f"candidates: {candidate.name} is listed twice")
            seen.add(candidate.name)
            yield candidate


def _weights(value: object) -> Value:
    weights = STEPS["initial_model"].arguments()["weights"]
    try:
        return value if value == "none" else weights.parse(value)
    except UserError as error:
        raise UserError(f"candidates: initial_weights: {error}") from None


def _own_values(entry: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Value]]]:
    context = f"candidates: {entry.get('variant', '')}: "
    where: defaultdict[str, str] = defaultdict(lambda: context)
    for step in entry.keys() & STEPS.keys():
        yield step, dict(_section(step, entry[step], where))


def _always_shown(taken: Collection[str]) -> Iterator[str]:
    """Yield every form's fields: the data set, where pods run, and what to rerun on which GPUs."""
    yield from ("dataset", "dataset_version")
    for group in ("cpu_pods", "gpu_pods"):
        for name in ("node_selector", "tolerations"):
            yield field_name(group, name)
    yield field_name("gpu_pods", "gpu_type")
    for step, description in STEPS.items():
        component = description.component
        if step in taken and component is not None and step == component.name:
            yield field_name(step, "rerun")
            if component.target == "train" and "gpus" in description.arguments():
                yield field_name(step, "gpus")


def _check_sections(sections: Sequence[str], taken: Collection[str]) -> None:
    for step in sections:
        base = STEPS[step].continues
        if step not in taken and base and base not in taken:
            raise UserError(f"{step}: continues {base}, which is missing")
        if step not in taken:
            raise UserError(f"{step}: nothing in this recipe uses this step")


def _check_form(form: Collection[str], taken: Collection[str]) -> None:
    allowed = {
        field_name(step, name)
        for step in taken
        for name in STEPS[step].arguments()
        if name not in CONSTANT
    }
    for name in form:
        if name not in allowed:
            new = renamed(name)
            step = max((each for each in taken if name.startswith(f"{each}_")), key=len, default="")
            own = [each for each in sorted(allowed) if each.startswith(step)]
            hint = f"it is {new} now" if new in allowed else f"choose from {', '.join(own)}"
            raise UserError(f"form: {name!r} cannot be a field; {hint}")


def _check_seeds(recipe: Recipe) -> None:
    if recipe.seeds == (None,):
        return
    sections = [recipe.values, *(each.values for each in recipe.candidates)]
    written = [step for section in sections for step in section if "seed" in section[step]]
    fields = {field_name(step, "seed") for step in STEPS}
    for name in [*written, *(name for name in recipe.form if name in fields)]:
        raise UserError(f"{name}: seeds={list(recipe.seeds)} sets it: remove one of them")


def _check_models(tasks: Sequence[Task]) -> None:
    """Refuse to combine models of different data sets."""
    ingests = [task for task in tasks if task.step == "ingest"]
    for task in tasks:
        if "models" in task.inputs and len(ingests) > 1:
            raise UserError(
                f"{task.step}: its models must share a data set, but variants have their own"
            )


def _lines(root: Any) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield the lines of sections (with an empty second part) and of values in them."""

    def entries(node: Any) -> Iterator[tuple[str, int, Any]]:
        seen = set()
        for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise UserError(f"line {line}: {key.value} is set twice")
            seen.add(key.value)
            yield key.value, line, value

    for section, line, node in entries(root):
        yield (section, ""), line
        for name, inner, _ in entries(node):
            yield (section, name), inner
