from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from components.shared.stage.errors import UserError
from components.shared.stage.interface import (
    Argument,
    InputModels,
    OutputDataset,
    arguments,
    call,
    summary,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A shape.

    Attributes:
        width: In pixels.
    """

    width: int = 3


def stage(
    models: InputModels,
    table: OutputDataset,
    *,
    shape: Shape,
    mode: Literal["fast", "fine"] = "fast",
) -> None:
    """Do something
    with models.

    More of it.

    Args:
        models: Several: of them,
            and more.
        table: A table.
        shape: A shape.
        mode: A choice.
    """
    table.write_text(f"{len(models)} {shape.width} {mode}")


def test_arguments_follow_the_signature_with_settings_spread_out() -> None:
    found = {argument.name: argument for argument in arguments(stage)}

    assert list(found) == ["models", "table", "width", "mode"]
    assert found["models"].artifact is not None and found["models"].artifact.many
    assert found["models"].help == "Several: of them, and more."
    assert found["table"].artifact is not None and found["table"].artifact.output
    assert (found["width"].settings, found["width"].default) == ("shape", 3)
    assert (found["mode"].type, found["mode"].choices) == (str, ("fast", "fine"))
    assert summary(stage) == "Do something with models."


def test_a_call_puts_settings_together_and_leaves_defaults(tmp_path: Path) -> None:
    call(stage, {"models": [tmp_path], "table": tmp_path / "t", "width": 5})

    assert (tmp_path / "t").read_text() == "1 5 fast"


@pytest.mark.parametrize(
    ("type", "value", "parsed"),
    [
        (int, "1_000", 1000),
        (int, 20.0, 20),
        (float, "1e-4", 1e-4),
        (float, 1, 1.0),
        (bool, "True", True),
        (bool, False, False),
        (str, "", ""),
        (str, "1", "1"),
    ],
)
def test_a_value_gets_its_type(type: type, value: object, parsed: object) -> None:
    result = Argument("x", "", None, type, (), None).parse(value)

    assert result == parsed
    assert result.__class__ is type


@pytest.mark.parametrize(
    ("type", "value", "message"),
    [
        (int, "1.5", "x='1.5': must be an integer"),
        (int, 1.5, "must be an integer"),
        (int, True, "must be an integer"),
        (float, "", "a number"),
        (float, True, "a number"),
        (bool, "yes", "true or false"),
        (bool, 1, "true or false"),
        (str, 1, "a string"),
    ],
)
def test_a_value_of_another_type_is_refused(type: type, value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Argument("x", "", None, type, (), None).parse(value)


def test_a_value_that_is_no_choice_is_refused_with_the_choices() -> None:
    with pytest.raises(UserError, match="mode='slow': choose one of fast, fine"):
        Argument("mode", "", None, str, ("fast", "fine"), "fast").parse("slow")


def undocumented(table: OutputDataset, *, size: int = 1) -> None:
    """Do something.

    Args:
        table: A table.
    """


def without_default(table: OutputDataset, *, size: int) -> None:
    """Do something.

    Args:
        table: A table.
        size: A size.
    """


def of_no_known_type(table: OutputDataset, *, size: list = []) -> None:  # noqa: B006
    """Do something.

    Args:
        table: A table.
        size: A size.
    """


def parameter_before_star(table: OutputDataset, size: int = 1) -> None:
    """Do something.

    Args:
        table: A table.
        size: A size.
    """


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (undocumented, "lacks or adds {'size'}"),
        (without_default, "size: a parameter is an int, float, str, bool or Literal"),
        (of_no_known_type, "size: a parameter is an int, float, str, bool or Literal"),
        (parameter_before_star, "size: .* parameters come after"),
    ],
)
def test_what_is_no_stage_is_refused(wrong: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        arguments(wrong)
