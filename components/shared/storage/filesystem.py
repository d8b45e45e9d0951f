"""Files and folders, at local paths or `s3://bucket/key`; `objects` does the work for S3."""

import errno
import logging
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from components.shared.stage.errors import UserError
from components.shared.storage import objects
from components.shared.storage.objects import Entry as Entry

logger = logging.getLogger(__name__)
# Of a disk's failure, in errors of libraries in Rust, such as safetensors.
_RUSTS = re.compile(r"\(os error (\d+)\)")


def is_s3(uri: str) -> bool:
    """Return whether a path is on S3, refusing schemes other than `s3://`."""
    scheme, separator, _ = uri.partition("://")
    if separator and scheme != "s3":
        raise UserError(f"{uri}: use a local path or s3://bucket/key")
    return bool(separator)


def publish(temporary: Path, path: Path) -> None:
    """Give a finished file or folder its final name, replacing what was there."""
    if path.is_dir():
        shutil.rmtree(path)
    temporary.replace(path)


@contextmanager
def complete(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it gets its final name if the block succeeds."""
    with _unfinished(path) as temporary:
        yield temporary
        publish(temporary, path)


def put(path: Path, uri: str, *, if_absent: bool = False) -> None:
    """Copy a local file to `uri`, atomically.

    With `if_absent` an existing file stays, even one written at the same time; except that on an S3
    server without `If-None-Match` (Ceph 16 for files over 16 MB) the last of concurrent writers
    wins.
    """
    if is_s3(uri):
        objects.put(path, uri, if_absent=if_absent)
        return
    with _unfinished(Path(uri)) as temporary:
        shutil.copyfile(path, temporary)
        if not if_absent:
            publish(temporary, Path(uri))
            return
        with suppress(FileExistsError):
            os.link(temporary, uri)  # unlike a rename, replaces nothing


@contextmanager
def uploading(uri: str) -> Iterator[Path]:
    """Yield a local path to write a file to; it appears at `uri` if the block succeeds."""
    if not is_s3(uri):
        with complete(Path(uri)) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / uri.rpartition("/")[2]
        with complete(path) as temporary:
            yield temporary
        put(path, uri)


def exists(uri: str) -> bool:
    """Return whether there is a file at `uri`."""
    return objects.exists(uri) if is_s3(uri) else Path(uri).is_file()


def fetch(uri: str, path: Path) -> None:
    """Copy the file at `uri` to a local path, atomically.

    Raises:
        FileNotFoundError: There is no such file.
    """
    with complete(path) as temporary:
        if is_s3(uri):
            objects.fetch(uri, temporary)
        else:
            shutil.copyfile(uri, temporary)


def read(uri: str, offset: int = 0, length: int | None = None) -> bytes:
    """Read bytes of the file at `uri`, fewer at its end.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if is_s3(uri):
        return objects.read(uri, offset, length)
    with Path(uri).open("rb") as file:
        file.seek(offset)
        if length is not None:  # a longer buffer would be allocated
            length = min(length, max(0, os.fstat(file.fileno()).st_size - offset))
        return file.read(length)


def opened(uri: str) -> BinaryIO:
    """Open the file at `uri` for reading; on S3 with a buffer of 8 MB and any seeks.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: While reading: the object has changed since.
    """
    return objects.opened(uri) if is_s3(uri) else Path(uri).open("rb")


def listed(
    uri: str,
    *,
    skip: Callable[[str], bool] = lambda name: False,
    pathless: Callable[[str], object] | None = None,
) -> Iterator[Entry]:
    """Yield all finished files below a folder, in the order of their names' bytes.

    Args:
        uri: The folder. Links are followed, but for those to a folder above them.
        skip: Says by its name whether to leave out a folder; on S3 it is not asked.
        pathless: Takes the names on S3 that cannot be paths below a folder, such as `a//b` and
            `../a`, which are left out; by default a warning says so.

    Raises:
        UserError: A folder on a disk is not readable.
    """
    if is_s3(uri):
        yield from objects.listed(uri, pathless)
    elif Path(uri).is_dir():
        yield from _walk(uri, "", skip, ())


def remove(uri: str) -> None:
    """Remove the file at `uri`, if there is one."""
    if is_s3(uri):
        objects.remove(uri)
    else:
        Path(uri).unlink(missing_ok=True)


def remove_folder(uri: str) -> None:
    """Remove a folder with all that is below it, if there is one."""
    if is_s3(uri):
        objects.remove_folder(uri)
    else:
        with suppress(FileNotFoundError):
            shutil.rmtree(uri)


def abandon_uploads(uri: str) -> None:
    """Abort unfinished uploads that killed writers left below an `s3://` prefix, if it is one.

    Nobody may be writing there.
    """
    if is_s3(uri):
        objects.abandon_uploads(uri)


@contextmanager
def local_folder(uri: str) -> Iterator[Path]:
    """Yield a local copy of a folder on S3, or a local folder itself.

    Raises:
        UserError: There is no such folder.
    """
    if not is_s3(uri):
        if not Path(uri).is_dir():
            raise UserError(f"{uri}: no such folder")
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory() as temporary:
        for entry in listed(uri):
            fetch(f"{uri.rstrip('/')}/{entry.name}", Path(temporary, entry.name))
        if not any(Path(temporary).iterdir()):
            raise UserError(f"{uri}: no objects there")
        yield Path(temporary)


@contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Random: processes of several pods, which share a folder but not their numbers, may meet here.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
    except OSError as error:
        if error.errno and error.filename in (None, str(temporary)):  # writes name no file
            error.filename = str(path)
        raise
    except Exception as error:
        if found := _RUSTS.search(str(error)):
            number = int(found[1])
            raise OSError(number, os.strerror(number), str(path)) from error
        raise
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def _walk(
    folder: str, prefix: str, skip: Callable[[str], bool], above: tuple[tuple[int, int], ...]
) -> Iterator[Entry]:
    try:
        status = os.stat(folder)
        with os.scandir(folder) as found:
            # With its slash, for all names below a folder begin so: the order that S3 has.
            entries = sorted((entry.name + "/" * _is(entry.is_dir), entry) for entry in found)
    except PermissionError:
        raise UserError(f"{folder}: this folder may not be read") from None
    here = (status.st_dev, status.st_ino)
    if here in above:
        logger.warning("%s: not followed: a link to a folder above it", folder)
        return
    for name, entry in entries:
        if name.endswith("/"):
            if not skip(entry.name):
                yield from _walk(entry.path, prefix + name, skip, (*above, here))
        elif not (name.startswith(".") and name.endswith(".part")) and _is(entry.is_file):
            yield Entry(prefix + name, entry.stat().st_size)


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError as error:
        if error.errno != errno.ELOOP:  # a link to itself
            raise
        return False
