"""A stage that is killed in the middle of its work, and what it does after that."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.shared.stage import parallel
from components.shared.storage.resume import Parts


def killed_after(part: int, stage: Callable[[], object]) -> None:
    """Run a stage in a process of its own, with two workers; SIGKILL it when a part is saved.

    Args:
        part: The part's number.
        stage: Runs the stage.
    """
    alive, held = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            _kill_after(part, os.getpid())
            stage()
        finally:
            os._exit(0)
    os.close(held)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    os.read(alive, 1)  # the end of the pipe, when its workers have ended, too
    os.close(alive)


def _kill_after(part: int, process: int) -> None:
    patch, save = pytest.MonkeyPatch(), Parts.save

    def killing(self: Parts, number: int, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
        save(self, number, arrays)
        if number == part:
            os.kill(process, signal.SIGKILL)

    patch.setattr(Parts, "save", killing)
    patch.setattr(parallel, "cores", lambda: 2)


class Calls:
    """With which numbers a method is called, also by workers."""

    def __init__(self, of: type, method: str, log: Path, patch: pytest.MonkeyPatch) -> None:
        """Log the calls from now on, to a file."""
        self._log, called = log, getattr(of, method)

        def logged(self: Any, number: int) -> Any:
            with log.open("a") as file:
                file.write(f"{number}\n")
            return called(self, number)

        patch.setattr(of, method, logged)

    def taken(self) -> list[int]:
        """Return the numbers in their order, and forget them."""
        numbers = sorted(map(int, self._log.read_text().split())) if self._log.exists() else []
        self._log.unlink(missing_ok=True)
        return numbers
