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

Each variable is parsed as a stage's parameter is, by the same code; an empty one is as one not set.
"""

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from components.shared.stage.errors import UserError, shown
from components.shared.stage.interface import Argument, Location, Range, Rule, Value

_SECONDS_OF_A_DAY = 86_400


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
        raise UserError(f"WEBLY_CACHE={shown(folder)}: must be a local folder")
    return Path(folder)


def cache_bytes() -> int:
    """Return the cache's maximum size, including what it already holds."""
    if (limit := cache_limit()) is not None:
        return limit
    cache().mkdir(parents=True, exist_ok=True)
    held = 0
    for path in cache().iterdir():
        with suppress(FileNotFoundError):  # others fetch and evict meanwhile
            held += 512 * path.stat().st_blocks
    return int(0.9 * (held + shutil.disk_usage(cache()).free))


def cache_limit() -> int | None:
    """Return the cache's maximum size where it is set; None means what its disk has."""
    if not os.environ.get("WEBLY_CACHE_GIGABYTES"):
        return None
    return int(1e9 * number("WEBLY_CACHE_GIGABYTES", 0.0, Range(above=0, at_most=1_000_000)))


def checkpoint_seconds() -> float:
    """Return the time between two checkpoints."""
    return 60 * number("WEBLY_CHECKPOINT_MINUTES", 10.0, Range(above=0, at_most=10_080))


def storage_timeout() -> float:
    """Return after how many seconds without an answer from S3 a request fails."""
    return number("WEBLY_STORAGE_TIMEOUT", 300.0, Range(above=0, at_most=_SECONDS_OF_A_DAY))


def processes() -> int | None:
    """Return the number of processes of a training stage on this node; None means one per GPU."""
    if not os.environ.get("WEBLY_PROCESSES"):
        return None
    return integer("WEBLY_PROCESSES", 1, Range(at_least=1, at_most=1_024))


def log_level() -> str:
    """Return the level of the project's own loggers."""
    level = (os.environ.get("WEBLY_LOG_LEVEL") or "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise UserError(f"WEBLY_LOG_LEVEL={shown(level)}: use DEBUG, INFO, WARNING or ERROR")
    return level


def number(name: str, default: float, within: Range) -> float:
    """Parse a variable as a number."""
    return float(parsed(name, os.environ.get(name) or default, float, within))


def integer(name: str, default: int, within: Range) -> int:
    """Parse a variable as an integer."""
    return int(parsed(name, os.environ.get(name) or default, int, within))


def parsed(name: str, value: object, kind: type[Value], *rules: Rule) -> Value:
    """Parse a value that is no parameter of a stage, but as such.

    Raises:
        UserError: It is not of its type, or against a rule; the message begins with its name.
    """
    return Argument(name, "", None, kind, (), None, rules=rules).parse(value)


def _uri(name: str, default: str) -> str:
    uri = str(parsed(name, os.environ.get(name) or default, str, Location()))
    return uri.rstrip("/") if "://" in uri else str(Path(uri).absolute())
