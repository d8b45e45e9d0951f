from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from components.shared.stage.errors import UserError
from components.shared.stage.interface import (
    Argument,
    InputModels,
    Location,
    OutputDataset,
    Range,
    arguments,
    call,
    check_fields,
    summary,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A shape.

    Attributes:
        width: In pixels.
    """

    width: Annotated[int, Range(at_least=1)] = 3

    def __post_init__(self) -> None:
        check_fields(self)


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
    assert found["width"].help == "In pixels. At least 1."
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
        (float, "", "a finite number"),
        (float, True, "a finite number"),
        (float, "nan", "a finite number"),
        (float, float("inf"), "a finite number"),
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


@pytest.mark.parametrize(
    ("range", "inside", "outside", "words"),
    [
        (Range(at_least=1), [1, 9], [0, -3], "at least 1"),
        (Range(above=0, at_most=1), [1e-9, 1.0], [0.0, 1.1], "above 0 and at most 1"),
        (Range(at_least=0, below=2**32), [0, 2**32 - 1], [-1, 2**32], "below 4,294,967,296"),
    ],
)
def test_a_number_out_of_its_range_is_refused_with_the_range(
    range: Range, inside: list[float], outside: list[float], words: str
) -> None:
    argument = Argument("x", "", None, float, (), 1.0, rules=(range,))

    assert [argument.parse(value) for value in inside] == inside
    for value in outside:
        with pytest.raises(UserError, match=f"x={float(value)}: must be .*{words}"):
            argument.parse(value)


@pytest.mark.parametrize("value", ["", "gs://bucket/data", "s3://", "s3:///"])
def test_what_is_no_location_is_refused(value: str) -> None:
    argument = Argument("data", "", None, str, (), "", rules=(Location(),))

    with pytest.raises(UserError, match=f"data='{value}': must be a folder, or s3://bucket"):
        argument.parse(value)


def test_a_location_is_on_this_machine_on_s3_or_another_word() -> None:
    rule = Location(other="none")

    assert [rule.is_local(value) for value in ("data", "/data", "s3://b/data", "none")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_call_refuses_what_is_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="width=0: must be at least 1"):
        call(stage, {"models": [tmp_path], "table": tmp_path / "t", "width": "0"})
    with pytest.raises(UserError, match="width=0: must be at least 1"):
        Shape(width=0)

    assert not (tmp_path / "t").exists()


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
