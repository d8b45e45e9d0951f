"""What a stage is: a plain function whose signature declares its artifacts and parameters.

    def tagging(
        texts: InputDataset, keywords: OutputDataset, report: OutputHTML, *,
        vocabulary_size: Annotated[int, Range(at_least=1)] = 35_000,
        max_share: Annotated[float, Range(above=0, at_most=1)] = 0.05,
    ) -> None:
        \"\"\"Tag each image with … (and an `Args:` section that describes each argument).\"\"\"

The command line (`cli.py`), the KFP component (`container.py`) and the call in a test all follow
from this signature and docstring; a parameter is written nowhere else. Parameters that several
stages share, or that only make sense together, are the fields of one dataclass, taken as one
argument (`training: TrainingSettings`) and described in its `Attributes:`; to the command line and
to KFP each field is a parameter. Its `__post_init__` calls `check_fields`, then looks at what no
field alone can be blamed for.
"""

import functools
import inspect
import json
import math
import re
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from components.shared.stage.errors import UserError, shown
from components.shared.stage.suggestions import meant

Stage = Callable[..., None]
Value = int | float | str | bool
# Takes a parameter's value, and raises a UserError that says what it must be.
Rule = Callable[[Any], object]
# A parameter travels in one argument of a command, of which Linux takes 128 KiB, as JSON within
# JSON: each of its characters may take four bytes there.
MOST_CHARACTERS = 30_000
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Artifact:
    """Marks a file or folder in a stage's signature.

    Attributes:
        type: KFP's name for what it holds, such as `Dataset` or `HTML`.
        output: Whether the stage makes it.
        many: Whether it is a list of them (inputs only).
    """

    type: str
    output: bool
    many: bool = False


