from pathlib import Path

import pytest

from components.ingest import shards, text_parts
from tests.ingest import layouts


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEBLY_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("WEBLY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "store"


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few images fill many shards and blocks."""
    monkeypatch.setattr(shards, "_MIN_IMAGES", 10)
    monkeypatch.setattr(text_parts, "NUM_ROWS", 7)


@pytest.fixture
def many(tmp_path: Path, small_shards: None) -> Path:
    """Ninety images in folders, for many shards."""
    for number in range(90):
        path = tmp_path / "many" / "train" / f"class{number % 3}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(layouts.jpeg((number, 2 * number, 0)))
    return tmp_path / "many"
