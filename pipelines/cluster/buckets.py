"""Whether the store, checkpoints and data set can be used from here."""

import itertools
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

import boto3

from components.shared.stage.errors import StorageError, UserError
from components.shared.storage import filesystem
from pipelines.cluster.checks import Check

_MOST_ENTRIES = 10_000


def _out_of_reach(uri: str) -> str:
    """Return why a URI cannot be checked from here; empty if it can."""
    if not filesystem.is_s3(uri):
        return f"{uri}: not checked: a folder of the pods"
    if boto3.session.Session().get_credentials() is None:
        return f"{uri}: not checked: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"
    return ""


def writable(what: str, uri: str) -> Check:
    """Put an object, list it and delete it."""
    unknown = _out_of_reach(uri)
    if unknown:
        return Check(what, "unknown", unknown)
    folder = f"{uri.rstrip('/')}/check-{secrets.token_hex(4)}"
    try:
        with tempfile.NamedTemporaryFile() as file:
            filesystem.put(Path(file.name), f"{folder}/probe")
        listed = [entry.name for entry in filesystem.listed(folder)]
        filesystem.remove(f"{folder}/probe")
    except StorageError as error:
        return Check(what, "unknown", f"not reached from here: {error}")
    except UserError as error:
        return Check(what, "missing", str(error))
    if listed != ["probe"]:
        return Check(what, "missing", f"{uri}: an object that was put there is not listed")
    return Check(what, "ok", f"{uri}: put, listed and deleted an object")


def data_set(uri: str) -> Check:
    """List a data set, and read a byte of it."""
    unknown = _out_of_reach(uri)
    if unknown:
        return Check("data set", "unknown", unknown)
    try:
        entries: Sequence[filesystem.Entry] = list(
            itertools.islice(filesystem.listed(uri), _MOST_ENTRIES)
        )
        for entry in entries[:1]:
            filesystem.read(f"{uri.rstrip('/')}/{entry.name}", 0, 1)
    except StorageError as error:
        return Check("data set", "unknown", f"not reached from here: {error}")
    except UserError as error:
        return Check("data set", "missing", str(error))
    if not entries:
        return Check("data set", "missing", f"{uri}: no files there; set dataset=s3://…")
    more = " or more" if len(entries) == _MOST_ENTRIES else ""
    return Check("data set", "ok", f"{uri}: {len(entries):,} files{more}, readable")
