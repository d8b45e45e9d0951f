import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from components.shared.storage import formats
from components.shared.storage.formats import FormatError


@dataclass
class Square:
    side: int
    colour: str = "red"


def read(text: str | bytes, number: int = 1) -> Square:
    with formats.reading(text, number, "folder/square.json") as content:
        return formats.fill(Square, content)


@pytest.mark.parametrize(
    "text",
    ['{"format": 2, "side": 3}', b'{"side": 3, "format": 2}', '{"format": 2, "side": 3, "x": 0}'],
)
def test_what_is_known_of_the_same_format_is_read(text: str | bytes) -> None:
    assert read(text, 2) == Square(3)


def test_json_without_a_number_is_of_format_1() -> None:
    assert read('{"side": 3, "colour": "blue"}', 1) == Square(3, "blue")


@pytest.mark.parametrize(("text", "found"), [('{"side": 3}', 1), ('{"format": 3}', 3)])
def test_another_format_is_refused_with_both_numbers(text: str, found: int) -> None:
    with pytest.raises(FormatError) as raised:
        read(text, 2)

    message = f"folder/square.json: format {found}, but this version of webly reads format 2: "
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("text", ['{"side": 3', "", "[3]", "null", b'{"side": "\xff"}', "{}"])
def test_damage_is_said_in_one_line(text: str | bytes) -> None:
    with pytest.raises(FormatError, match=r"^folder/square\.json: damaged \(.*\): .*$"):
        read(text)


def test_a_key_that_is_missed_deep_inside_is_damage() -> None:
    with (
        pytest.raises(FormatError, match=r"damaged \(KeyError: 'side'\)"),
        formats.reading('{"squares": [{}]}', 1, "squares.json") as content,
    ):
        content["squares"][0]["side"]


@dataclass
class Drawing:
    shapes: list[str]
    sizes: dict[str, int | float]
    scale: float = 1.0
    kind: Literal["plain", "shaded"] = "plain"
    anything: Any = None
    layers: Sequence[int] = ()


WHOLE = {"shapes": ["square"], "sizes": {"square": 3.5}}


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 2},
        {"kind": "shaded"},
        {"anything": [1]},
        {"layers": [1, 2]},
        {"sizes": {}, "shapes": []},
    ],
)
def test_values_are_of_their_fields_types(change: dict[str, Any]) -> None:
    assert formats.fill(Drawing, WHOLE | change) == Drawing(**WHOLE | change)


@pytest.mark.parametrize(
    "change",
    [
        {"shapes": "square"},
        {"shapes": [1]},
        {"shapes": None},
        {"sizes": []},
        {"sizes": {"square": "x"}},
        {"scale": True},
        {"scale": "1"},
        {"kind": "other"},
        {"layers": "12"},
        {"layers": [1.5]},
    ],
)
def test_values_of_other_types_are_named(change: dict[str, Any]) -> None:
    (name,) = change
    with pytest.raises(TypeError, match=f"^{name} is "):
        formats.fill(Drawing, WHOLE | change)


def test_a_failing_disk_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output"), formats.guarded(tmp_path / "file"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
