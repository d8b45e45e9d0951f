"""A node's cache of shards: those on S3 are fetched into a folder that its processes share.

For a shard with the checksum X, `WEBLY_CACHE` holds

    X.tar     the shard, complete and verified; its mtime is that of its last use, to the minute
    X.part    the shard while it is being fetched
    X.lock    locked by the process that fetches the shard. It is a sparse file of the shard's
              length once space is reserved for it

    X.verified    that a shard on this machine's disks or a shared one was verified where it lies:
              which file, and its times, so that another or a changed one is verified anew

and `lock`, locked by whoever makes room, by evicting the least recently used shards. Locks die with
their process, so that a killed one leaves nothing but a part, which the next one to make room
removes.

No process keeps a cached shard open for longer than it takes to read an image. That costs
microseconds, but an evicted shard's disk space is free at once, however many processes read it.
"""

import errno
import fcntl
import functools
import hashlib
import logging
import mmap
import multiprocessing
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from components.shared.stage import environment
from components.shared.stage.errors import StorageError, UserError
from components.shared.stage.parallel import leave_signals_to_parent
from components.shared.storage import filesystem

logger = logging.getLogger(__name__)

# What to do about a shard.
AGAIN = "run ingest again, which makes the same shards (in a pipeline: with another rerun_ingest)"
_DIGEST = "[0-9a-f]" * 64  # as a pattern: other people's files may lie beside the cache's
_TOUCH_SECONDS = 60.0
_WAIT_SECONDS = 0.1
_THREADS = 4  # each fetches several parts of a shard at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A tar file of images: where it is, and what it should contain."""

    uri: str
    bytes: int
    images: int
    sha256: str


def read(shard: Shard, offset: int, length: int) -> memoryview:
    """Read some bytes of a shard, which is fetched if it is not cached."""
    local = _local(shard)
    if local is not None:
        return memoryview(local)[offset : offset + length]
    descriptor = _opened(shard)
    try:
        return memoryview(os.pread(descriptor, length, offset))
    finally:
        os.close(descriptor)


def peek(shard: Shard, offset: int, length: int) -> bytes:
    """Read some bytes of a shard, without fetching or verifying all of it.

    For a few images here and there.
    """
    if (environment.cache() / f"{shard.sha256}.tar").exists():
        return bytes(read(shard, offset, length))
    try:
        return filesystem.read(shard.uri, offset, length)
    except FileNotFoundError:
        raise _gone(shard) from None


def mapped(shard: Shard) -> mmap.mmap:
    """Return a whole shard, memory-mapped, which is fetched if it is not cached.

    As long as it is mapped, evicting it frees no disk space.

    Raises:
        UserError: It is gone or damaged, or there is no room for it.
    """
    descriptor = _opened(shard)
    try:
        return mmap.mmap(descriptor, shard.bytes, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)


@contextmanager
def ahead(groups: Iterable[Sequence[Shard]]) -> Iterator[Callable[[], None]]:
    """Prefetch groups of shards, in a process of its own.

    The first two are fetched at once. Readers need not wait: what they do not find they fetch
    themselves, so that they also raise the errors that happen here.

    Args:
        groups: In the order in which they will be read, possibly endless; that process draws each
            when it is to be fetched.

    Yields:
        A function to call whenever the next group begins to be read: it has one more fetched.
    """
    remaining = iter(groups)
    first = next(remaining, ())
    if not any(filesystem.is_s3(shard.uri) for shard in first):
        yield lambda: None
        return
    calls, caller = os.pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_fetch_ahead,
        args=(chain([first], remaining), calls, caller, os.getpid()),
        daemon=True,
    )
    process.start()
    os.close(calls)

    def begin() -> None:
        with suppress(BrokenPipeError):  # there are no more groups
            os.write(caller, b".")

    try:
        yield begin
    finally:
        process.kill()
        process.join()
        os.close(caller)


@functools.lru_cache(maxsize=256)
def _local(shard: Shard) -> mmap.mmap | None:
    """Memory-map a shard that is not on S3."""
    return None if filesystem.is_s3(shard.uri) else mapped(shard)


