"""An ingest's working directory: it may be lost, as whatever must not be lost is in the store."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.shared.stage import environment
from components.shared.stage.container import component
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem

_FULL = (errno.ENOSPC, errno.EDQUOT)


def fingerprint(**parameters: int | float | str) -> str:
    """Return a name for an ingest's results, under which its parts are reused."""
    given = [component("ingest").fingerprint, parameters]
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def locked(fingerprint: str) -> Iterator[Path]:
    """Yield the folder of an ingest's lists and copies of parts, removed when the block ends well.

    It is on a disk of this node, or in the store if that is a folder: there several nodes may
    meet, of which only one may write.

    Raises:
        UserError: Another process is working there.
    """
    base = environment.cache()
    if not filesystem.is_s3(environment.store()):
        base = Path(environment.store())
    folder = base / "ingest" / fingerprint
    (folder / "lists").mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        if not _lock(lock.fileno()):
            raise UserError(f"{folder}: another ingest with these arguments is running")
        try:
            yield folder
        except OSError as error:
            if error.filename is None and error.errno in _FULL:  # writes name no file
                error.filename = str(folder)
            raise
        # On NFS a file that somebody has open keeps its folder.
        shutil.rmtree(folder, ignore_errors=True)


def _lock(descriptor: int) -> bool:
    """Return whether a file could be locked, and was not removed by one that had locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0
