import re
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.shared.data.identity import Identity
from components.shared.data.image_set import INDEX, ImageSet
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem
from components.shared.storage.shard_cache import Shard
from tests import synthetic

MB = 1_000_000


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """Seven images in three shards."""
    pictures, _ = synthetic.coloured_squares(7, 16, seed=0)
    return synthetic.image_set(tmp_path / "set", pictures, images_per_shard=3)


def members(uris: Sequence[str]) -> list[bytes]:
    found = []
    for uri in uris:
        with tarfile.open(uri) as tar:
            found += [tar.extractfile(member).read() for member in tar]  # type: ignore[union-attr]
    return found


def with_shards(sizes: Sequence[int], prefix: str = "s3://bucket") -> ImageSet:
    """An image set of which nothing is there but what its manifest says of its shards."""
    shards = [
        Shard(uri=f"{prefix}/{number}.tar", bytes=size, images=1, sha256=f"{number:064x}")
        for number, size in enumerate(sizes)
    ]
    return ImageSet(shards, np.zeros(0, INDEX), 64, Identity(0, ""), Path())


def test_an_image_is_read_as_its_shard_holds_it(images: ImageSet) -> None:
    stored = members([shard.uri for shard in images.shards])

    assert [images.read(image) for image in range(len(images))] == stored


def test_images_are_read_from_s3(
    images: ImageSet, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_CACHE", str(tmp_path / "cache"))
    stored = [bytes(images.read(image)) for image in range(len(images))]
    shards = [
        replace(shard, uri=f"{bucket}/{number}.tar") for number, shard in enumerate(images.shards)
    ]
    for local, shard in zip(images.shards, shards, strict=True):
        filesystem.put(Path(local.uri), shard.uri)
        Path(local.uri).unlink()

    assert [replace(images, shards=shards).read(image) for image in range(7)] == stored
    assert len(list((tmp_path / "cache").glob("*.tar"))) == 3


def test_an_image_that_cannot_be_shown_is_named_with_its_shard(images: ImageSet) -> None:
    shard, length, offset = images.index[4].tolist()
    uri, other = images.shards[shard].uri, bytes(images.read(3))
    with Path(uri).open("r+b") as file:
        file.seek(offset)
        file.write(bytes(length))

    assert images.peek(3) == other
    with pytest.raises(UserError, match=f"^picture000004.jpg .*{uri}.*run ingest again"):
        images.peek(4)


@pytest.mark.parametrize(
    ("gigabytes", "shards"), [(0.35, 3), (0.3, 3), (0.29, 2), (0.001, 1), (1e6, 4)]
)
def test_a_window_has_the_shards_that_fit_it_at_least_one_at_most_all(
    gigabytes: float, shards: int
) -> None:
    sizes = [90 * MB, 100 * MB, 95 * MB, 10 * MB]

    assert with_shards(sizes, "/store").window_shards(gigabytes) == shards


def test_the_shards_of_a_store_are_where_the_store_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_STORE", str(tmp_path / "store"))
    synthetic.image_set(
        tmp_path / "store" / "images" / "x", synthetic.coloured_squares(1, 24, seed=0)[0]
    )
    (tmp_path / "store" / "images" / "x" / "images").rename(tmp_path / "images")
    manifest = (tmp_path / "images" / "manifest.json").read_text()
    assert '"uri": "images/x/shard-000000.tar"' in manifest

    monkeypatch.setenv("WEBLY_STORE", str(tmp_path / "moved"))
    with pytest.raises(UserError, match=f"{tmp_path}/moved/images/x/.* point WEBLY_STORE"):
        ImageSet.load(tmp_path / "images").read(0)
    (tmp_path / "store").rename(tmp_path / "moved")
    assert ImageSet.load(tmp_path / "images").read(0)[:2] == b"\xff\xd8"


def test_a_set_without_images_has_a_window() -> None:
    assert with_shards([]).window_shards(1) == 1


def test_two_windows_on_s3_must_fit_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = with_shards([100 * MB] * 10)
    monkeypatch.setenv("WEBLY_CACHE", str(tmp_path))
    monkeypatch.setenv("WEBLY_CACHE_GIGABYTES", "0.5")

    assert images.window_shards(0.2) == 2
    with pytest.raises(UserError, match=r"window_gigabytes=0.3: .* 3 shards") as error:
        images.window_shards(0.3)

    cache, window = re.findall(r"to (\S+) or", str(error.value))
    assert images.window_shards(float(window)) == 2
    monkeypatch.setenv("WEBLY_CACHE_GIGABYTES", cache)
    assert images.window_shards(0.3) == 3


def test_a_set_that_fits_the_cache_may_be_one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBLY_CACHE_GIGABYTES", "0.25")

    assert with_shards([100 * MB, 70 * MB, 70 * MB]).window_shards(32) == 3


def test_no_window_is_proposed_where_the_cache_cannot_hold_two_shards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WEBLY_CACHE_GIGABYTES", "0.15")

    with pytest.raises(UserError, match="set WEBLY_CACHE_GIGABYTES to 0.2 or more$"):
        with_shards([100 * MB] * 10).window_shards(0.1)


def test_the_cache_does_not_matter_to_local_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBLY_CACHE_GIGABYTES", "0.01")

    assert with_shards([100 * MB] * 10, "/store").window_shards(0.3) == 3
