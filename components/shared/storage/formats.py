"""Our own JSON, in files and in Parquet's metadata: it carries the number of its format.

Whoever changes a format incompatibly gives it the next number, in the module that writes it. An
added key that readers may ignore needs none: they take the keys that they know. JSON without a
number has format 1.
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
    """A file is damaged, or was written by another version of webly."""


@contextmanager
def reading(text: str | bytes, number: int, source: object) -> Iterator[dict[str, Any]]:
    """Parse JSON; yield its content, without the number, to a block that takes what it needs.

    Args:
        text: A JSON object.
        number: The format that the block reads.
        source: The file's name in messages.

    Raises:
        FormatError: It has another format, or is not a JSON object; or the block misses a key.
    """
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise TypeError("not a JSON object")
        if (found := content.pop("format", 1)) != number:
            raise FormatError(
                f"{source}: format {found}, but this version of webly reads format {number}: use "
                "the version that wrote it, or rerun what made it"
            )
        yield content
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise FormatError(
            f"{source}: damaged ({type(error).__name__}: {error}): rerun what made it"
        ) from error


def fill(kind: type[Kind], content: Mapping[str, Any]) -> Kind:
    """Make a dataclass from the values that it knows.

    Raises:
        TypeError: A field without a default has no value.
    """
    names = (field.name for field in fields(kind))
    return kind(**{name: content[name] for name in names if name in content})
