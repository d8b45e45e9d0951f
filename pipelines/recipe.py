"""Recipes: which candidates a pipeline trains, with which values, and what its form shows.

`pipelines/recipes/README.md` documents their format.
"""

import json
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.finetune.component import finetune
from components.shared.reports.titles import SCRATCH
from components.shared.stage.errors import Mistakes, UserError, shortened, shown
from components.shared.stage.interface import Value, arguments, plain_text
from components.shared.stage.suggestions import meant
from pipelines import recipe_files, task_checks
from pipelines.demo import webvision
from pipelines.demo.settings import DataSettings
from pipelines.pretraining import pretraining
from pipelines.recipe_files import FOLDER, SECTIONS, Written
from pipelines.steps import (
    CONSTANT,
    OF_CANDIDATES,
    PRETRAININGS,
    STEPS,
    WIRING,
    field_name,
    form_fields,
    renamed,
)
from pipelines.tasks import MOST_TASKS, Task
from pipelines.values import Candidate, Recipe

_LONGEST_DESCRIPTION = 2_000  # it is shown with the form, and Kubernetes keeps both
# Candidates set these two, and seeds the third.
_OF_TRAINING = {each.name: each for each in arguments(finetune.stage)}


def load(name: str, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        name: One of `pipelines/recipes`, or the path of a YAML file.
        settings: Values that take precedence over the recipe's, as `step.parameter=value` or
            `section=value`.

    Raises:
        UserError: There is no such recipe, or something in it is unknown or of the wrong type.
        OSError: Its file cannot be read.
    """
    path = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    if not os.path.isfile(path):  # of no name does it raise an error
        known = sorted(path.stem for path in FOLDER.glob("*.yaml"))
        others = "there are {}, or give the path of a .yaml file"
        raise UserError(f"no recipe {shown(name)}; {meant(path.stem, known, others)}")
    changes = recipe_files.settings(settings)
    try:
        written = recipe_files.read(path)
        return _recipe(recipe_files.over(written.content, changes) if settings else written)
    except UserError as error:
        space = "\n" if "\n" in str(error) else " "
        raise UserError(f"{path}:{space}{error}") from None


def _recipe(written: Written) -> Recipe:
    content = dict(written.content)
    if "name" not in content:
        raise UserError("a recipe must be a mapping with a name")
    name = content.pop("name")
    if not isinstance(name, str):
        raise UserError(f"name: {shown(name)}: must be text: put it in quotes")
    if not re.fullmatch("[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name):  # a label's value, too
        raise UserError(f"name: {shown(name)}: use at most 63 characters of a-z, 0-9 and hyphens")
    description = content.pop("description", "")
    if not isinstance(description, str) or len(description) > _LONGEST_DESCRIPTION:
        raise UserError(
            f"description: {shown(description)} must be text of at most "
            f"{_LONGEST_DESCRIPTION:,} characters"
        )
    form = content.pop("form", [])
    if not isinstance(form, list) or not all(isinstance(field, str) for field in form):
        raise UserError(f"form: {shown(form)} must be a list of fields, such as [finetune_epochs]")
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
            values[step] = _section(step, {} if section is None else section, defaultdict(str, own))
    mistakes.tell()
    if (number := len(candidates) * len(seeds)) > MOST_TASKS:
        raise UserError(
            f"{len(candidates):,} candidates × {len(seeds):,} seeds are {number:,} trainings, more "
            f"than {MOST_TASKS:,}: divide them among recipes of the same name"
        )
    recipe = Recipe(name, description, candidates, seeds, drawn, (), values)
    tasks = pretraining(recipe)
    taken = {task.step for task in tasks}
    taken |= {step for step in STEPS if STEPS[step].component is None}
    _check_sections([step for step in values if step in written.own], taken)
    # Inherited values may be for steps that this recipe does not have, and so may fields.
    values = {step: section for step, section in values.items() if step in taken}
    if "form" not in written.own:
        form = [each for each in form if form_fields().get(each, (each,))[0] in {each, *taken}]
    fields = dict.fromkeys([*_always_shown(taken), *form])
    _check_form(fields, taken)
    recipe = replace(recipe, values=values, form=tuple(fields))
    _check_seeds(recipe)
    used = {each.name for task in pretraining(recipe) for each in task.fields()}
    for field in form if "form" in written.own else ():
        if field not in used:
            raise UserError(f"form: {field} has no effect: its steps have their own values")
    recipe = replace(recipe, form=tuple(field for field in fields if field in used))
    _check_models(tasks)
    task_checks.check(tasks)
    return recipe


def _section(step: str, section: Any, where: defaultdict[str, str]) -> dict[str, Value]:
    """Return the values of a step; messages begin with `where` they are written."""
    if step not in STEPS:
        raise UserError(f"{where['']}no section {shown(step)}; {meant(step, (*SECTIONS, *STEPS))}")
    if not isinstance(section, dict):
        raise UserError(
            f"{where['']}{step}: must be a mapping of parameters to values, not {shown(section)}"
        )
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
        raise UserError(f"no parameter {shown(name)}; {meant(name, known)}")
    return known[name].parse(value)


def _drawn(entries: Any) -> Iterator[tuple[str, DataSettings]]:
    if not isinstance(entries, dict):
        raise UserError(
            f"drawn: {shown(entries)}: must map folders to settings, such as runs/demo/data: {{}}"
        )
    for folder, settings in entries.items():
        try:
            if not isinstance(settings, dict):
                raise UserError(f"{shown(settings)}: must be a mapping of settings, such as {{}}")
            plain_text(folder)
            yield folder, webvision.parse(settings)
        except UserError as error:
            raise UserError(f"drawn: {shortened(folder)}: {error}") from None


def _seeds(entries: Any) -> Iterator[int | None]:
    if entries is None:
        yield None
        return
    whole = isinstance(entries, list) and all(type(seed) is int for seed in entries)
    if not whole or not entries or len(set(entries)) < len(entries):
        raise UserError(f"seeds: {shown(entries)}: must be distinct integers, such as [0, 1]")
    for seed in entries:
        yield int(_of_training("seed", "seeds: ", seed))


def _candidates(entries: Any) -> Iterator[Candidate]:
    if not entries:
        raise UserError("candidates: there must be at least one")
    if not isinstance(entries, list):
        raise UserError(f"candidates: {shown(entries)}: must be a list of mappings")
    seen = set()
    for entry in entries:
        for candidate in _of_entry(entry):
            if candidate.name in seen:
                raise UserError(f"candidates: {candidate.name} is listed twice")
            seen.add(candidate.name)
            yield candidate


def _of_entry(entry: Any) -> Iterator[Candidate]:
    """Yield an entry's candidates, one for each of its pretrainings."""
    known = ("backbone", "pretraining", "backbone_args", "initial_weights", "variant")
    unknown = set(entry) - {*known, *STEPS} if isinstance(entry, dict) else {""}
    for name in unknown or {"backbone"} - set(entry):
        others = f"may have {', '.join(known)}, and values by step"
        hint = others if name == "backbone" else meant(name, (*known, *STEPS), others)
        raise UserError(f"candidates: {shown(entry)}: {hint}")
    where = f"candidates: {shown(entry)}: "
    backbone = str(_of_training("backbone", where, entry["backbone"]))
    variant, values = entry.get("variant", ""), dict(_own_values(entry))
    if not isinstance(variant, str):
        raise UserError(f"{where}variant must be text: put it in quotes")
    if (values and not variant) or (variant and not (values or "initial_weights" in entry)):
        raise UserError(f"{where}a variant must have values of its own, and a name")
    if "initial_weights" in entry:
        values["initial_model"] = {"weights": _weights(entry["initial_weights"])}
    if variant and not re.fullmatch(r"(?!seed[0-9])[a-z0-9]{1,40}", variant):
        raise UserError(
            f"candidates: variant {shown(variant)}: use a-z and 0-9, at most 40 of them, but not "
            "like seed1"
        )
    backbone_args = json.dumps(entry.get("backbone_args", {}))
    _of_training("backbone_args", where, backbone_args)
    pretrainings = entry.get("pretraining", [SCRATCH])
    if not isinstance(pretrainings, list) or not pretrainings:
        raise UserError(f"{where}pretraining must be a list, such as [wt, none]")
    for each in pretrainings:
        if not isinstance(each, str) or each not in PRETRAININGS:
            hint = meant(each, PRETRAININGS, "choose from {}")
            raise UserError(f"candidates: pretraining {shown(each)}: {hint}")
        yield Candidate(backbone, each, backbone_args, variant, values)


def _of_training(name: str, where: str, value: object) -> Value:
    """Return the value of a training's parameter that the recipe sets elsewhere."""
    try:
        return _OF_TRAINING[name].parse(value)
    except UserError as error:
        raise UserError(f"{where}{error}") from None


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
        if name not in (*CONSTANT, *WIRING)
    }
    for name in form:
        if name not in allowed:
            new = renamed(name)
            step = max((each for each in taken if name.startswith(f"{each}_")), key=len, default="")
            own = [each for each in sorted(allowed) if each.startswith(step)]
            hint = f"it is {new} now" if new in allowed else meant(name, own, "choose from {}")
            raise UserError(f"form: {shown(name)} cannot be a field; {hint}")


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
