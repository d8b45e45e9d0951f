"""Recipes: which candidates a pipeline trains, with which values, and what its form shows.

`pipelines/recipes/README.md` documents their format.
"""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from components.shared.reports.titles import SCRATCH
from components.shared.stage.errors import Mistakes, UserError
from components.shared.stage.interface import Value
from components.shared.stage.suggestions import meant
from pipelines import task_checks
from pipelines.demo import webvision
from pipelines.demo.settings import DataSettings
from pipelines.pretraining import pretraining
from pipelines.steps import (
    CONSTANT,
    OF_CANDIDATES,
    PRETRAININGS,
    STEPS,
    field_name,
    form_fields,
    renamed,
)
from pipelines.tasks import Task
from pipelines.values import Candidate, Recipe

FOLDER = Path(__file__).parent / "recipes"
_SECTIONS = ("name", "description", "form", "seeds", "candidates", "drawn")


class _Written(NamedTuple):
    """A recipe as it is written, over what it extends.

    Attributes:
        content: All of it.
        own: Its own sections: what others inherit may be for steps that they do not have.
        where: Where its own sections (with an empty second part) and the values in them are
            written, as the beginning of messages.
    """

    content: dict[str, Any]
    own: frozenset[str]
    where: Mapping[tuple[str, str], str]


