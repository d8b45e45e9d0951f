"""Tar archives, local or on S3, read in place: one pass over their headers, then at random.

Nothing is ever extracted, so a member's name is only a name; names that would escape from a folder
are refused nevertheless, as are links: whoever packed them did not pack images.
"""

import functools
import logging
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from io import FileIO
from pathlib import PurePosixPath
from typing import NamedTuple

from components.ingest.dataset import Reject
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem

logger = logging.getLogger(__name__)

_COMPRESSED = re.compile(r".+\.(tar\.(gz|bz2|xz|zst)|tgz|tbz2|txz)", re.IGNORECASE)
_UNPACK, _AGAIN = "unpack it, as its images are read one by one", "download it again, or remove it"
_MOST_BYTES = 2**32 - 1  # of a file, as `Files` holds its length; and of its block
MOST_ALONG = 2**20  # bytes of a file that are read with the headers
# What is found in place of a tar, by the first bytes, and what to do about it.
_NO_TARS = {
    b"<": ("an HTML or XML page", _AGAIN),
    b"{": ("a JSON text", _AGAIN),
    b"version https://git-lfs": ("a Git-LFS pointer", "run `git lfs pull`"),
    b"\x1f\x8b": ("compressed by gzip", _UNPACK),
    b"BZh": ("compressed by bzip2", _UNPACK),
    b"\xfd7zXZ": ("compressed by xz", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", _UNPACK),
    b"PK\x03\x04": ("a zip archive", _UNPACK),
    b"7z\xbc\xaf": ("a 7z archive", _UNPACK),
    b"Rar!": ("a rar archive", _UNPACK),
}


class Member(NamedTuple):
    """A regular file in a tar: its name, where its content is, and this if it was asked for."""

    name: str
    offset: int
    length: int
    content: bytes = b""


def members(
    uri: str, size: int, read_along: Callable[[str], bool] = lambda name: False
) -> Iterator[Member | Reject]:
    """Yield a tar's files in their order, and what cannot be read as rejects (18 µs each).

    Args:
        uri: The tar.
        size: How many bytes it has.
        read_along: Says by a small file's name whether to read its content in the same pass.

    Raises:
        UserError: It is something else: a page that says why it could not be downloaded, a zip, …
    """
    archive = uri.rpartition("/")[2]
    end = 0
    try:
        with filesystem.opened(uri) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := _next(tar)) is not None:
                # tarfile would keep them all.
                tar.members = []  # type: ignore[attr-defined]
                length = member.size if tar.offset > member.offset_data else 0
                # A negative size leads tarfile back to where it was, again and again.
                if member.size < 0 or member.offset_data + length > size:
                    detail = f"a size of {member.size:,} bytes in an archive of {size:,}"
                    yield Reject("", "broken archive", archive, member.name, detail)
                    return
                end = tar.offset
                name = PurePosixPath(member.name)
                if member.isdir():
                    continue
                is_regular = member.isfile() and not member.issparse()
                if not is_regular or name.is_absolute() or ".." in name.parts:
                    detail = "leaves its folder" if is_regular else "not a regular file"
                    yield Reject("", "unsafe member", archive, member.name, detail)
                elif (
                    member.size > _MOST_BYTES
                    or member.offset_data > _MOST_BYTES * tarfile.BLOCKSIZE
                ):
                    detail = f"{member.size:,} bytes at byte {member.offset_data:,}: too many"
                    yield Reject("", "unsafe member", archive, member.name, detail)
                else:
                    content = b""
                    if read_along(member.name):
                        file.seek(member.offset_data)
                        content = file.read(min(member.size, MOST_ALONG))
                    yield Member(member.name, member.offset_data, member.size, content)
        # tarfile takes a damaged header for the end; the true end is a block of zeros.
        if size > end and any(read(uri, end, tarfile.BLOCKSIZE)):
            yield Reject("", "broken archive", archive, archive, f"no header at byte {end:,}")
    except tarfile.ReadError as error:
        if not end:
            _refuse_other(uri, size)
        yield Reject("", "broken archive", archive, archive, f"after byte {end:,}: {error}")


def warn_of_broken(root: str, rejects: Iterable[Reject]) -> None:
    """Log which archives of a data set are broken, before what is left of them is used."""
    for reject in rejects:
        if reject.kind == "broken archive":
            logger.warning("%s: %s, %s: %s", root, reject.source, reject.id, reject.detail)


def is_archive(name: str) -> bool:
    """Return whether a file is a tar by its name, compressed or not."""
    return name.endswith(".tar") or _COMPRESSED.fullmatch(name) is not None


def is_tar(uri: str) -> bool:
    """Return whether a file is a tar by its name.

    Raises:
        UserError: It is one, but compressed.
    """
    if _COMPRESSED.fullmatch(uri):
        raise UserError(f"{uri}: compressed; {_UNPACK}")
    return uri.endswith(".tar")


def read(uri: str, offset: int, length: int) -> bytes:
    """Return a part of an archive."""
    if filesystem.is_s3(uri):
        return filesystem.read(uri, offset, length)
    return os.pread(_open(uri).fileno(), length, offset)


def _next(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    try:
        return tar.next()
    except (ValueError, LookupError) as error:  # of sizes and maps of sparse files that are none
        raise tarfile.ReadError(f"{type(error).__name__}: {error}") from None


def _refuse_other(uri: str, size: int) -> None:
    """Refuse a file that is known to be no tar, rather than go on without what it should hold."""
    if not size:
        raise UserError(f"{uri}: an empty file, no tar: {_AGAIN}")
    head = read(uri, 0, 64).lstrip()
    for begin, (what, remedy) in _NO_TARS.items():
        if head.startswith(begin):
            raise UserError(f"{uri}: {what}, no tar: {remedy}")


# Opening a file takes several times as long as reading an image. No limit of open files is so low.
@functools.lru_cache(maxsize=256)
def _open(path: str) -> FileIO:
    return FileIO(path)
