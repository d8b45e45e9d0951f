"""WebVision's metadata: JSON lists of records, some of which JSON does not allow.

Records are known by their position in the list, so a lost record leaves its position empty.
"""

import json
import re
from typing import NamedTuple

from components.ingest.dataset import clean

# An escape that JSON knows, or a lone backslash.
_BACKSLASH = re.compile(r'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|)')
# The end of a record: within a text, the quote would be escaped.
_RECORD_END = re.compile(r'\}\s*(?:,\s*(?=\{\s*")|\]?\s*\Z)')
_FIRST_RECORD = re.compile(r'\{\s*"')
_DECODER = json.JSONDecoder(strict=False)  # line feeds within texts do no harm


class Record(NamedTuple):
    """A record's fields, and how it was broken: empty, `repaired record` or `lost record`."""

    fields: dict[str, object]
    kind: str = ""
    detail: str = ""


def records(content: bytes) -> list[Record]:
    """Return the records of a metadata file, in order.

    Where the file as a whole is not JSON, each record is read on its own: as it is, else with
    a second backslash before those that begin no escape, else it counts as lost.
    """
    text = content.decode(errors="replace")
    try:
        decoded = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return _salvaged(text)
    if not isinstance(decoded, list):
        return [Record({}, "lost record", "the file is no list of records")]
    return [_record(item) for item in decoded]


def text(value: object) -> str:
    """Return a field as text: a list's items are joined by blanks, what is absent is empty."""
    if isinstance(value, list):
        return " ".join(map(text, value))
    return "" if value is None else clean(str(value))


def tags(value: object) -> str:
    """Return tags, separated by blanks as Flickr has them; those of several words have `_` inside.

    A list's items are tags; in a text each word is one.
    """
    if isinstance(value, list):
        return " ".join(filter(None, ("_".join(text(tag).split()) for tag in value)))
    return text(value)


def _record(item: object, kind: str = "", detail: str = "") -> Record:
    if isinstance(item, dict):
        return Record(item, kind, detail)
    return Record({}, "lost record", f"not an object: {str(item)[:80]}")


def _salvaged(text: str) -> list[Record]:
    found = []
    begin = _FIRST_RECORD.search(text)
    position = begin.start() if begin else len(text)
    while position < len(text):
        end = _RECORD_END.search(text, position)
        stop, following = (end.start() + 1, end.end()) if end else (len(text), len(text))
        found.append(record(text[position:stop]))
        position = following
    return found


def record(text: str) -> Record:
    """Return a record as it is, else repaired as `records` does, else as lost."""
    try:
        return _record(_DECODER.decode(text))
    except (ValueError, RecursionError) as error:
        detail = str(error)
    try:
        repaired = _BACKSLASH.sub(lambda found: found[0] if found[1] else r"\\", text)
        return _record(_DECODER.decode(repaired), "repaired record", detail)
    except (ValueError, RecursionError):
        return Record({}, "lost record", detail)
