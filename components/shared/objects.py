"""Objects on S3, by their URIs: what `storage` does for paths that start with `s3://`."""

import contextlib
import io
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar

from components.shared import s3
from components.shared.interface import UserError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")

_PART = 16 * 2**20  # bytes that go over one connection at a time
_MOST_PARTS = 10_000  # S3's limit
_READ_AHEAD = 8 * 2**20
_PARALLEL = 8
_PAGE = 1000  # keys, S3's limit


class Entry(NamedTuple):
    """A file below a folder: its path there, with `/`, and its size."""

    name: str
    bytes: int


class _Block(NamedTuple):
    content: bytes
    total: int
    etag: str


def put(path: Path, uri: str, *, if_absent: bool) -> None:
    """Make an object of a file; see `storage.put`."""
    if if_absent and exists(uri):
        return
    size = path.stat().st_size
    send = _put_at_once if size <= _PART else _put_in_parts
    try:
        send(path, uri, if_absent)
    except s3.RefusedError as refused:
        if not if_absent or refused.status not in (412, 501):
            raise
        if refused.status == 501:
            send(path, uri, False)
    except FileNotFoundError:
        # The upload is gone: completed by a request whose answer was lost, or aborted by others.
        send(path, uri, if_absent)


def exists(uri: str) -> bool:
    """Return whether there is such an object."""
    try:
        _head(uri)
    except FileNotFoundError:
        return False
    return True


def fetch(uri: str, path: Path) -> None:
    """Write an object to a file, several parts at a time."""
    first = _get(uri, 0, _PART)
    with path.open("wb") as file:
        file.write(first.content)
        file.flush()

        def rest(start: int) -> None:
            os.pwrite(file.fileno(), _get(uri, start, _PART, first.etag).content, start)

        _in_parallel(rest, range(_PART, first.total, _PART))


def read(uri: str, offset: int, length: int | None) -> bytes:
    """Return some bytes of an object."""
    return _get(uri, offset, length).content


def opened(uri: str) -> BinaryIO:
    """Open an object for reading."""
    return io.BufferedReader(_Reader(uri), _READ_AHEAD)


def listed(uri: str) -> Iterator[Entry]:
    """Yield the objects below a prefix."""
    bucket, prefix = _folder(uri)
    for key, size in _keys(uri):
        if key.endswith("/"):  # S3's consoles make such empty objects to show a folder
            continue
        name = key.removeprefix(prefix)
        if not {"", ".", ".."}.isdisjoint(name.split("/")):
            raise UserError(f"s3://{bucket}/{key}: a key that leaves its folder: rename it")
        yield Entry(name, size)


def remove(uri: str) -> None:
    """Remove an object; S3 does not mind one that is not there."""
    bucket, key = _object(uri)
    with contextlib.suppress(FileNotFoundError):  # Some servers do
        s3.ask(uri, lambda client: client.delete_object(Bucket=bucket, Key=key))


def remove_folder(uri: str) -> None:
    """Remove all objects below a prefix.

    One request each: not all servers take Amazon's request for many, or its checksum.
    """
    bucket, _ = _folder(uri)
    _in_parallel(lambda found: remove(f"s3://{bucket}/{found[0]}"), list(_keys(uri)))


def abandon_uploads(uri: str) -> None:
    """Abort the unfinished uploads below a prefix."""
    bucket, prefix = _folder(uri)
    after: dict[str, str] = {}
    while True:
        page = s3.ask(
            uri,
            lambda client, after=after: client.list_multipart_uploads(  # type: ignore[misc]
                Bucket=bucket, Prefix=prefix, **after
            ),
        )
        for upload in page.get("Uploads", []):
            _abort(bucket, upload["Key"], upload["UploadId"])
        if not page.get("IsTruncated"):
            return
        after = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


