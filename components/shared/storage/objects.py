"""Objects on S3, by URI: what `filesystem` does for paths that start with `s3://`."""

import contextlib
import io
import logging
import math
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar

from components.shared.stage.errors import StorageError, UserError
from components.shared.storage import s3

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        CompletedPartTypeDef,
        ListObjectsV2OutputTypeDef,
        MultipartUploadTypeDef,
    )

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")

_PART = 16 * 2**20  # bytes per request
_MOST_PARTS = 10_000  # S3's limit
_READ_AHEAD = 8 * 2**20
_PARALLEL = 8
_ATTEMPTS = 3
_PAGE = 1000  # keys, S3's limit
_SHOWN = 3  # keys that are left out
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


class Entry(NamedTuple):
    """A file below a folder: its relative path, with `/`, and its size."""

    name: str
    bytes: int


class _Block(NamedTuple):
    content: bytes
    total: int
    etag: str


def put(path: Path, uri: str, *, if_absent: bool) -> None:
    """Upload a file; see `filesystem.put`."""
    send = _put_at_once if path.stat().st_size <= _PART else _put_in_parts
    condition = {"IfNoneMatch": "*"} if if_absent else {}
    for _ in range(_ATTEMPTS):
        if condition and exists(uri):
            return
        try:
            return send(path, uri, condition)
        except s3.RefusedError as refused:
            if not condition or refused.status not in (412, 501):
                raise
            if refused.status == 412:  # another was faster
                return
            condition = {}  # the server does not support it
        except FileNotFoundError:
            pass  # the upload is gone: completed, but the answer was lost, or aborted by others
    raise StorageError(f"{uri}: its upload keeps being aborted")


def exists(uri: str) -> bool:
    """Return whether there is such an object."""
    try:
        _get(uri, 0, 1)
    except FileNotFoundError:
        return False
    return True


def fetch(uri: str, path: Path) -> None:
    """Download an object, several parts at a time."""
    first = _get(uri, 0, _PART)
    path.write_bytes(first.content)

    def rest(start: int) -> None:
        content = _get(uri, start, _PART, first.etag).content
        with path.open("r+b") as file:
            file.seek(start)
            file.write(content)

    _in_parallel(rest, range(_PART, first.total, _PART))


def read(uri: str, offset: int, length: int | None) -> bytes:
    """Read some bytes of an object."""
    return _get(uri, offset, length).content


def opened(uri: str) -> BinaryIO:
    """Open an object for reading."""
    return io.BufferedReader(_Reader(uri), _READ_AHEAD)


def listed(uri: str, pathless: Callable[[str], object] | None = None) -> Iterator[Entry]:
    """Yield the objects below a prefix; see `filesystem.listed`."""
    bucket, prefix = _folder(uri)
    left_out = 0
    for key, size in _keys(uri):
        if key.endswith("/"):  # S3 consoles create such empty objects to show a folder
            continue
        name = key.removeprefix(prefix)
        if {"", ".", ".."}.isdisjoint(name.split("/")):
            yield Entry(name, size)
        elif pathless is not None:
            pathless(name)
        else:
            left_out += 1
            if left_out <= _SHOWN:
                logger.warning("s3://%s/%s: left out: no path, so rename it", bucket, key)
    if left_out > _SHOWN:
        logger.warning("%s: %d such keys are left out", uri, left_out)


def remove(uri: str) -> None:
    """Remove an object; for S3, a missing one is fine."""
    bucket, key = _object(uri)
    with contextlib.suppress(FileNotFoundError):  # Some servers do
        s3.ask(uri, lambda client: client.delete_object(Bucket=bucket, Key=key))


def remove_folder(uri: str) -> None:
    """Remove all objects below a prefix.

    One request each: not all servers support Amazon's bulk deletion, or its checksum.
    """
    bucket, _ = _folder(uri)
    _in_parallel(lambda found: remove(f"s3://{bucket}/{found[0]}"), list(_keys(uri)))


def abandon_uploads(uri: str) -> None:
    """Abort the unfinished uploads below a prefix."""
    bucket, prefix = _folder(uri)

    def unfinished(client: "S3Client") -> list["MultipartUploadTypeDef"]:
        pages = client.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket, Prefix=prefix
        )
        return [upload for page in pages for upload in page.get("Uploads", [])]

    def abort(upload: "MultipartUploadTypeDef") -> None:
        key, id = upload["Key"], upload["UploadId"]
        with contextlib.suppress(FileNotFoundError):  # finished meanwhile
            s3.ask(
                f"s3://{bucket}/{key}",
                lambda client: client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=id),
            )

    try:
        _in_parallel(abort, s3.ask(uri, unfinished))
    except (UserError, s3.RefusedError) as error:  # not allowed, or not supported by this server
        logger.warning("unfinished uploads remain: %s", error)


