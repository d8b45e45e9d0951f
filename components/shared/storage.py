"""Files and folders: local paths and `s3://bucket/key`, nothing else.

The S3 endpoint, region and credentials come from the environment (`AWS_ENDPOINT_URL`, …).
"""

import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.interface import UserError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def store() -> str:
    """Return where image shards live: `WEBLY_STORE`, a folder or an `s3://` prefix."""
    return os.environ.get("WEBLY_STORE", "runs/store").rstrip("/")


def is_s3(uri: str) -> bool:
    """Return whether a path is an object's, refusing schemes other than `s3://`."""
    scheme, separator, _ = uri.partition("://")
    if separator and scheme != "s3":
        raise UserError(f"{uri}: use a local path or s3://bucket/key")
    return bool(separator)


def publish(temporary: Path, path: Path) -> None:
    """Give a finished file or folder its final name, in place of what was there."""
    if path.is_dir():
        shutil.rmtree(path)
    temporary.replace(path)


@contextmanager
def complete(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write a file to; it gets its name when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        publish(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def put(path: Path, uri: str) -> None:
    """Copy a local file to `uri`; it appears there complete or not at all."""
    if is_s3(uri):
        bucket, key = _split(uri)
        _client().upload_file(str(path), bucket, key)
        return
    with complete(Path(uri)) as temporary:
        shutil.copyfile(path, temporary)


@contextmanager
def uploading(uri: str) -> Iterator[Path]:
    """Yield a local path to write a file to; it appears at `uri` when the block ends well."""
    if not is_s3(uri):
        with complete(Path(uri)) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / uri.rpartition("/")[2]
        yield temporary
        put(temporary, uri)


def exists(uri: str) -> bool:
    """Return whether there is a file at `uri`."""
    if not is_s3(uri):
        return Path(uri).is_file()
    bucket, key = _split(uri)
    return any(item == key for item in _keys(bucket, key))


def fetch(uri: str, path: Path) -> None:
    """Copy the file at `uri` to a local path, complete or not at all."""
    with complete(path) as temporary:
        if is_s3(uri):
            _client().download_file(*_split(uri), str(temporary))
        else:
            shutil.copyfile(uri, temporary)


@contextmanager
def local_folder(uri: str) -> Iterator[Path]:
    """Yield a local folder with the files of a folder, which may be an `s3://` prefix.

    Raises:
        UserError: There is no such folder.
    """
    if not is_s3(uri):
        if not Path(uri).is_dir():
            raise UserError(f"{uri}: no such folder")
        yield Path(uri)
        return
    bucket, prefix = _split(uri.rstrip("/") + "/")
    with tempfile.TemporaryDirectory() as temporary:
        for key in _keys(bucket, prefix):
            if key.endswith("/"):  # S3's consoles make such empty objects to show a folder
                continue
            name = Path(key.removeprefix(prefix))
            if ".." in name.parts or name.is_absolute():
                raise UserError(f"s3://{bucket}/{key}: a key that leaves its folder")
            fetch(f"s3://{bucket}/{key}", Path(temporary) / name)
        if not any(Path(temporary).iterdir()):
            raise UserError(f"{uri}: no objects there")
        yield Path(temporary)


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _keys(bucket: str, prefix: str) -> Iterator[str]:
    pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        yield from (item["Key"] for item in page.get("Contents", []))


def _client() -> "S3Client":
    return _client_of(os.getpid())


@functools.cache
def _client_of(process: int) -> "S3Client":
    """Return a process's client: one that was forked must not share its parent's connections."""
    import boto3  # 0.3 s that runs without S3 need not spend

    return boto3.client("s3")
