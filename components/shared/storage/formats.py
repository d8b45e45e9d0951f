"""JSON of our own, in files and in Parquet's metadata: it says the number of its format.

Who changes a format so that others would misread it gives it the next number, in the module that
writes it. A key that they may ignore needs none: readers take the keys that they know. JSON without
a number is of format 1.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from components.shared.stage.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Kind = TypeVar("Kind", bound="DataclassInstance")


class FormatError(UserError):
    """A file that another version of webly has written, or that is damaged."""


@contextmanager
def reading(text: str | bytes, number: int, source: object) -> Iterator[dict[str, Any]]:
    """Yield what JSON says, without its number, to a block that takes from it what it needs.

    Args:
        text: A JSON object.
        number: The format that the block reads.
        source: What to call the file in messages.

    Raises:
        FormatError: It is of another format, or no JSON object; or the block misses a key.
    """
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise TypeError("not a JSON object")
        if (found := content.pop("format", 1)) != number:
            raise FormatError(
                f"{source}: format {found}, but this version of webly reads format {number}: use "
                "the version that wrote it, or run again what made it"
            )
        yield content
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise FormatError(
            f"{source}: damaged ({type(error).__name__}: {error}): run again what made it"
        ) from error


def fill(kind: type[Kind], content: Mapping[str, Any]) -> Kind:
    """Return a dataclass with the values that it knows.

    Raises:
        TypeError: There is none for a field without a default.
    """
    names = (field.name for field in fields(kind))
    return kind(**{name: content[name] for name in names if name in content})
