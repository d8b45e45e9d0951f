"""A run's folder: locked by the process that uses it, and what its stages learn of it."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from components.shared.stage.errors import UserError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a run's folder for this process; it is made if it is not there.

    Raises:
        UserError: Another process holds the lock.
        OSError: There cannot be such a folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"{folder}: in use by process {file.read()}; wait for it, or choose "
                "another folder with --run"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def environment(folder: Path, jobs: int) -> Mapping[str, str]:
    """Return the environment of the runner and its stages; the user's takes precedence."""
    threads = max(1, (os.cpu_count() or 1) // max(1, jobs))
    return {
        "WEBLY_STORE": str(folder / "store"),
        "WEBLY_CHECKPOINTS": str(folder / "checkpoints"),
        "WEBLY_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": str(threads),
        **os.environ,
    }