def _opened(shard: Shard) -> int:
    """Return a file descriptor of a shard."""
    if not filesystem.is_s3(shard.uri):
        return _opened_in_place(shard)
    path = environment.cache() / f"{shard.sha256}.tar"
    descriptor = None
    while descriptor is None:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            descriptor = _fetched(shard, path)
    if abs(time.time() - os.fstat(descriptor).st_mtime) > _TOUCH_SECONDS:
        with suppress(OSError):  # of a disk that is read-only, or a file that is another user's
            os.utime(descriptor)
    return descriptor


def _opened_in_place(shard: Shard) -> int:
    try:
        descriptor = os.open(shard.uri, os.O_RDONLY)
    except FileNotFoundError:
        raise _gone(shard) from None
    try:
        _verify_once(shard, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _verify_once(shard: Shard, descriptor: int) -> None:
    """Verify a shard that is not on S3, unless a process that shares the cache has done so.

    A core does 1.3 GB/s: for 16 M images, 630 GB, eight minutes of one, which the workers share in
    the first pass, beside hours of decoding.
    """
    stat = os.fstat(descriptor)
    if stat.st_size != shard.bytes:
        raise UserError(f"{shard.uri}: {stat.st_size:,} bytes, not {shard.bytes:,}: {AGAIN}")
    record = environment.cache() / f"{shard.sha256}.verified"
    this = f"{stat.st_dev} {stat.st_ino} {stat.st_mtime_ns} {stat.st_ctime_ns}"
    with suppress(OSError):
        if record.read_bytes() == this.encode():
            return
    with open(descriptor, "rb", closefd=False) as file:
        if problem := _damage(shard, file):
            raise problem
    with suppress(OSError), filesystem.complete(record) as temporary:  # else it is done again
        temporary.write_text(this)


def _fetched(shard: Shard, path: Path) -> int | None:
    """Fetch a shard; return a descriptor of it, or None if another process was faster.

    A descriptor, because as soon as the shard has its name another process may evict it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_suffix(".lock")) as lock:
        if path.exists():
            return None
        _remove_parts(path)
        part = path.with_suffix(".part")
        try:
            _fetch(shard, part, lock)
            descriptor = os.open(part, os.O_RDONLY)
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        return descriptor


def _fetch(shard: Shard, part: Path, lock: int) -> None:
    """Fetch a shard to `part` and verify it, with one retry."""
    problem: UserError | StorageError | None = None
    for _ in range(2):
        if problem:
            logger.warning("%s; retrying once", problem)
        _make_room(shard, part.parent, lock)
        try:
            filesystem.fetch(shard.uri, part)
        except FileNotFoundError:
            raise _gone(shard) from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            problem = StorageError(
                f"{part.parent}: {error.strerror} for {shard.uri} ({shard.bytes:,} bytes): "
                "lower WEBLY_CACHE_GIGABYTES, or set WEBLY_CACHE to a folder with more space"
            )
        else:
            with part.open("rb") as file:
                problem = _damage(shard, file)
                # Else, after a power cut, the file might not contain what was verified.
                os.fsync(file.fileno())
            if not problem:
                return
            part.unlink()
    assert problem
    raise problem


def _gone(shard: Shard) -> UserError:
    return UserError(
        f"{shard.uri}: this shard is gone: put it back, point WEBLY_STORE to where it is, or "
        f"{AGAIN}"
    )


def _damage(shard: Shard, file: BinaryIO) -> UserError | None:
    """Return what is wrong with a copy of a shard, if anything."""
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    size = os.fstat(file.fileno()).st_size
    if (size, sha256) == (shard.bytes, shard.sha256):
        return None
    return UserError(
        f"{shard.uri}: damaged: {size:,} bytes with SHA-256 {sha256}, not {shard.bytes:,} with "
        f"{shard.sha256}: {AGAIN}"
    )


def _make_room(shard: Shard, folder: Path, lock: int) -> None:
    """Evict shards until there is room for one more, and claim it by its lock's length."""
    os.ftruncate(lock, 0)  # before waiting for others, who may be waiting for room
    with _locked(folder / "lock"):
        limit = environment.cache_limit()
        if limit is not None and shard.bytes > limit:
            raise UserError(
                f"{shard.uri}: {shard.bytes:,} bytes do not fit in a cache of {limit:,}: "
                "raise WEBLY_CACHE_GIGABYTES"
            )
        limit = environment.cache_bytes()
        while True:
            _remove_parts_of_killed(folder)
            under_way = sum(stat.st_size for _, stat in _files(folder, ".lock"))
            needed = under_way + shard.bytes
            lacking = _evict(folder, needed, limit)
            if lacking <= 0:
                os.ftruncate(lock, shard.bytes)
                return
            if not under_way:
                raise StorageError(
                    f"{folder}: its disk lacks {lacking:,} bytes for {shard.uri}: set WEBLY_CACHE "
                    "to a folder with more space"
                )
            time.sleep(_WAIT_SECONDS)  # shards being fetched can be evicted once they are there


def _evict(folder: Path, needed: int, limit: int) -> int:
    """Evict shards, the least recently used first, to have `needed` bytes; return how many lack.

    Those that a clock dated to the future, before it was set back, go before all others.
    """
    shards = _files(folder, ".tar")
    now = time.time_ns()
    shards.sort(key=lambda file: (file[1].st_mtime_ns <= now, file[1].st_mtime_ns))
    held = sum(stat.st_size for _, stat in shards)
    arrived = sum(stat.st_blocks * 512 for _, stat in _files(folder, ".part"))
    free = shutil.disk_usage(folder).free + arrived
    lacking = needed - min(limit - held, free)
    for path, stat in shards:
        if lacking <= 0:
            break
        path.unlink(missing_ok=True)
        lacking -= stat.st_size
    return lacking


def _remove_parts_of_killed(folder: Path) -> None:
    for path in folder.glob(f"{_DIGEST}.lock"):
        with suppress(BlockingIOError), _locked(path, wait=False):
            _remove_parts(path)


def _remove_parts(path: Path) -> None:
    """Remove a killed process's parts of a shard, whose lock this process holds."""
    for part in path.parent.glob(
        f"*{path.stem}.*part"
    ):  # also under `filesystem.fetch`'s temporary name
        part.unlink()


def _files(folder: Path, suffix: str) -> list[tuple[Path, os.stat_result]]:
    found = []
    for path in folder.glob(f"{_DIGEST}{suffix}"):
        with suppress(FileNotFoundError):  # it may have gone since it was listed
            found.append((path, path.stat()))
    return found


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[int]:
    """Hold a lock file, created for it and removed afterwards; yield its descriptor.

    Raises:
        BlockingIOError: Another process holds it, and `wait` is false.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # Its last holder has removed it, and others may have created a new one.
            if os.fstat(descriptor).st_nlink > 0:
                try:
                    yield descriptor
                finally:
                    path.unlink(missing_ok=True)
                return
        finally:
            # Closing is not enough: a process forked meanwhile also has it open.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _fetch_ahead(groups: Iterable[Sequence[Shard]], calls: int, caller: int, parent: int) -> None:
    leave_signals_to_parent()
    os.close(caller)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    under_way = deque[tuple[Sequence[Shard], list[Future[None]]]]()
    with ThreadPoolExecutor(_THREADS) as threads:
        for group in groups:
            _touch(group)
            under_way.append((group, [threads.submit(_try_to_fetch, shard) for shard in group]))
            if len(under_way) == 2:  # the one being read and the next
                if not os.read(calls, 1):
                    return
                for future in under_way.popleft()[1]:
                    future.cancel()
                _touch(under_way[0][0])


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _touch(shards: Sequence[Shard]) -> None:
    """Mark shards as used, so that others are evicted first."""
    for shard in shards:
        with suppress(OSError):  # it is not there yet, or as in `_opened`
            os.utime(environment.cache() / f"{shard.sha256}.tar")


def _try_to_fetch(shard: Shard) -> None:
    try:
        os.close(_opened(shard))
    except Exception as error:  # whatever it is: readers will get it, too
        logger.warning("prefetching: %s", error)