InputDataset = Annotated[Path, Artifact("Dataset", output=False)]
InputDatasets = Annotated[list[Path], Artifact("Dataset", output=False, many=True)]
InputModel = Annotated[Path, Artifact("Model", output=False)]
InputModels = Annotated[list[Path], Artifact("Model", output=False, many=True)]
OutputDataset = Annotated[Path, Artifact("Dataset", output=True)]
OutputModel = Annotated[Path, Artifact("Model", output=True)]
# The next four also reach KFP's UI: Metrics is a JSON file of scalars, ClassificationMetrics a
# JSON file with `confusionMatrix`; both are copied into the artifact's metadata.
OutputHTML = Annotated[Path, Artifact("HTML", output=True)]
OutputMarkdown = Annotated[Path, Artifact("Markdown", output=True)]
OutputMetrics = Annotated[Path, Artifact("Metrics", output=True)]
OutputClassificationMetrics = Annotated[Path, Artifact("ClassificationMetrics", output=True)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """The numbers that a parameter may be: those within all bounds that are given."""

    at_least: float = -math.inf
    above: float = -math.inf
    at_most: float = math.inf
    below: float = math.inf

    def __call__(self, value: float) -> None:
        """Refuse a number that is out of the range."""
        if not (self.at_least <= value <= self.at_most and self.above < value < self.below):
            raise UserError(f"must be {self}")

    def __str__(self) -> str:
        """Return the range in words."""
        bounds = {bound.name.replace("_", " "): getattr(self, bound.name) for bound in fields(self)}
        given = [f"{words} {limit:,}" for words, limit in bounds.items() if math.isfinite(limit)]
        return " and ".join(given)


@dataclass(frozen=True, slots=True)
class Location:
    """Says that a parameter names a folder, local or s3://.

    Attributes:
        other: A pattern of its values that are not locations, such as `none`.
        named: These values in words, where people are to be told.
    """

    other: str = "(?!)"  # matches nothing
    named: str = ""

    def __call__(self, value: str) -> None:
        """Refuse what is neither a path nor an S3 URI."""
        scheme, separator, rest = value.partition("://")
        if not value or (separator and (scheme != "s3" or not rest.strip("/"))):
            others = f", or {self.named}" if self.named else ""
            raise UserError(f"must be a folder, or s3://bucket/prefix{others}")

    def is_local(self, value: str) -> bool:
        """Return whether a value is a folder's path."""
        return "://" not in value and not re.fullmatch(self.other, value)


def json_object(value: str) -> None:
    """Refuse a text that is no JSON object, or has numbers that are none in JSON."""
    try:
        content = json.loads(value)
        json.dumps(content, allow_nan=False)  # 1e999 is infinite, too
    except (ValueError, RecursionError):  # also of a number with thousands of digits
        content = None
    if not isinstance(content, dict):
        raise UserError(
            'must be a JSON object, such as {"drop_rate": 0.1}, of finite numbers and text'
        )


def model_name(value: str) -> None:
    """Refuse what cannot be the name of a timm model."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_./:-]{0,119}", value):
        raise UserError("must be the name of a timm model, such as resnet50")


def plain_text(value: str) -> None:
    """Refuse what commands, files and KFP cannot carry unchanged."""
    if len(value) > MOST_CHARACTERS:
        raise UserError(f"has {len(value):,} characters, of at most {MOST_CHARACTERS:,}")
    if _UNPRINTABLE.search(value):
        raise UserError("must be text in UTF-8 on one line, without control characters")
    if "{{" in value:
        raise UserError("must not have {{, which begins a placeholder of Kubeflow's")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a stage: an artifact, or a parameter with a default.

    Attributes:
        name: As in the signature.
        help: From the docstring's `Args:`, and the range.
        artifact: None for a parameter.
        type: `Path` for an artifact, else `int`, `float`, `str` or `bool`.
        choices: The values allowed, for a `Literal`; else empty.
        default: A parameter's default; None for artifacts.
        optional: Whether the artifact may be left out.
        settings: For a field of settings, the name of the stage's argument that holds it.
        rules: What a parameter's value must keep to, as it is annotated.
    """

    name: str
    help: str
    artifact: Artifact | None
    type: type
    choices: tuple[str, ...]
    default: Value | None
    optional: bool = False
    settings: str | None = None
    rules: tuple[Rule, ...] = ()

    def parse(self, value: object) -> Value:
        """Parse a parameter's value, from a command-line argument or a JSON value.

        Raises:
            UserError: The value is not of that type, not among the choices, or against a rule.
        """
        parsed = self._typed(value)
        rules: tuple[Rule, ...] = (plain_text,) if self.type is str else ()
        for rule in rules + self.rules:
            try:
                rule(parsed)
            except UserError as error:
                raise UserError(f"{self.name}={shown(parsed)}: {error}") from None
        return parsed

    def _typed(self, value: object) -> Value:
        if self.choices and value not in self.choices:
            said = meant(value, self.choices, "choose one of {}")
            raise UserError(f"{self.name}={shown(value)}: {said}")
        words = {"true": True, "false": False}
        match self.type, value:
            case (builtins_bool, bool()) if builtins_bool is bool:
                return bool(value)
            case (builtins_bool, str()) if builtins_bool is bool and value.lower() in words:
                return words[value.lower()]
            case (text, str()) if text is str:
                return value
            case (integer, int() | str() | float()) if integer is int and _is_integer(value):
                return int(float(value)) if isinstance(value, float) else int(value)
            case (real, int() | float() | str()) if real is float and _is_number(value):
                return float(value)
        raise UserError(f"{self.name}={shown(value)}: must be {_KINDS[self.type]}")


_KINDS = {int: "an integer", float: "a finite number", bool: "true or false", str: "a string"}


def _is_integer(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, str):  # of no more digits than any parameter may have
        return re.fullmatch("[+-]?[0-9][0-9_]{0,39}", value) is not None
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _is_number(value: object) -> bool:
    written = r"[+-]?[0-9.][0-9_.eE+-]{0,59}"
    if isinstance(value, bool) or (isinstance(value, str) and not re.fullmatch(written, value)):
        return False
    try:
        return math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False


def arguments(stage: Stage) -> list[Argument]:
    """Return a stage's arguments in the order of its signature.

    Raises:
        TypeError: The signature or docstring is not that of a stage (a programmer's mistake).
    """
    hints = typing.get_type_hints(stage, include_extras=True)
    helps = _helps(stage, "Args")
    signature = inspect.signature(stage).parameters
    if set(signature) != set(helps):
        raise TypeError(f"{stage.__name__}: Args: lacks or adds {set(signature) ^ set(helps)}")
    found = []
    for name, parameter in signature.items():
        if is_dataclass(hints[name]):
            found += [replace(each, settings=name) for each in _fields(hints[name])]
        elif parameter.kind is parameter.KEYWORD_ONLY:
            found.append(_parameter(name, helps[name], hints[name], parameter.default))
        else:
            found.append(_artifact(name, helps[name], hints[name]))
    return found


def call(stage: Stage, values: Mapping[str, object]) -> None:
    """Call a stage.

    Args:
        stage: The stage.
        values: Its inputs and outputs as paths, its parameters as text or as JSON has them.

    Raises:
        UserError: A parameter's value is not allowed.
    """
    stage(**bound(stage, values))


def bound(stage: Stage, values: Mapping[str, object]) -> dict[str, object]:
    """Return what a stage is called with: parameters parsed, fields gathered into settings.

    Args:
        stage: The stage.
        values: As in `call`; those that are no arguments of the stage are left out.

    Raises:
        UserError: A parameter's value is not allowed, alone or beside the others.
    """
    hints = typing.get_type_hints(stage)
    direct: dict[str, object] = {}
    settings: dict[str, dict[str, object]] = {
        name: {} for name, hint in hints.items() if is_dataclass(hint)
    }
    for argument in arguments(stage):
        if argument.name in values:
            value = values[argument.name]
            holder = settings[argument.settings] if argument.settings else direct
            holder[argument.name] = value if argument.artifact else argument.parse(value)
    return direct | {name: hints[name](**given) for name, given in settings.items()}


def check_fields(settings: Any) -> None:
    """Refuse settings with a field whose value is not allowed.

    Raises:
        UserError: There is one.
    """
    kind: type = type(settings)
    for argument in _fields(kind):
        argument.parse(getattr(settings, argument.name))


def summary(stage: Stage) -> str:
    """Return the first paragraph of a stage's docstring, on one line."""
    return " ".join((inspect.getdoc(stage) or "").split("\n\n")[0].split())


def _artifact(name: str, help: str, hint: Any) -> Argument:
    alternatives = typing.get_args(hint)
    optional = typing.get_origin(hint) in (typing.Union, types.UnionType)
    if optional:
        (hint,) = (part for part in alternatives if part is not type(None))
    if typing.get_origin(hint) is not Annotated:
        raise TypeError(f"{name}: {hint} is not an artifact; parameters come after *")
    (artifact,) = hint.__metadata__
    return Argument(name, help, artifact, Path, (), None, optional)


def _parameter(name: str, help: str, hint: Any, default: Any) -> Argument:
    rules: tuple[Rule, ...] = ()
    if typing.get_origin(hint) is Annotated:
        hint, rules = hint.__origin__, hint.__metadata__
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
    kind = str if choices else hint
    if kind not in _KINDS or type(default) is not kind:
        raise TypeError(f"{name}: a parameter is an int, float, str, bool or Literal, with default")
    ranges = [f"{rule}".capitalize() for rule in rules if isinstance(rule, Range)]
    help = " ".join([help, *(f"{each}." for each in ranges)])
    return Argument(name, help, None, kind, choices, default, rules=rules)


@functools.cache
def _fields(settings: type) -> tuple[Argument, ...]:
    hints = typing.get_type_hints(settings, include_extras=True)
    helps = _helps(settings, "Attributes")
    found = []
    for field in fields(settings):
        assert field.default is not MISSING, f"{settings.__name__}.{field.name} has no default"
        found.append(_parameter(field.name, helps[field.name], hints[field.name], field.default))
    return tuple(found)


def _helps(documented: object, heading: str) -> dict[str, str]:
    """Return {name: text} of a section of a Google docstring."""
    docstring = inspect.getdoc(documented) or ""
    section = re.search(rf"^{heading}:\n((?:[ ]+.*\n?|\n)+)", docstring, re.MULTILINE)
    if not section:
        return {}
    entries = re.split(r"^(?=\w+: )", textwrap.dedent(section[1]), flags=re.MULTILINE)
    pairs = (entry.split(": ", 1) for entry in entries if entry.strip())
    return {name.strip(): " ".join(text.split()) for name, text in pairs}
