"""What libraries write to the standard error by themselves, without saying about which file."""

import functools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


@contextmanager
def captured() -> Iterator[list[str]]:
    """Have all that is written to this process's standard error in a block, as lines at its end.

    Takes some microseconds. What other threads write meanwhile comes along.
    """
    lines: list[str] = []
    file = _file(os.getpid())
    original = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield lines
    finally:
        os.dup2(original, 2)
        os.close(original)
        if os.fstat(file.fileno()).st_size:
            file.seek(0)
            lines += file.read().decode(errors="replace").splitlines()
            file.seek(0)
            file.truncate()


@functools.lru_cache(maxsize=1)
def _file(process: int) -> BinaryIO:
    """Return a process's file to write to: forked ones would share one's position."""
    return tempfile.TemporaryFile(buffering=0)
