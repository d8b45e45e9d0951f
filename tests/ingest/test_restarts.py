"""What an ingest that did not end leaves, and what the next one makes of it."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import boto3
import pytest

from components.ingest import assembly, workdir
from components.ingest.shards import Shards
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem
from tests.ingest import layouts
from tests.ingest.running import command, contents, in_store, named, run


@pytest.fixture
def placed(location: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store, local and on S3."""
    monkeypatch.setenv("WEBLY_STORE", location)
    return location


def _thousands(folder: Path) -> Path:
    for number in range(4_000):
        path = folder / f"class{number % 3}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(layouts.jpeg((number % 256, 0, 0)))
    return folder


def _written(uri: str) -> object:
    """Return when a file was written."""
    if not filesystem.is_s3(uri):
        return Path(uri).stat().st_mtime_ns
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return boto3.client("s3").head_object(Bucket=bucket, Key=key)["LastModified"]


def _finished(store: str) -> dict[str, object]:
    """Return the shards that have a part, with the time they were written."""
    parts = [uri for uri in in_store(store) if "/parts/" in uri]
    shards = [uri.replace("/parts/", "/").replace(".parquet", ".tar") for uri in parts]
    return {uri: _written(uri) for uri in shards}


def _fail_at_the_end(monkeypatch: pytest.MonkeyPatch, folder: Path, dataset: Path) -> None:
    """Run an ingest that fails when all shards are made."""
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(assembly, "counts", lambda *_: 1 / 0)
        run(folder, dataset)


def _lose_disk(folder: Path) -> None:
    for name in ("cache", "location/ingest"):
        shutil.rmtree(folder / name, ignore_errors=True)


@pytest.mark.processes
def test_an_ingest_that_was_killed_goes_on_without_its_disk_and_ends_like_any_other(
    placed: str, tmp_path: Path
) -> None:
    data = _thousands(tmp_path / "data")
    with subprocess.Popen(command(tmp_path / "out", data)) as process:
        while not _finished(placed):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finished = _finished(placed)
    assert not (tmp_path / "out" / "images").exists()
    _lose_disk(tmp_path)

    subprocess.run(command(tmp_path / "out", data), check=True)
    assert 0 < len(finished) < len(named(tmp_path / "out"))
    assert {uri: _written(uri) for uri in finished} == finished
    assert sorted(in_store(placed)) == sorted(named(tmp_path / "out"))
    resumed = contents(tmp_path / "out")
    subprocess.run(command(tmp_path / "out", data), check=True)

    assert resumed == contents(tmp_path / "out")


def test_only_shards_that_are_lost_are_made_again(
    placed: str, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_at_the_end(monkeypatch, tmp_path / "out", many)
    (lost, before), *kept = sorted(_finished(placed).items())
    filesystem.remove(lost)

    run(tmp_path / "out", many)

    assert lost in named(tmp_path / "out")
    assert _written(lost) != before
    assert {uri: _written(uri) for uri, _ in kept} == dict(kept)


def test_parts_that_another_ingest_removes_at_its_end_are_made_again(
    placed: str, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_at_the_end(monkeypatch, tmp_path / "out", many)
    _lose_disk(tmp_path)
    finished = Shards._finished

    def finished_before_the_other_ends(shards: Shards) -> set[str]:
        found = finished(shards)
        filesystem.remove_folder(f"{shards.prefix}/parts")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Shards, "_finished", finished_before_the_other_ends)
        first = contents(run(tmp_path / "out", many))

    assert first == contents(run(tmp_path / "other", many))


@pytest.mark.processes
def test_two_ingests_of_the_same_on_two_nodes_do_no_harm_to_each_other(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_STORE", bucket)
    data = _thousands(tmp_path / "data")
    nodes = []
    for node in ("a", "b"):
        monkeypatch.setenv("WEBLY_CACHE", str(tmp_path / node / "cache"))
        nodes.append(subprocess.Popen(command(tmp_path / node / "out", data)))

    assert [process.wait() for process in nodes] == [0, 0]
    assert contents(tmp_path / "a/out") == contents(tmp_path / "b/out")
    assert sorted(in_store(bucket)) == sorted(named(tmp_path / "a/out"))


def test_what_killed_writers_left_unfinished_is_removed(
    placed: str, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_at_the_end(monkeypatch, tmp_path / "out", many)
    folder, _, name = next(iter(_finished(placed))).rpartition("/")
    if filesystem.is_s3(placed):
        client, bucket = boto3.client("s3"), placed.split("/")[2]
        client.create_multipart_upload(Bucket=bucket, Key=f"{folder.split('/', 3)[3]}/{name}")
    else:
        Path(folder, "parts", f".{name}.0123abcd.part").touch()
        Path(folder, f".{name}.0123abcd.part").touch()

    run(tmp_path / "out", many)

    if filesystem.is_s3(placed):
        assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    else:
        found = {str(path) for path in Path(placed).rglob("*") if path.is_file()}
        assert found == set(named(tmp_path / "out"))


def test_the_folder_of_an_ingest_is_one_process_s_alone_and_goes_when_it_ends(store: Path) -> None:
    fingerprint = workdir.fingerprint(seed=0)
    with workdir.locked(fingerprint) as folder:
        assert folder.is_relative_to(store)
        with pytest.raises(UserError, match="is running"), workdir.locked(fingerprint):
            pass
        assert (folder / "lists").is_dir()

    assert not folder.exists()


def test_the_folder_of_an_ingest_that_fails_stays(store: Path) -> None:
    with pytest.raises(UserError), workdir.locked("x") as folder:
        raise UserError

    with workdir.locked("x"):
        assert (folder / "lists").is_dir()


def test_a_lock_that_was_removed_is_none(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open("w") as second:
        assert workdir._lock(first.fileno())
        assert not workdir._lock(second.fileno())
        (tmp_path / "lock").unlink()
        first.close()
        assert not workdir._lock(second.fileno())
