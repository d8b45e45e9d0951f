"""Recipes as they are written: YAML, what it extends, and what the command line sets."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from components.shared.stage.errors import UserError
from components.shared.stage.suggestions import meant
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
        UserError: It is no mapping in UTF-8, sets something twice, or extends no recipe.
        yaml.YAMLError: It is not YAML.
    """
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
    written = Written(content, frozenset(content), where)
    if "extends" in content:
        base = FOLDER / f"{content.pop('extends')}.yaml"
        if not base.is_file():
            known = sorted(path.stem for path in FOLDER.glob("*.yaml"))
            raise UserError(
                f"extends: no recipe {base.stem!r} in {FOLDER}; {meant(base.stem, known)}"
            )
        return over(read(base).content | {"form": []}, written)
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
        if not separator:
            raise UserError(f"--set {setting}: write step.parameter=value")
        if section not in (STEPS if dot else (*_SETTABLE, *STEPS)):
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
    return Written(content, frozenset(content), where)


def _meant_setting(name: str) -> str:
    """Return what may have been meant by a name that is neither a section nor in a step."""
    if name in form_fields():
        step, argument = form_fields()[name]
        return f"did you mean {step}.{argument.name}?"
    section, dot, parameter = name.partition(".")
    return meant(section, STEPS if dot else (*_SETTABLE, *STEPS))


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
