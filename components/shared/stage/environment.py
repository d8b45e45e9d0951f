"""Settings from environment variables: storage locations and timeouts. None changes a result.

    WEBLY_STORE               image shards: a folder or an s3:// prefix (runs/store)
    WEBLY_CHECKPOINTS         what killed stages resume from: likewise (runs/checkpoints)
    WEBLY_CACHE               a folder for shards fetched from S3 (runs/cache)
    WEBLY_CACHE_GIGABYTES     its maximum size (nine tenths of the space available to it)
    WEBLY_CHECKPOINT_MINUTES  time between two checkpoints (10)
    WEBLY_STORAGE_TIMEOUT     seconds until a request that S3 does not answer fails (300)
    WEBLY_PROCESSES           processes of a training stage on this node (one per GPU)
    WEBLY_LOG_LEVEL           level of our own loggers: DEBUG logs every step (INFO)

On the cluster they come from a config map, as do boto3's own (`AWS_ENDPOINT_URL`, …), except for
the cache, which is on the pod's disk (`pipelines/cluster/pod_settings.py`). They are no parameters
and so not in KFP's cache key: moving a bucket retrains nothing.
"""

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from components.shared.stage.errors import UserError


def store() -> str:
    """Return where image shards are stored: an absolute path or an `s3://` prefix."""
    return _uri("WEBLY_STORE", "runs/store")


def checkpoints() -> str:
    """Return where stages save unfinished work: an absolute path or an `s3://` prefix."""
    return _uri("WEBLY_CHECKPOINTS", "runs/checkpoints")


def cache() -> Path:
    """Return the folder for fetched shards."""
    folder = _uri("WEBLY_CACHE", "runs/cache")
    if "://" in folder:
        raise UserError(f"WEBLY_CACHE={folder}: must be a local folder")
    return Path(folder)


def cache_bytes() -> int:
    """Return the cache's maximum size, including what it already holds."""
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
    """Return after how many seconds without an answer from S3 a request fails."""
    return number("WEBLY_STORAGE_TIMEOUT", 300.0)


def processes() -> int | None:
    """Return the number of processes of a training stage on this node; None means one per GPU."""
    return int(number("WEBLY_PROCESSES", 1)) if "WEBLY_PROCESSES" in os.environ else None


def log_level() -> str:
    """Return the level of the project's own loggers."""
    level = os.environ.get("WEBLY_LOG_LEVEL", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise UserError(f"WEBLY_LOG_LEVEL={level}: use DEBUG, INFO, WARNING or ERROR")
    return level


def number(name: str, default: float) -> float:
    """Parse a variable as a positive number."""
    text = os.environ.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise UserError(f"{name}={text}: must be a positive number")
    return value


def _uri(name: str, default: str) -> str:
    uri = (os.environ.get(name) or default).rstrip("/")
    return uri if "://" in uri else str(Path(uri).absolute())
