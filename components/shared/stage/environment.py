"""What the environment says: where things lie and how long to wait. None of it changes a result.

    WEBLY_STORE               image shards: a folder or an s3:// prefix (runs/store)
    WEBLY_CHECKPOINTS         what a killed stage goes on from: likewise (runs/checkpoints)
    WEBLY_CACHE               a folder for shards fetched from S3 (runs/cache)
    WEBLY_CACHE_GIGABYTES     how large it may grow (nine tenths of what its disk has for it)
    WEBLY_CHECKPOINT_MINUTES  between two checkpoints (10)
    WEBLY_STORAGE_TIMEOUT     seconds after which an S3 that does not answer is given up (300)
    WEBLY_PROCESSES           processes of a training stage on this node (one per GPU)
    WEBLY_LOG_LEVEL           of our own loggers: DEBUG tells of every step (INFO)

On the cluster they come from a config map, as do boto3's own (`AWS_ENDPOINT_URL`, …), but for the
cache, which is on the pod's disk (`pipelines/cluster/pod_settings.py`). They are no parameters,
which are in KFP's cache key: moving a bucket retrains nothing.
"""

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from components.shared.stage.errors import UserError


def store() -> str:
    """Return where image shards live: an absolute path or an `s3://` prefix."""
    return _uri("WEBLY_STORE", "runs/store")


def checkpoints() -> str:
    """Return where stages leave what they go on from: an absolute path or an `s3://` prefix."""
    return _uri("WEBLY_CHECKPOINTS", "runs/checkpoints")


def cache() -> Path:
    """Return the folder for fetched shards."""
    folder = _uri("WEBLY_CACHE", "runs/cache")
    if "://" in folder:
        raise UserError(f"WEBLY_CACHE={folder}: a folder of this node is needed")
    return Path(folder)


def cache_bytes() -> int:
    """Return how large the cache may grow, what it holds already included."""
    if "WEBLY_CACHE_GIGABYTES" in os.environ:
        return int(1e9 * number("WEBLY_CACHE_GIGABYTES", 0.0))
    cache().mkdir(parents=True, exist_ok=True)
    held = 0
    for path in cache().iterdir():
        with suppress(FileNotFoundError):  # others fetch and evict meanwhile
            held += 512 * path.stat().st_blocks
    return int(0.9 * (held + shutil.disk_usage(cache()).free))


def checkpoint_seconds() -> float:
    """Return the time between two checkpoints."""
    return 60 * number("WEBLY_CHECKPOINT_MINUTES", 10.0)


def storage_timeout() -> float:
    """Return after how many seconds an S3 that does not answer is given up."""
    return number("WEBLY_STORAGE_TIMEOUT", 300.0)


def processes() -> int | None:
    """Return how many processes a training stage shall have here; None means one per GPU."""
    return int(number("WEBLY_PROCESSES", 1)) if "WEBLY_PROCESSES" in os.environ else None


def log_level() -> str:
    """Return the level from which on the project's own loggers are heard."""
    level = os.environ.get("WEBLY_LOG_LEVEL", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise UserError(f"WEBLY_LOG_LEVEL={level}: use DEBUG, INFO, WARNING or ERROR")
    return level


def number(name: str, default: float) -> float:
    """Return a variable's number, which must be above 0."""
    text = os.environ.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise UserError(f"{name}={text}: a number above 0 is needed")
    return value


def _uri(name: str, default: str) -> str:
    uri = (os.environ.get(name) or default).rstrip("/")
    return uri if "://" in uri else str(Path(uri).absolute())
