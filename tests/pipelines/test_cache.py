import json
from pathlib import Path

import pytest

from pipelines.cache import Cache
from pipelines.graph import Task

INGEST = Task(
    name="ingest",
    module="components.ingest",
    image="webly/text:ingest-1",
    command=("python", "-m", "components.ingest", "{{$}}"),
    parameters={},
    inputs={},
    outputs={"images": "system.Dataset"},
    dependencies=(),
    enable_cache=True,
)


def ingested(cache: Cache, *uris: str) -> None:
    images = cache.cleared(INGEST, "key") / "images"
    images.mkdir()
    manifest = {"shards": [{"uri": uri} for uri in uris]}
    (images / "manifest.json").write_text(json.dumps(manifest))
    cache.add(INGEST, "key", seconds=1.0, peak_bytes=0)


def test_an_image_set_whose_shard_is_gone_is_not_found(tmp_path: Path) -> None:
    cache, shard = Cache(tmp_path / "artifacts"), tmp_path / "store" / "train-00000.tar"
    shard.parent.mkdir()
    shard.touch()
    ingested(cache, str(shard))
    assert cache.find(INGEST, "key") is not None

    shard.unlink()

    assert cache.find(INGEST, "key") is None


def test_shards_that_are_objects_are_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    cache = Cache(tmp_path / "artifacts")
    ingested(cache, "s3://bucket/train-00000.tar")

    assert cache.find(INGEST, "key") is not None
