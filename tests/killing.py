"""A stage that is killed in the middle of its work."""

import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from components.shared import parallel
from components.shared.unfinished import Parts


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
