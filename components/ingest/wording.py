"""The words of a caption, without what they were wrapped in for storage: JSON, URLs, `nan`."""

import ast
import json
import re
from urllib.parse import unquote_to_bytes

from components.ingest import metadata
from components.ingest.dataset import clean

_NOTHING = {"nan", "none", "null", "n/a", "na", "<na>", "nil", "undefined"}
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_LONGEST_JSON = 100_000  # characters of a field


def words(value: object) -> str:
    """Return a caption as words: those in JSON, decoded if encoded for a URL, none for `nan`."""
    if isinstance(value, str):
        return _written(value)
    if isinstance(value, list | tuple):
        return " ".join(filter(None, map(words, value)))
    if isinstance(value, dict):
        return words([each for each in value.values() if isinstance(each, str | list | dict)])
    return "" if value is None or value != value else str(value)


def tags(value: object) -> str:
    """Return tags as Flickr has them, separated by blanks; those of several words have `_` inside.

    A text's tags are separated by commas or semicolons, else by blanks.
    """
    found = parsed(value.strip()) if isinstance(value, str) else value
    if isinstance(found, str) and re.search("[,;|]", found):
        found = re.split("[,;|]", found)
    if isinstance(found, list | tuple):
        return metadata.tags([words(tag) for tag in found])
    return " ".join(words(found).split())


def _written(text: str) -> str:
    text = text.strip()
    if text.casefold() in _NOTHING:
        return ""
    found = parsed(text)
    if not isinstance(found, str):
        return words(found)
    if "%" in text:
        encoded = " " not in text
        text = _PERCENT.sub(_unquoted, text)
        text = text.replace("+", " ") if encoded and "+" in text else text
    return clean(text)


def parsed(text: str) -> object:
    """Return the list or object that a text is, in JSON or as Python writes it; else the text."""
    if text[:1] + text[-1:] not in ("[]", "{}") or len(text) > _LONGEST_JSON:
        return text
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            pass
    return text


def _unquoted(found: "re.Match[str]") -> str:
    try:
        return unquote_to_bytes(found[0]).decode()
    except UnicodeDecodeError:  # no encoding, but a percent sign
        return found[0]