def load(name: str, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        name: One of `pipelines/recipes`, or the path of a YAML file.
        settings: Values that take precedence over the recipe's, as `step.parameter=value` or
            `section=value`.

    Raises:
        UserError: There is no such recipe, or something in it is unknown or of the wrong type.
    """
    path = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = sorted(path.stem for path in FOLDER.glob("*.yaml"))
        others = "there are {}, or give the path of a .yaml file"
        raise UserError(f"no recipe {name!r}; {meant(path.stem, known, others)}")
    changes = _settings(settings)
    try:
        written = _read(path)
        return _recipe(_over(written.content, changes) if settings else written)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {error}") from None
    except UserError as error:
        space = "\n" if "\n" in str(error) else " "
        raise UserError(f"{path}:{space}{error}") from None


def _read(path: Path) -> _Written:
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"line {line}: not UTF-8: save the file in that encoding") from None
    content = yaml.safe_load(text)
    lines = _lines(yaml.compose(text, Loader=yaml.SafeLoader))
    where = {at: f"line {line}: " for at, line in lines}
    if not isinstance(content, dict):
        raise UserError("a recipe must be a mapping with a name")
    written = _Written(content, frozenset(content), where)
    if "extends" in content:
        base = FOLDER / f"{content.pop('extends')}.yaml"
        if not base.is_file():
            known = sorted(path.stem for path in FOLDER.glob("*.yaml"))
            raise UserError(
                f"extends: no recipe {base.stem!r} in {FOLDER}; {meant(base.stem, known)}"
            )
        return _over(_read(base).content | {"form": []}, written)
    if "without" in content:
        raise UserError("without: this recipe extends no other, so it inherits nothing")
    return written


def _over(below: Mapping[str, Any], written: _Written) -> _Written:
    """Return a recipe over the content of the one that it extends."""
    above = dict(written.content)
    left_out = above.pop("without", [])
    if not isinstance(left_out, list):
        raise UserError(f"without: {left_out!r}: must be a list, such as [finetune_large]")
    inherited = [step for step in STEPS if step in below]
    for step in left_out:
        if step not in inherited:
            raise UserError(f"without: no section {step!r} to leave out; {meant(step, inherited)}")
        if step in above:
            raise UserError(f"without: {step} is left out, and has a section: remove one of them")
    sections = {step: above[step] or {} for step in STEPS if step in above}
    values = {
        step: (below.get(step) or {}) | section
        for step, section in sections.items()
        if isinstance(section, dict)  # else it is refused later
    }
    kept = {name: value for name, value in below.items() if name not in left_out}
    return written._replace(content=kept | above | values)


def _settings(given: Sequence[str]) -> _Written:
    """Return what the command line sets, as a recipe that extends another."""
    content: dict[str, Any] = {}
    where = {}
    for setting in given:
        name, separator, text = setting.partition("=")
        section, dot, parameter = name.partition(".")
        if not separator:
            raise UserError(f"--set {setting}: write step.parameter=value")
        if section not in (STEPS if dot else (*_SECTIONS[1:], "without", *STEPS)):
            raise UserError(
                f"--set {setting}: no {'step' if dot else 'section'} {section!r}; "
                f"{_meant_setting(name)}"
            )
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UserError(f"--set {setting}: {text!r} is not YAML: put it in quotes") from None
        if dot:
            known = STEPS[section].arguments().get(parameter)
            if known and known.type is str and not isinstance(value, str):
                value = text  # such as gpus, a number that is a string to KFP
            value = {**(content.get(section) or {}), parameter: value}
        content[section] = value
        where[section, parameter] = f"--set {setting}: "
    return _Written(content, frozenset(content), where)


def _meant_setting(name: str) -> str:
    """Return what may have been meant by a name that is neither a section nor in a step."""
    if name in form_fields():
        step, argument = form_fields()[name]
        return f"did you mean {step}.{argument.name}?"
    section, dot, parameter = name.partition(".")
    return meant(section, STEPS if dot else (*_SECTIONS[1:], "without", *STEPS))


def _recipe(written: _Written) -> Recipe:
    content = dict(written.content)
    if "name" not in content:
        raise UserError("a recipe must be a mapping with a name")
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
    mistakes, values = Mistakes(), {}
    candidates: tuple[Candidate, ...] = ()
    with mistakes.collected():
        seeds = tuple(_seeds(content.pop("seeds", None)))
    with mistakes.collected():
        candidates = tuple(_candidates(content.pop("candidates", [])))
    with mistakes.collected():
        drawn = dict(_drawn(content.pop("drawn", {})))
    for step, section in content.items():
        with mistakes.collected():
            own = {name: said for (of, name), said in written.where.items() if of == step}
            values[step] = _section(step, section or {}, defaultdict(str, own))
    mistakes.tell()
    recipe = Recipe(name, description, candidates, seeds, drawn, (), values)
    tasks = pretraining(recipe)
    taken = {task.step for task in tasks}
    taken |= {step for step in STEPS if STEPS[step].component is None}
    _check_sections([step for step in values if step in written.own], taken)
    # Inherited values may be for steps that this recipe does not have, and so may fields.
    values = {step: section for step, section in values.items() if step in taken}
    if "form" not in written.own:
        form = [each for each in form if form_fields().get(each, (each,))[0] in {each, *taken}]
    shown = dict.fromkeys([*_always_shown(taken), *form])
    _check_form(shown, taken)
    recipe = replace(recipe, values=values, form=tuple(shown))
    _check_seeds(recipe)
    used = {each.name for task in pretraining(recipe) for each in task.fields()}
    for field in form if "form" in written.own else ():
        if field not in used:
            raise UserError(f"form: {field} has no effect: its steps have their own values")
    recipe = replace(recipe, form=tuple(field for field in shown if field in used))
    _check_models(tasks)
    task_checks.check(tasks)
    return recipe


def _section(step: str, section: Any, where: defaultdict[str, str]) -> dict[str, Value]:
    """Return the values of a step; messages begin with `where` they are written."""
    if step not in STEPS:
        sections = (*_SECTIONS, "extends", "without", *STEPS)
        raise UserError(f"{where['']}no section {step!r}; {meant(step, sections)}")
    if not isinstance(section, dict):
        raise UserError(f"{where['']}{step}: must be a mapping of parameters to values")
    mistakes, values = Mistakes(), {}
    for name, value in section.items():
        with mistakes.collected(f"{where[name]}{step}: "):
            values[name] = _value(step, name, value)
    mistakes.tell()
    return values


def _value(step: str, name: str, value: object) -> Value:
    known = STEPS[step].arguments()
    if name in OF_CANDIDATES:
        raise UserError(f"{name} belongs to the candidates")
    if name not in known:
        raise UserError(f"no parameter {name!r}; {meant(name, known)}")
    return known[name].parse(value)


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
        for name in unknown or {"backbone"} - set(entry):
            others = f"may have {', '.join(known)}, and values by step"
            hint = others if name == "backbone" else meant(name, (*known, *STEPS), others)
            raise UserError(f"candidates: {entry}: {hint}")
        if not isinstance(entry["backbone"], str):
            raise UserError(f"candidates: {entry}: backbone must be the name of a timm model")
        variant, values = str(entry.get("variant", "")), dict(_own_values(entry))
        if bool(variant) != bool(values):
            raise UserError(
                f"candidates: {entry}: a variant must have values of its own, and a name"
            )
        if variant and not re.fullmatch(r"(?!seed\d)[a-z0-9]+", variant):
            raise UserError(f"candidates: variant {variant!r}: use a-z and 0-9, but not like seed1")
        pretrainings = entry.get("pretraining", [SCRATCH])
        if not isinstance(pretrainings, list) or not pretrainings:
            raise UserError(f"candidates: {entry}: pretraining must be a list, such as [wt, none]")
        for each in pretrainings:
            if each not in PRETRAININGS:
                hint = meant(each, PRETRAININGS, "choose from {}")
                raise UserError(f"candidates: pretraining {each!r}: {hint}")
            candidate = Candidate(
                entry["backbone"],
                each,
                json.dumps(entry.get("backbone_args", {})),
                entry.get("initial_weights", "none"),
                variant,
                values,
            )
            if candidate.name in seen:
                raise UserError(f"candidates: {candidate.name} is listed twice")
            seen.add(candidate.name)
            yield candidate


def _own_values(entry: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Value]]]:
    context = f"candidates: {entry.get('variant', '')}: "
    where: defaultdict[str, str] = defaultdict(lambda: context)
    for step in entry.keys() & STEPS.keys():
        yield step, _section(step, entry[step], where)


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
            if component.target == "train":
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
            hint = f"it is {new} now" if new in allowed else meant(name, own, "choose from {}")
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
