"""Recipes as they are written: YAML, what it extends, and what the command line sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from components.shared.stage.errors import UserError, shortened, shown
from components.shared.stage.suggestions import meant
from pipelines import plain_yaml
from pipelines.steps import STEPS, form_fields

FOLDER = Path(__file__).parent / "recipes"
# Beside those of steps.
SECTIONS = ("name", "description", "form", "seeds", "candidates", "drawn", "extends", "without")
_SETTABLE = tuple(name for name in SECTIONS if name not in ("name", "extends"))


class Written(NamedTuple):
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


def read(path: Path) -> Written:
    """Read a recipe's file.

    Raises:
        UserError: It is no mapping of plain values, or extends no recipe.
        OSError: It cannot be read.
    """
    content, lines = plain_yaml.read(path)
    where = {at: f"line {line}: " for at, line in lines.items()}
    if not isinstance(content, dict):
        raise UserError("a recipe must be a mapping with a name")
    written = Written(content, frozenset(content), where)
    if "extends" in content:
        base, known = content.pop("extends"), {path.stem: path for path in FOLDER.glob("*.yaml")}
        if not isinstance(base, str) or base not in known:
            hint = meant(base, sorted(known))
            raise UserError(f"extends: no recipe {shown(base)} in {FOLDER}; {hint}")
        return over(read(known[base]).content | {"form": []}, written)
    if "without" in content:
        raise UserError("without: this recipe extends no other, so it inherits nothing")
    return written


def over(below: Mapping[str, Any], written: Written) -> Written:
    """Return a recipe over the content of the one that it extends.

    Raises:
        UserError: It leaves out what there is not, or what it sets.
    """
    above = dict(written.content)
    left_out = above.pop("without", [])
    if not isinstance(left_out, list):
        raise UserError(f"without: {shown(left_out)}: must be a list, such as [finetune_large]")
    inherited = [step for step in STEPS if step in below]
    for step in left_out:
        if step not in inherited:
            hint = meant(step, inherited)
            raise UserError(f"without: no section {shown(step)} to leave out; {hint}")
        if step in above:
            raise UserError(f"without: {step} is left out, and has a section: remove one of them")
    sections = {step: {} if above[step] is None else above[step] for step in STEPS if step in above}
    values = {
        step: (below.get(step) or {}) | section
        for step, section in sections.items()
        if isinstance(section, dict)  # else it is refused later
    }
    kept = {name: value for name, value in below.items() if name not in left_out}
    return written._replace(content=kept | above | values)


def settings(given: Sequence[str]) -> Written:
    """Return what the command line sets, as a recipe that extends another.

    Raises:
        UserError: A setting has no value, or names no section or step.
    """
    content: dict[str, Any] = {}
    where = {}
    for setting in given:
        name, separator, text = setting.partition("=")
        section, dot, parameter = name.partition(".")
        at = f"--set {shortened(setting)}: "
        if not separator:
            raise UserError(f"{at}write step.parameter=value")
        if section not in (STEPS if dot else (*_SETTABLE, *STEPS)):
            kind = "step" if dot else "section"
            raise UserError(f"{at}no {kind} {shown(section)}; {_meant_setting(name)}")
        try:
            value = plain_yaml.parse(text).content
        except UserError as error:
            raise UserError(f"{at}{shown(text)} is not YAML: put it in quotes ({error})") from None
        if dot:
            known = STEPS[section].arguments().get(parameter)
            if known and known.type is str and not isinstance(value, str):
                value = text  # such as gpus, a number that is a string to KFP
            before = content.get(section, {})
            if not isinstance(before, dict):
                raise UserError(f"{at}{section} is set to {shown(before)} already")
            value = {**before, parameter: value}
        content[section] = value
        where[section, parameter] = at
    return Written(content, frozenset(content), where)


def _meant_setting(name: str) -> str:
    """Return what may have been meant by a name that is neither a section nor in a step."""
    if name in form_fields():
        step, argument = form_fields()[name]
        return f"did you mean {step}.{argument.name}?"
    section, dot, parameter = name.partition(".")
    return meant(section, STEPS if dot else (*_SETTABLE, *STEPS))
