"""Lines that fit the terminal, or 80 columns where there is none."""

import logging
import re
import shutil
import textwrap
from collections.abc import Iterator
from typing import TextIO

_COLUMNS = 80
_LABEL = re.compile(r"\S[\S ]*?  +(?=\S)")


def columns(stream: TextIO) -> int:
    """Return how many columns a line of a stream may have."""
    return shutil.get_terminal_size((_COLUMNS, 24)).columns - 1 if stream.isatty() else _COLUMNS


def shortened(text: str, columns: int) -> str:
    """Return a text of at most so many columns: what is left out is in its middle."""
    if len(text) <= columns:
        return text
    end = (columns - 1) // 2
    return f"{text[: columns - 1 - end]}…{text[len(text) - end :]}"


def wrapped(line: str, columns: int) -> Iterator[str]:
    """Yield a line in lines of at most so many columns, which align with the text behind a label.

    Rows of tables, and what people copy, commands and long paths, stay whole.
    """
    indent = len(line) - len(line.lstrip())
    label = _LABEL.match(line[indent:])
    start = indent + (label.end() if label else 0)
    hanging = min(start if label else indent + 2, columns // 2)
    longest = hanging + max(map(len, line[start:].split()), default=0)
    whole = line.startswith("|") or "python -m " in line or longest > columns
    if whole or len(line) <= columns:
        yield line
        return
    space = " " * hanging
    yield from textwrap.wrap(line, columns, subsequent_indent=space, break_on_hyphens=False)


class Fitting(logging.Formatter):
    """Formats messages as lines that fit a stream."""

    def __init__(self, stream: TextIO) -> None:
        """Fit a stream, whose terminal may change its size."""
        super().__init__("%(message)s")
        self._stream = stream

    def format(self, record: logging.LogRecord) -> str:
        """Return a message's lines."""
        lines = super().format(record).splitlines()
        fitting = (wrapped(line, columns(self._stream)) for line in lines)
        return "\n".join(part for line in fitting for part in line)


def log_here(stream: TextIO) -> None:
    """Log to a terminal what this project says, and nothing of what its libraries do."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Fitting(stream))
    logging.basicConfig(handlers=[handler], level=logging.CRITICAL)
    for name in ("components", "pipelines"):
        logging.getLogger(name).setLevel(logging.INFO)