class _Reader(io.RawIOBase):
    """An object as a file; each read is a request. Fails if the object changes meanwhile."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        _, self._size, self._etag = _get(uri, 0, 1)
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

    def readall(self) -> bytes:
        # The inherited one reads 8 kB at a time.
        return self.read(max(0, self._size - self._position)) or b""

    def readinto(self, buffer: "WriteableBuffer") -> int:
        target = memoryview(buffer)
        length = max(0, min(len(target), self._size - self._position))
        if length:
            target[:length] = _get(self._uri, self._position, length, self._etag).content
        self._position += length
        return length


def _put_at_once(path: Path, uri: str, condition: dict[str, Any]) -> None:
    bucket, key = _object(uri)
    content = path.read_bytes()
    s3.ask(
        uri,
        lambda client: client.put_object(Bucket=bucket, Key=key, Body=content, **condition),
    )


def _put_in_parts(path: Path, uri: str, condition: dict[str, Any]) -> None:
    """Upload a file part by part.

    Not with boto3's `upload_file`, which starts over if one part fails, and supports no condition.
    """
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

    try:
        parts = _in_parallel(part, range(1, math.ceil(size / length) + 1))
        s3.ask(
            uri,
            lambda client: client.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=id, MultipartUpload={"Parts": parts}, **condition
            ),
        )
    except BaseException:
        # Without retries: if S3 has not answered for minutes, `abandon_uploads` must do it later.
        s3.attempt(
            lambda client: client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=id)
        )
        raise


def _get(uri: str, start: int, length: int | None, etag: str = "") -> _Block:
    """Read some bytes of an object, which must have the given ETag, if any.

    All that is asked for, or to its end: what a proxy or a cache has cut is asked for again. An
    ETag is no digest of what comes, as only some servers have MD5s there; so what must not have a
    changed byte carries one of its own, as shards, checkpoints and parts do.

    It also stands for HEAD, whose errors have no text: an expired token would be `400`.
    """
    bucket, key = _object(uri)
    end = "" if length is None else start + max(length, 1) - 1
    changed = UserError(f"{uri}: changed while it was read: start again")

    def request(client: "S3Client") -> _Block:
        answer = client.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{end}")
        with answer["Body"] as body:
            if etag not in ("", answer["ETag"]):
                raise changed
            content = body.read()
        if "ContentRange" not in answer:  # the whole object, as some servers send an empty one
            _check_length(content, answer["ContentLength"])
            return _Block(content[start:][:length], len(content), answer["ETag"])
        said = _RANGE.fullmatch(answer["ContentRange"])
        first, total = map(int, said.groups()) if said else (-1, 0)
        if first != start:
            raise s3.BrokenError(f"{answer['ContentRange']} in place of bytes from {start:,}")
        _check_length(content, min(total - start, max(length, 1) if length is not None else total))
        return _Block(content[:length], total, answer["ETag"])

    try:
        return s3.ask(uri, request)
    except s3.RefusedError as refused:
        if refused.status != 416:
            raise
        if etag:
            raise changed from refused
        return _Block(b"", 0, "")  # an empty object, or past its end


def _check_length(content: bytes, expected: int) -> None:
    if len(content) != expected:
        raise s3.BrokenError(f"{len(content):,} bytes in place of {expected:,}")


def _keys(uri: str) -> Iterator[tuple[str, int]]:
    page = _page(uri, {})
    while True:
        yield from ((item["Key"], item["Size"]) for item in page.get("Contents", []))
        if not page["IsTruncated"]:
            return
        page = _page(uri, {"ContinuationToken": page["NextContinuationToken"]})


def _page(uri: str, after: dict[str, Any]) -> "ListObjectsV2OutputTypeDef":
    """Return a page of keys; boto3's paginator could not retry one."""
    bucket, prefix = _folder(uri)
    return s3.ask(
        uri,
        lambda client: client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=_PAGE, **after),
    )


def _object(uri: str) -> tuple[str, str]:
    bucket, key = s3.split(uri)
    if not key:
        raise UserError(f"{uri}: a bucket, not an object: use s3://bucket/key")
    return bucket, key


def _folder(uri: str) -> tuple[str, str]:
    bucket, key = s3.split(uri)
    return bucket, f"{key.rstrip('/')}/" if key else ""


def _in_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return function(item) for each item; after a failure no other is started or retried."""
    left = deque(enumerate(items))
    results: dict[int, Result] = {}
    ended = threading.Event()

    def work() -> None:
        s3.stop.set(ended)
        while True:
            try:
                number, item = left.popleft()
            except IndexError:
                return
            results[number] = function(item)

    with ThreadPoolExecutor(_PARALLEL) as pool:
        workers = [pool.submit(work) for _ in range(min(_PARALLEL, len(left)))]
        try:
            for worker in wait(workers, return_when=FIRST_EXCEPTION).done:
                worker.result()
        finally:
            left.clear()
            ended.set()
    return [results[number] for number in sorted(results)]
