import json
from pathlib import Path

from components.shared import storage
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


def test_an_image_set_whose_shard_is_gone_is_not_found(tmp_path: Path, place: str) -> None:
    cache, uri = Cache(tmp_path / "artifacts"), f"{place}/images/train-00000.tar"
    (tmp_path / "shard").touch()
    storage.put(tmp_path / "shard", uri)
    ingested(cache, uri)
    assert cache.find(INGEST, "key") is not None

    storage.remove(uri)

    assert cache.find(INGEST, "key") is None
