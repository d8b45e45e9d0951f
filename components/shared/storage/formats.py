"""Our own JSON, in files and in Parquet's metadata: it carries the number of its format.

Whoever changes a format incompatibly gives it the next number, in the module that writes it. An
added key that readers may ignore needs none: they take the keys that they know. JSON without a
number has format 1.

Whatever is wrong with a file that a stage has made ends in one sentence: `guarded` is where. Arrays
and tables are opened by `arrays`, on top of it.
"""

import errno
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

from components.shared.stage.errors import TransientError, UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Kind = TypeVar("Kind", bound="DataclassInstance")
_LONGEST = 300  # of an error's text in one of ours
# What an OSError says of a file that is not there or no file; others are the disk's. pyarrow's have
# no number.
_NO_FILE = (None, errno.ENOENT, errno.EISDIR, errno.ENOTDIR)


class FormatError(UserError):
    """A file is damaged, or was written by another version of webly."""


@contextmanager
def guarded(source: object, remedy: str = "rerun what made it") -> Iterator[None]:
    """Say in a sentence what libraries raise for a file that the block reads.

    Args:
        source: The file's name in messages.
        remedy: What to do about one that is damaged or missing.

    Raises:
        FormatError: It is missing, damaged, or no file.
        OSError: The disk fails.
    """
    try:
        yield
    except (UserError, TransientError):
        raise
    except Exception as error:  # parsers raise whatever they come upon
        if isinstance(error, OSError) and error.errno not in _NO_FILE:
            raise
        if isinstance(error, FileNotFoundError):
            raise FormatError(f"{source}: missing: {remedy}") from error
        raise FormatError(
            f"{source}: damaged ({type(error).__name__}: {in_a_line(error)}): {remedy}"
        ) from error


def in_a_line(error: Exception) -> str:
    """Return the beginning of an error's text, of which some take many lines, or its name."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


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
    with guarded(source):
        content = json.loads(text)
        if not isinstance(content, dict):
            raise TypeError("not a JSON object")
        if (found := content.pop("format", 1)) != number:
            raise FormatError(
                f"{source}: format {found}, but this version of webly reads format {number}: use "
                "the version that wrote it, or rerun what made it"
            )
        yield content


@contextmanager
def reading_file(path: Path, number: int) -> Iterator[dict[str, Any]]:
    """Parse a file of JSON, as `reading` does."""
    with guarded(path):
        text = path.read_bytes()
    with reading(text, number, path) as content:
        yield content


def fill(kind: type[Kind], content: Mapping[str, Any]) -> Kind:
    """Make a dataclass from the values that it knows.

    Raises:
        TypeError: A field without a default has no value, or one has a value of another type.
    """
    found = {field: content[field.name] for field in fields(kind) if field.name in content}
    for field, value in found.items():
        if not _is(value, field.type):
            raise TypeError(f"{field.name} is {value!r:.80}")
    return kind(
        **{
            field.name: tuple(value) if get_origin(field.type) is tuple else value
            for field, value in found.items()
        }
    )


def _is(value: object, wanted: Any) -> bool:
    """Return whether a value, and all that is in it, is of a type as JSON has it."""
    kind, inner = get_origin(wanted) or wanted, get_args(wanted)
    if kind is Any:
        return True
    if kind is Literal:
        return value in inner
    if kind is UnionType:
        return any(_is(value, each) for each in inner)
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    if not isinstance(value, (list, tuple) if kind is tuple else kind):
        return False
    if isinstance(value, Mapping):
        return all(_is(each, inner[1]) for each in value.values()) if inner else True
    if isinstance(value, (list, tuple)) and inner:
        return all(_is(each, inner[0]) for each in value)
    return not (isinstance(value, str) and kind is not str)
