"""What a stage is: a plain function whose signature declares its artifacts and parameters.

    def tagging(
        texts: InputDataset, keywords: OutputDataset, report: OutputHTML, metrics: OutputMetrics, *,
        vocabulary_size: int = 35_000, max_share: float = 0.05,
    ) -> None:
        \"\"\"Tag each image with … (and an `Args:` section that describes each argument).\"\"\"

The command line (`cli.py`), the KFP component (`container.py`) and the call in a test all follow
from this signature and docstring; a parameter is written nowhere else. Parameters that several
stages share are the fields of one dataclass, taken as one argument (`training: TrainingSettings`)
and described in its `Attributes:`; to the command line and to KFP each field is a parameter.
"""

import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from components.shared.stage.errors import UserError

Stage = Callable[..., None]
Value = int | float | str | bool


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


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a stage: an artifact, or a parameter with a default.

    Attributes:
        name: As in the signature.
        help: From the docstring's `Args:`.
        artifact: None for a parameter.
        type: `Path` for an artifact, else `int`, `float`, `str` or `bool`.
        choices: The values allowed, for a `Literal`; else empty.
        default: A parameter's default; None for artifacts.
        optional: Whether the artifact may be left out.
        settings: For a field of settings, the name of the stage's argument that holds it.
    """

    name: str
    help: str
    artifact: Artifact | None
    type: type
    choices: tuple[str, ...]
    default: Value | None
    optional: bool = False
    settings: str | None = None

    def parse(self, value: object) -> Value:
        """Parse a parameter's value, from a command-line argument or a JSON value.

        Raises:
            UserError: The value is not of that type, or not among the choices.
        """
        if self.choices and value not in self.choices:
            raise UserError(f"{self.name}={value!r}: choose one of {', '.join(self.choices)}")
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
        raise UserError(f"{self.name}={value!r}: must be {_KINDS[self.type]}")


_KINDS = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}


def _is_integer(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, str):
        return re.fullmatch(r"[+-]?\d[\d_]*", value) is not None
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool)


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
            found += _fields(hints[name], name)
        elif parameter.kind is parameter.KEYWORD_ONLY:
            found.append(_parameter(name, helps[name], hints[name], parameter.default))
        else:
            found.append(_artifact(name, helps[name], hints[name]))
    return found


def call(stage: Stage, values: Mapping[str, object]) -> None:
    """Call a stage with values by argument name, gathering fields into settings."""
    hints = typing.get_type_hints(stage)
    direct: dict[str, object] = {}
    settings: dict[str, dict[str, object]] = {
        name: {} for name, hint in hints.items() if is_dataclass(hint)
    }
    for argument in arguments(stage):
        if argument.name in values:
            holder = settings[argument.settings] if argument.settings else direct
            holder[argument.name] = values[argument.name]
    stage(**direct, **{name: hints[name](**given) for name, given in settings.items()})


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
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
    kind = str if choices else hint
    if kind not in _KINDS or type(default) is not kind:
        raise TypeError(f"{name}: a parameter is an int, float, str, bool or Literal, with default")
    return Argument(name, help, None, kind, choices, default)


def _fields(settings: type, name: str) -> list[Argument]:
    hints, helps = typing.get_type_hints(settings), _helps(settings, "Attributes")
    found = []
    for field in fields(settings):
        assert field.default is not MISSING, f"{settings.__name__}.{field.name} has no default"
        argument = _parameter(field.name, helps[field.name], hints[field.name], field.default)
        found.append(replace(argument, settings=name))
    return found


def _helps(documented: object, heading: str) -> dict[str, str]:
    """Return {name: text} of a section of a Google docstring."""
    docstring = inspect.getdoc(documented) or ""
    section = re.search(rf"^{heading}:\n((?:[ ]+.*\n?|\n)+)", docstring, re.MULTILINE)
    if not section:
        return {}
    entries = re.split(r"^(?=\w+: )", textwrap.dedent(section[1]), flags=re.MULTILINE)
    pairs = (entry.split(": ", 1) for entry in entries if entry.strip())
    return {name.strip(): " ".join(text.split()) for name, text in pairs}
