"""Where an ingest keeps what it has done, so that one that was killed goes on."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import PIL

from components.shared import storage
from components.shared.interface import UserError


def fingerprint(**parameters: int | float | str) -> str:
    """Return a name for what an ingest makes: of its parameters, this code and PIL's version.

    Parts are reused by their fingerprint, so a change of any of these must make another.
    """
    sha256 = hashlib.sha256(json.dumps([parameters, PIL.__version__], sort_keys=True).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sha256.update(path.read_bytes())
    return sha256.hexdigest()[:16]


@contextmanager
def locked(fingerprint: str) -> Iterator[Path]:
    """Yield the folder of an ingest's parts and lists: in the store, if that is no bucket.

    Raises:
        UserError: Another process is at work on the same parts.
    """
    base = storage.store()
    if storage.is_s3(base):
        base = os.environ.get("WEBLY_CACHE", "runs/cache")
    folder = Path(base) / "ingest" / fingerprint
    (folder / "lists").mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another ingest with these arguments is running") from None
        yield folder