class _Reader(io.RawIOBase):
    """An object as a file, each read a request. Refuses an object that changes meanwhile."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._size, self._etag = _head(uri)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"{self._uri}: a seek to {start + offset}")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        target = memoryview(buffer)
        length = max(0, min(len(target), self._size - self._position))
        if length:
            target[:length] = _get(self._uri, self._position, length, self._etag).content
        self._position += length
        return length


def _put_at_once(path: Path, uri: str, if_absent: bool) -> None:
    bucket, key = _object(uri)
    content = path.read_bytes()
    condition = {"IfNoneMatch": "*"} if if_absent else {}
    s3.ask(
        uri,
        lambda client: client.put_object(Bucket=bucket, Key=key, Body=content, **condition),  # type: ignore[arg-type]
    )


def _put_in_parts(path: Path, uri: str, if_absent: bool) -> None:
    bucket, key = _object(uri)
    size = path.stat().st_size
    length = max(_PART, math.ceil(size / _MOST_PARTS))
    upload = s3.ask(uri, lambda client: client.create_multipart_upload(Bucket=bucket, Key=key))
    id = upload["UploadId"]

    def part(number: int) -> "CompletedPartTypeDef":
        with path.open("rb") as file:
            file.seek((number - 1) * length)
            content = file.read(length)
        answer = s3.ask(
            uri,
            lambda client: client.upload_part(
                Bucket=bucket, Key=key, UploadId=id, PartNumber=number, Body=content
            ),
        )
        return {"PartNumber": number, "ETag": answer["ETag"]}

    condition = {"IfNoneMatch": "*"} if if_absent else {}
    try:
        parts = _in_parallel(part, range(1, math.ceil(size / length) + 1))
        s3.ask(
            uri,
            lambda client: client.complete_multipart_upload(
                Bucket=bucket,
                Key=key,
                UploadId=id,
                MultipartUpload={"Parts": parts},
                **condition,  # type: ignore[arg-type]
            ),
        )
    except BaseException:
        _abort(bucket, key, id)
        raise


def _abort(bucket: str, key: str, upload: str) -> None:
    # Once: where S3 has just not answered for minutes, its rules for old uploads must do.
    s3.once(lambda client: client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload))


def _head(uri: str) -> tuple[int, str]:
    bucket, key = _object(uri)
    answer = s3.ask(uri, lambda client: client.head_object(Bucket=bucket, Key=key))
    return answer["ContentLength"], answer["ETag"]


def _get(uri: str, start: int, length: int | None, etag: str | None = None) -> _Block:
    """Return some bytes of an object, whose ETag must be the given one."""
    bucket, key = _object(uri)
    end = "" if length is None else str(start + max(length, 1) - 1)
    condition = {"IfMatch": etag} if etag else {}

    def request(client: "S3Client") -> _Block:
        answer = client.get_object(
            Bucket=bucket, Key=key, Range=f"bytes={start}-{end}", **condition
        )
        content = answer["Body"].read()
        return _Block(
            content[:length], int(answer["ContentRange"].rpartition("/")[2]), answer["ETag"]
        )

    try:
        return s3.ask(uri, request)
    except s3.RefusedError as refused:
        if refused.status == 416:  # nothing there: an empty object, or past its end
            return _Block(b"", 0, "")
        if refused.status == 412:
            raise UserError(f"{uri}: changed while it was read: start again") from refused
        raise


def _keys(uri: str) -> Iterator[tuple[str, int]]:
    bucket, prefix = _folder(uri)
    after: dict[str, str] = {}
    while True:
        page = s3.ask(
            uri,
            lambda client, after=after: client.list_objects_v2(  # type: ignore[misc]
                Bucket=bucket, Prefix=prefix, MaxKeys=_PAGE, **after
            ),
        )
        yield from ((item["Key"], item["Size"]) for item in page.get("Contents", []))
        if not page.get("IsTruncated"):
            return
        after = {"ContinuationToken": page["NextContinuationToken"]}


def _object(uri: str) -> tuple[str, str]:
    bucket, key = s3.split(uri)
    if not key:
        raise UserError(f"{uri}: a bucket, not an object: use s3://bucket/key")
    return bucket, key


def _folder(uri: str) -> tuple[str, str]:
    bucket, key = s3.split(uri)
    return bucket, f"{key.rstrip('/')}/" if key else ""


def _in_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    with ThreadPoolExecutor(_PARALLEL) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)
