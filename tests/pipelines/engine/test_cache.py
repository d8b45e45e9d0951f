import json
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.reports.titles import Name
from components.shared.storage import filesystem
from pipelines.engine.cache import Cache
from pipelines.run.graph import Task

INGEST = Task(
    name="ingest",
    label="ingest",
    step="ingest",
    candidate=Name(),
    module="components.ingest",
    image="webly/text:ingest-1",
    command=("python", "-m", "components.ingest", "{{$}}"),
    parameters={},
    inputs={},
    outputs={"images": "system.Dataset"},
    dependencies=(),
    enable_cache=True,
)


def ingested(cache: Cache, *uris: str, **manifest: int) -> None:
    images = cache.cleared(INGEST, "key") / "images"
    images.mkdir()
    shards = [{"uri": uri, "bytes": 3, "images": 1, "sha256": "0"} for uri in uris]
    (images / "manifest.json").write_text(json.dumps({"shards": shards, **manifest}))
    cache.add(INGEST, "key", seconds=1.0, peak_bytes=0, inputs={})


def put(uri: str, content: str, folder: Path) -> None:
    (folder / "shard").write_text(content)
    filesystem.put(folder / "shard", uri)


def test_an_image_set_whose_shard_is_gone_is_not_found(tmp_path: Path, location: str) -> None:
    cache, uri = Cache(tmp_path / "artifacts"), f"{location}/images/train-00000.tar"
    put(uri, "abc", tmp_path)
    ingested(cache, uri)
    assert cache.find(INGEST, "key") is not None

    filesystem.remove(uri)
    assert cache.find(INGEST, "key") is None
    put(uri, "ab", tmp_path)
    assert cache.find(INGEST, "key") is None


def test_an_image_set_is_found_in_a_store_that_was_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, name = Cache(tmp_path / "artifacts"), "images/name/train-00000.tar"
    put(str(tmp_path / "store" / name), "abc", tmp_path)
    ingested(cache, name)
    monkeypatch.setenv("WEBLY_STORE", str(tmp_path / "moved"))
    assert cache.find(INGEST, "key") is None
    (tmp_path / "store").rename(tmp_path / "moved")
    assert cache.find(INGEST, "key") is not None


@pytest.mark.parametrize(
    ("change", "is_found"),
    [
        (lambda text: text, True),
        (lambda text: text.replace('"format": 1, ', ""), True),
        (lambda text: text[:-1], False),
        (lambda text: text.replace("{", '{"tomorrow": 1, ', 1), True),
        (lambda text: text.replace('"format": 1', '"format": 2'), False),
        (lambda text: text.replace("seconds", "minutes"), False),
    ],
    ids=["today", "yesterday", "cut", "a key more", "another format", "a key less"],
)
def test_an_entry_is_taken_if_it_can_be_read(
    tmp_path: Path, change: Callable[[str], str], is_found: bool
) -> None:
    cache = Cache(tmp_path / "artifacts")
    ingested(cache)
    path = cache.folder_of(INGEST, "key") / "entry.json"
    path.write_text(change(path.read_text()))

    assert (cache.find(INGEST, "key") is not None) == is_found


@pytest.mark.parametrize(("number", "is_found"), [(1, True), (2, False)])
def test_an_image_set_is_taken_if_it_can_be_read(
    tmp_path: Path, number: int, is_found: bool
) -> None:
    cache = Cache(tmp_path / "artifacts")
    ingested(cache, format=number)

    assert (cache.find(INGEST, "key") is not None) == is_found


def test_what_a_system_leaves_beside_outputs_is_passed_over(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "artifacts")
    ingested(cache)
    (cache.folder_of(INGEST, "key") / "images" / ".DS_Store").write_text("x")
    assert cache.find(INGEST, "key") is not None

    (cache.folder_of(INGEST, "key") / "images" / "manifest.json").unlink()
    assert cache.find(INGEST, "key") is None
