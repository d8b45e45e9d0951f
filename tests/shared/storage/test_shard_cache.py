import contextlib
import errno
import hashlib
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, count
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from components.shared.stage import environment
from components.shared.stage.boundary import USER_ERROR, ending
from components.shared.stage.errors import StorageError, UserError
from components.shared.storage import filesystem, objects, shard_cache
from components.shared.storage.shard_cache import Shard
from tests.disks import small_disk
from tests.s3_proxy import Proxy

FORK = multiprocessing.get_context("fork")
SIZE = 200_000
NUM_SHARDS = 12


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache, which nobody has made yet."""
    monkeypatch.setenv("WEBLY_CACHE", str(tmp_path / "cache"))
    limit_to(100, monkeypatch)
    return tmp_path / "cache"


@pytest.fixture
def shards(bucket: str, cache: Path) -> list[Shard]:
    """Shards on S3."""
    return [stored(f"{bucket}/{number}.tar", content(number)) for number in range(NUM_SHARDS)]


def limit_to(shards: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBLY_CACHE_GIGABYTES", str(shards * SIZE / 1e9))


def content(number: int) -> bytes:
    return random.Random(number).randbytes(SIZE)


def stored(uri: str, content: bytes) -> Shard:
    with filesystem.uploading(uri) as path:
        path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return Shard(uri=uri, bytes=len(content), images=1, sha256=digest)


def whole(shard: Shard) -> bytes:
    return bytes(shard_cache.read(shard, 0, shard.bytes))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def kept(shards: Iterable[Shard]) -> set[str]:
    """The names of just these shards in the cache."""
    return {f"{shard.sha256}.tar" for shard in shards}


def set_age(seconds: float, *shards: Shard) -> None:
    """Have shards in the cache, last used so long ago."""
    for shard in shards:
        whole(shard)
        used = time.time() - seconds
        os.utime(environment.cache() / f"{shard.sha256}.tar", (used, used))


def descriptors_of(path: Path) -> list[Path]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += [descriptor] * (descriptor.readlink() == path)
    return found


def started(function: Callable[..., object], *arguments: object) -> BaseProcess:
    process = FORK.Process(target=function, args=arguments)
    process.start()
    return process


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def has_stopped(proxy: Proxy) -> bool:
    url = urlsplit(proxy.endpoint)
    with socket.socket() as client:
        return client.connect_ex((url.hostname, url.port)) != 0


@contextlib.contextmanager
def largest(cache: Path) -> Iterator[list[int]]:
    """Yield a list that in the end holds the most bytes of shards that the cache has had."""
    most, ended = [0], threading.Event()

    def watch() -> None:
        cache.mkdir(parents=True, exist_ok=True)
        while not ended.is_set():
            held = 0
            with shard_cache._locked(cache / "lock"):  # while it is held nothing is evicted
                for path in cache.iterdir():
                    with contextlib.suppress(FileNotFoundError):
                        held += path.stat().st_size * (path.suffix in (".tar", ".part"))
            most[0] = max(most[0], held)
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        ended.set()
        watcher.join()


def test_an_image_is_read_from_its_shard(shards: list[Shard], cache: Path) -> None:
    assert shard_cache.read(shards[3], 1_000, 50) == content(3)[1_000:1_050]
    assert bytes(shard_cache.mapped(shards[3])) == content(3)
    assert names(cache) == kept([shards[3]])


def test_a_peek_fetches_no_shard(shards: list[Shard], cache: Path) -> None:
    assert shard_cache.peek(shards[3], 100, 50) == content(3)[100:150]
    assert not cache.exists()
    whole(shards[3])
    filesystem.remove(shards[3].uri)
    assert shard_cache.peek(shards[3], 100, 50) == content(3)[100:150]


def test_a_peek_into_a_shard_that_is_gone_names_it(shards: list[Shard]) -> None:
    filesystem.remove(shards[3].uri)
    with pytest.raises(UserError, match="3.tar: this shard is gone"):
        shard_cache.peek(shards[3], 100, 50)


def test_processes_that_read_at_once_fetch_each_shard_once(
    shards: list[Shard], cache: Path, proxy: Proxy
) -> None:
    def read_all(seed: int) -> None:
        numbers = list(range(NUM_SHARDS))
        random.Random(seed % 2).shuffle(numbers)  # some meet at each shard, others at none
        for number in numbers:
            assert whole(shards[number]) == content(number)

    readers = [started(read_all, seed) for seed in range(6)]
    for reader in readers:
        reader.join()

    assert [reader.exitcode for reader in readers] == [0] * 6
    assert NUM_SHARDS * SIZE < proxy.received < 1.1 * NUM_SHARDS * SIZE
    assert names(cache) == kept(shards)


def test_a_process_killed_while_it_fetches_leaves_a_cache_that_works(
    shards: list[Shard], cache: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_PART", 10_000)

    def parts() -> list[Path]:
        return [path for path in cache.glob("*.part") if path.stat().st_size > 0]

    def kill_while_fetching(shard: Shard) -> None:
        proxy.cut(SIZE // 2, for_good=True)
        reader = started(whole, shard)
        wait_until(lambda: has_stopped(proxy) and bool(parts()))
        reader.kill()
        reader.join()
        assert parts()
        proxy.start()

    kill_while_fetching(shards[0])
    assert whole(shards[0]) == content(0)
    assert names(cache) == kept(shards[:1])
    kill_while_fetching(shards[1])
    assert whole(shards[2]) == content(2)
    assert names(cache) == kept([shards[0], shards[2]])


def test_a_damaged_object_is_named_after_one_more_attempt(
    shards: list[Shard], cache: Path, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = bytearray(content(0))
    damaged[SIZE // 2] ^= 1
    found = stored(shards[0].uri, damaged).sha256
    proxy.received = 0

    with pytest.raises(UserError, match=f"{shards[0].uri}: .*{found}, not .*{shards[0].sha256}"):
        whole(shards[0])

    assert 2 * SIZE < proxy.received < 2.1 * SIZE
    assert "retrying once" in caplog.text
    assert names(cache) == set()


def test_an_object_of_another_length_is_named(shards: list[Shard]) -> None:
    stored(shards[0].uri, content(0)[:-1])

    with pytest.raises(UserError, match="199,999 bytes .* not 200,000 .*run ingest again"):
        whole(shards[0])


def test_what_was_damaged_on_its_way_is_fetched_again(
    shards: list[Shard], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, damaged = filesystem.fetch, []

    def fetch_damaged_once(uri: str, path: Path) -> None:
        fetch(uri, path)
        if not damaged:
            damaged.append(uri)
            path.write_bytes(path.read_bytes()[:-1] + b"?")

    monkeypatch.setattr(filesystem, "fetch", fetch_damaged_once)

    assert whole(shards[0]) == content(0)
    assert damaged == [shards[0].uri]


def test_a_process_that_is_ended_while_it_verifies_leaves_nothing(
    shards: list[Shard], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(hashlib, "file_digest", end)

    with pytest.raises(SystemExit):
        whole(shards[0])
    assert names(cache) == set()


def test_a_shard_that_is_gone_is_named(shards: list[Shard], cache: Path) -> None:
    filesystem.remove(shards[0].uri)

    with pytest.raises(
        UserError, match=f"{shards[0].uri}: this shard is gone: put it back.*run ingest again"
    ):
        whole(shards[0])
    assert names(cache) == set()


def test_a_pass_through_a_cache_of_a_third_of_the_set_fetches_each_shard_once(
    shards: list[Shard], cache: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_to(NUM_SHARDS / 3, monkeypatch)
    windows = list(zip(shards[::2], shards[1::2], strict=True))

    with largest(cache) as most, shard_cache.ahead(windows) as begin_next:
        for number, window in enumerate(windows):
            if number > 0:
                begin_next()
            for shard in window * 3:
                assert whole(shard) == content(shards.index(shard))
            fetched = kept(chain(*windows[number : number + 2]))
            wait_until(lambda fetched=fetched: fetched <= names(cache))  # reading takes longer

    assert proxy.received < 1.1 * NUM_SHARDS * SIZE
    assert 2 * SIZE < most[0] <= environment.cache_bytes()


def test_processes_that_need_more_than_the_cache_holds_wait_for_each_other(
    shards: list[Shard], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_to(1.5, monkeypatch)
    monkeypatch.setattr(shard_cache, "_WAIT_SECONDS", 0.005)

    def read_all(first: int) -> None:
        for number in [*range(first, NUM_SHARDS), *range(first)]:
            assert whole(shards[number]) == content(number)

    with largest(cache) as most:
        readers = [started(read_all, first) for first in (0, 4, 8)]
        for reader in readers:
            reader.join()

    assert [reader.exitcode for reader in readers] == [0] * 3
    assert most[0] <= environment.cache_bytes()


def test_a_second_attempt_lets_one_go_first_that_waits_for_its_room(
    shards: list[Shard], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_to(1.5, monkeypatch)
    fetch, fetched, other_waits = filesystem.fetch, FORK.Event(), FORK.Event()

    def fetch_damaged_once(uri: str, path: Path) -> None:
        fetch(uri, path)
        if uri == shards[0].uri and not other_waits.is_set():
            fetched.set()
            other_waits.wait()
            path.write_bytes(b"damaged")

    monkeypatch.setattr(filesystem, "fetch", fetch_damaged_once)

    first = started(whole, shards[0])
    fetched.wait()
    second = started(whole, shards[1])
    wait_until(lambda: (cache / "lock").exists())
    other_waits.set()
    first.join()
    second.join()

    assert (first.exitcode, second.exitcode) == (0, 0)
    assert names(cache) == kept(shards[:1])


def test_a_process_forked_while_a_shard_is_fetched_does_not_keep_it_locked(
    shards: list[Shard], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, forked = filesystem.fetch, threading.Event()

    def fetch_late(uri: str, path: Path) -> None:
        forked.wait()
        fetch(uri, path)

    monkeypatch.setattr(filesystem, "fetch", fetch_late)
    environment.cache().mkdir()
    lock = environment.cache() / f"{shards[0].sha256}.lock"

    readers = [threading.Thread(target=whole, args=[shards[0]]) for _ in range(2)]
    for reader in readers:
        reader.start()
    wait_until(lambda: len(descriptors_of(lock)) == 2)  # one fetches, the other waits
    child = started(time.sleep, 600)
    forked.set()
    for reader in readers:
        reader.join(60)
    assert names(environment.cache()) == kept(shards[:1])
    assert not any(reader.is_alive() for reader in readers)
    child.kill()
    child.join()


def test_the_shard_that_was_not_used_for_longest_is_evicted(
    shards: list[Shard], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_to(3, monkeypatch)
    for age, shard in zip((300, 200, 100), shards, strict=False):
        set_age(age, shard)

    whole(shards[0])
    whole(shards[3])

    assert names(cache) == kept([shards[0], shards[2], shards[3]])


def test_a_cache_that_is_read_only_gives_what_it_has(
    shards: list[Shard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        monkeypatch.setenv("WEBLY_CACHE", str(disk))
        set_age(1_000, shards[0])
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

        with shard_cache.ahead([shards[:1]]):
            assert whole(shards[0]) == content(0)
        with pytest.raises(OSError) as raised:
            whole(shards[1])

    code, line = ending(raised.value) or (0, "")
    assert code == USER_ERROR
    assert line.startswith(f"{disk}/{shards[1].sha256}.lock: the file system is read-only")


def test_a_clock_that_is_set_back_leaves_no_shard_in_the_cache_for_ever(
    shards: list[Shard], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_to(3, monkeypatch)
    for age, shard in zip((-3_000, -2_000, 1_000), shards, strict=False):
        set_age(age, shard)

    whole(shards[1])
    whole(shards[3])
    whole(shards[4])

    assert names(cache) == kept([shards[1], shards[3], shards[4]])


def test_eviction_does_not_disturb_a_process_that_reads_the_shard(
    shards: list[Shard], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_to(1, monkeypatch)
    mapped, evicted = FORK.Event(), FORK.Event()

    def read_late() -> None:
        shard = shard_cache.mapped(shards[0])
        mapped.set()
        evicted.wait()
        assert bytes(shard) == content(0)

    reader = started(read_late)
    mapped.wait()
    whole(shards[1])
    assert names(cache) == kept([shards[1]])
    evicted.set()
    reader.join()

    assert reader.exitcode == 0


def test_a_shard_larger_than_the_cache_is_refused(
    shards: list[Shard], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole(shards[0])
    limit_to(0.9, monkeypatch)

    with pytest.raises(UserError, match="200,000 bytes .* 180,000: raise WEBLY_CACHE_GIGABYTES"):
        whole(shards[1])
    assert names(cache) == kept([shards[0]])


def test_a_full_disk_is_named_after_one_more_attempt(
    shards: list[Shard], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def fail(uri: str, path: Path) -> None:
        attempts.append(uri)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(filesystem, "fetch", fail)

    with pytest.raises(StorageError, match=f"{cache}: No space left .*WEBLY_CACHE_GIGABYTES"):
        whole(shards[0])
    assert attempts == [shards[0].uri] * 2
    assert names(cache) == set()


@pytest.mark.parametrize("limit", ["", "1"])
def test_a_disk_that_is_full_of_other_things_may_have_space_at_the_next_try(
    limit: str, shards: list[Shard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_CACHE_GIGABYTES", limit)
    with small_disk(tmp_path / "disk", "220k") as disk:
        monkeypatch.setenv("WEBLY_CACHE", str(disk / "cache"))
        (disk / "others").write_bytes(bytes(100_000))

        with pytest.raises(StorageError, match=f"{disk}/cache: its disk lacks .* set WEBLY_CACHE"):
            whole(shards[0])
        (disk / "others").unlink()
        assert whole(shards[0]) == content(0)


def test_shards_make_room_where_the_disk_has_less_than_the_limit(
    shards: list[Shard], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole(shards[0])
    usage = shard_cache.shutil.disk_usage(cache)
    disk = 2.5 * SIZE

    def small_disk(folder: Path) -> Any:
        held = sum(path.stat().st_size for path in cache.glob("*.tar"))
        return usage._replace(free=int(disk - held))

    monkeypatch.setattr(shard_cache.shutil, "disk_usage", small_disk)
    whole(shards[1])
    assert names(cache) == kept(shards[:2])
    whole(shards[2])
    assert names(cache) == kept(shards[1:3])
    disk = 0.5 * SIZE
    with pytest.raises(StorageError, match="its disk lacks 100,000 bytes"):
        whole(shards[3])


def test_two_groups_are_fetched_at_once_and_one_more_when_the_next_is_begun(
    shards: list[Shard], cache: Path
) -> None:
    drawn = FORK.Value("i", 0)

    def groups() -> Iterator[Sequence[Shard]]:
        for number in count():
            drawn.value += 1
            yield [shards[number % NUM_SHARDS]]

    with shard_cache.ahead(groups()) as begin_next:
        wait_until(lambda: cache.is_dir() and names(cache) == kept(shards[:2]))
        assert drawn.value == 2
        begin_next()
        wait_until(lambda: names(cache) == kept(shards[:3]))
        assert drawn.value == 3


def test_reading_does_not_wait_for_later_groups(
    shards: list[Shard], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, later = filesystem.fetch, FORK.Event()

    def fetch_later_ones_late(uri: str, path: Path) -> None:
        if uri != shards[0].uri:
            later.wait()
        fetch(uri, path)

    monkeypatch.setattr(filesystem, "fetch", fetch_later_ones_late)

    with shard_cache.ahead([shards[:1], shards[1:]]):
        assert whole(shards[0]) == content(0)
        assert not kept(shards[1:]) & names(cache)
        later.set()
        wait_until(lambda: names(cache) == kept(shards))


def test_shards_that_are_read_now_or_next_are_evicted_last(
    shards: list[Shard], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_to(4, monkeypatch)
    first, second, third = shards[:2], shards[2:4], shards[4:6]

    def ages(shards: Sequence[Shard]) -> list[float]:
        return [time.time() - (cache / name).stat().st_mtime for name in kept(shards)]

    set_age(1_000, *first)
    set_age(2_000, *second)
    with shard_cache.ahead([first, second, third]) as begin_next:
        wait_until(lambda: max(ages([*first, *second])) < 500)
        set_age(20, *first)  # its readers used it until now
        set_age(30, *second)
        begin_next()
        wait_until(lambda: kept(third) <= names(cache))

    assert names(cache) == kept([*second, *third])


def test_what_is_there_of_a_group_stays_while_the_rest_is_fetched(
    shards: list[Shard], cache: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_to(2, monkeypatch)
    monkeypatch.setattr(shard_cache, "_THREADS", 1)
    set_age(300, shards[1])
    set_age(200, shards[2])
    proxy.received = 0

    with shard_cache.ahead([shards[:2]]):
        wait_until(lambda: not multiprocessing.active_children())

    assert names(cache) == kept(shards[:2])
    assert SIZE < proxy.received < 1.1 * SIZE


def test_what_readers_have_passed_is_not_fetched_any_more(
    shards: list[Shard], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_cache, "_THREADS", 1)
    fetch, passed, drawn = filesystem.fetch, FORK.Event(), FORK.Value("i", 0)

    def fetch_late(uri: str, path: Path) -> None:
        passed.wait()
        fetch(uri, path)

    def groups() -> Iterator[Sequence[Shard]]:
        for group in (shards[:4], shards[4:6], shards[6:7]):
            drawn.value += 1
            yield group

    monkeypatch.setattr(filesystem, "fetch", fetch_late)

    with shard_cache.ahead(groups()) as begin_next:
        wait_until(lambda: any(cache.glob("*.lock")))
        begin_next()
        wait_until(lambda: drawn.value == 3)
        passed.set()
        wait_until(lambda: kept(shards[4:7]) <= names(cache))

    assert names(cache) == kept([shards[0], *shards[4:7]])


def test_readers_raise_what_fetching_ahead_only_warns_of(shards: list[Shard], cache: Path) -> None:
    filesystem.remove(shards[0].uri)

    with shard_cache.ahead([shards[:2], shards[2:4]]) as begin_next:
        wait_until(lambda: cache.is_dir() and names(cache) == kept(shards[1:4]))
        with pytest.raises(UserError, match="this shard is gone"):
            whole(shards[0])
        begin_next()


def test_groups_may_be_begun_when_all_are_fetched(shards: list[Shard], cache: Path) -> None:
    with shard_cache.ahead([shards[:2], shards[2:3]]) as begin_next:
        begin_next()
        wait_until(lambda: not multiprocessing.active_children())
        begin_next()

    assert names(cache) == kept(shards[:3])


def test_the_fetching_process_ends_with_its_block(shards: list[Shard]) -> None:
    with pytest.raises(RuntimeError), shard_cache.ahead([shards]):
        (fetching,) = multiprocessing.active_children()
        raise RuntimeError

    assert fetching.exitcode is not None


def test_the_fetching_process_outlives_its_groups_signals(shards: list[Shard], cache: Path) -> None:
    def go_on() -> None:
        os.setpgrp()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        with shard_cache.ahead([[shard] for shard in shards]) as begin_next:
            wait_until(lambda: cache.is_dir() and names(cache) == kept(shards[:2]))
            for number in (signal.SIGTERM, signal.SIGINT):
                os.killpg(0, number)
            begin_next()
            wait_until(lambda: names(cache) == kept(shards[:3]))

    process = started(go_on)
    process.join()
    assert process.exitcode == 0


def test_the_fetching_process_ends_when_its_parent_is_killed(
    shards: list[Shard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "fetch", lambda uri, path: time.sleep(600))
    alive, held = os.pipe()
    sleeping = FORK.Event()

    def sleep_in_block() -> None:
        with shard_cache.ahead([shards]):
            sleeping.set()
            time.sleep(600)

    parent = started(sleep_in_block)
    os.close(held)  # now only that process and the one that it forks hold it
    sleeping.wait()
    parent.kill()
    parent.join()

    assert os.read(alive, 1) == b""
    os.close(alive)


def test_local_shards_are_read_where_they_are(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = [stored(str(tmp_path / f"{number}.tar"), content(number)) for number in range(4)]

    with shard_cache.ahead([shards[:2], shards[2:]]) as begin_next:
        assert multiprocessing.active_children() == []
        begin_next()
        assert [whole(shard) for shard in shards] == [content(number) for number in range(4)]

    assert {path.suffix for path in cache.iterdir()} == {".verified"}


def test_a_local_shard_that_is_gone_or_cut_off_is_named(tmp_path: Path) -> None:
    shard = stored(str(tmp_path / "shard.tar"), content(0))

    with pytest.raises(
        UserError, match="none.tar: this shard is gone: put it back.*run ingest again"
    ):
        whole(replace(shard, uri=str(tmp_path / "none.tar")))
    os.truncate(shard.uri, SIZE - 1)
    with pytest.raises(UserError, match="shard.tar: 199,999 bytes, not 200,000: run ingest again"):
        whole(shard)


@pytest.fixture
def local(tmp_path: Path, cache: Path) -> Shard:
    """A shard in a folder."""
    return stored(str(tmp_path / "store" / "0.tar"), content(0))


DAMAGED = {
    "zeroed": bytes(SIZE),
    "a bit flipped": bytes([content(0)[0] ^ 1]) + content(0)[1:],
}


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_shard_in_a_folder_is_named(local: Shard, damaged: bytes) -> None:
    Path(local.uri).write_bytes(damaged)

    with pytest.raises(UserError, match=f"{local.uri}: damaged: .* SHA-256 .*: run ingest again"):
        shard_cache.read(local, 0, 10)


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_shard_that_is_damaged_later_is_verified_anew(local: Shard, damaged: bytes) -> None:
    os.close(shard_cache._opened(local))
    Path(local.uri).write_bytes(damaged)

    with pytest.raises(UserError, match="damaged"):
        shard_cache.read(local, 0, 10)
    assert descriptors_of(Path(local.uri)) == []


def test_a_record_of_verification_that_is_damaged_is_made_anew(local: Shard, cache: Path) -> None:
    cache.mkdir()
    (cache / f"{local.sha256}.verified").write_bytes(b"\xff")

    assert whole(local) == content(0)


def test_a_shard_in_a_folder_is_verified_once_for_all_processes_of_a_node(
    local: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[Shard] = []
    damage = shard_cache._damage
    monkeypatch.setattr(
        shard_cache, "_damage", lambda shard, file: verified.append(shard) or damage(shard, file)
    )

    for _ in range(3):
        shard_cache._local.cache_clear()  # as in another process
        assert bytes(shard_cache.read(local, 5, 10)) == content(0)[5:15]

    assert verified == [local]


def test_without_a_cache_to_write_to_shards_are_verified_each_time(
    local: Shard, cache: Path
) -> None:
    cache.write_text("a file in the folder's place")

    assert whole(local) == content(0)


def test_a_glance_verifies_nothing(local: Shard, cache: Path) -> None:
    assert shard_cache.peek(local, 5, 10) == content(0)[5:15]
    assert not cache.exists()


def test_what_others_have_put_into_the_cache_stays(
    local: Shard, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir()
    foreign = [cache / name for name in (".DS_Store", "Thumbs.db", "photos.tar", "apt.lock")]
    foreign.append(cache / "apt.x.part")
    for path in foreign:
        path.write_bytes(b"x" * 10)
    (cache / "folder.tar").mkdir()
    shard = replace(local, uri="s3://bucket/0.tar")
    limit_to(1, monkeypatch)

    for number in range(2):
        other = content(number)
        digest = hashlib.sha256(other).hexdigest()
        monkeypatch.setattr(filesystem, "fetch", lambda uri, path, o=other: path.write_bytes(o))
        assert whole(replace(shard, sha256=digest)) == other

    assert kept([replace(shard, sha256=hashlib.sha256(content(1)).hexdigest())]) < names(cache)
    assert all(path.read_bytes() == b"x" * 10 for path in foreign)
    assert (cache / "folder.tar").is_dir()
