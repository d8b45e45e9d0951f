"""A whole ingest from S3 to S3, and a read of what it made, through a store that is at fault."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.ingest import shards, text_parts
from components.shared.data.image_set import ImageSet
from components.shared.stage.cli import command
from components.shared.storage import filesystem, s3
from tests.ingest import layouts
from tests.ingest.running import contents, run, upload
from tests.s3_proxy import FAULTS, FaultyProxy

IMAGES = 24
pytestmark = pytest.mark.usefixtures("small_shards")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a data set, `data`, and of what ingest makes of it without S3, `made`."""
    folder = tmp_path_factory.mktemp("whole")
    for number in range(IMAGES):
        path = folder / "data" / "train" / f"class{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(layouts.jpeg((number, 0, 0)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_MIN_IMAGES", 10)
        patch.setattr(text_parts, "NUM_ROWS", 7)
        patch.setenv("WEBLY_STORE", str(folder / "store"))
        run(folder / "made", folder / "data", image_side=16)
    return folder


@pytest.fixture
def data(whole: Path, bucket: str) -> str:
    """The data set on S3."""
    return upload(whole / "data", f"{bucket}/data")


@pytest.fixture
def faulty(data: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """What stands between this process and the server, without a fault so far."""
    monkeypatch.setenv("WEBLY_STORAGE_TIMEOUT", "60")
    monkeypatch.setattr(s3, "_LONGEST_PAUSE", 0.3)
    monkeypatch.setattr(s3, "_found", set())
    with FaultyProxy(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


def read(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return all training images, as a training on another node reads them."""
    monkeypatch.setenv("WEBLY_CACHE", str(cache))
    images = ImageSet.load(folder / "images")
    return [bytes(images.read(number)) for number in range(len(images))]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_comes_of_a_store_that_is_sometimes_at_fault_is_the_same(
    fault: str,
    faulty: FaultyProxy,
    data: str,
    bucket: str,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WEBLY_STORE", f"{bucket}/store")
    assert filesystem.exists(f"{data}/train/class0/0.jpg")  # at first there is S3
    faulty.every = 3

    # No digest comes with the images of a data set: a bit that changes there is not noticed.
    faulty.fault = None if fault == "changed" else fault
    made = run(tmp_path / "made", data, image_side=16)
    faulty.fault = fault
    found = read(made, tmp_path / "cache", monkeypatch)
    faulty.fault = None

    assert faulty.faults > 0
    ours = contents(made)
    monkeypatch.setenv("WEBLY_STORE", str(whole / "store"))
    assert found == read(whole / "made", tmp_path / "cache", monkeypatch)
    assert ours == contents(whole / "made")


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("short", 1, "no answer from "),
        ("page", 2, "is no S3: GetObject got 200, of type text/html: check AWS_ENDPOINT_URL"),
        ("missing page", 2, "is no S3: "),
        ("redirect", 2, "a redirect to https://sso.example/login"),
        ("unavailable", 1, "got SlowDown"),
        ("gateway", 1, "got 502"),
        ("error", 1, "got InternalError"),
        ("reset", 1, "no answer from "),
    ],
)
def test_a_store_that_is_always_at_fault_ends_in_a_line(
    fault: str,
    code: int,
    said: str,
    faulty: FaultyProxy,
    data: str,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("WEBLY_STORE", f"{bucket}/store")
    monkeypatch.setenv("WEBLY_STORAGE_TIMEOUT", "1")
    faulty.fault = fault

    with pytest.raises(SystemExit) as ended, command("ingest"):
        run(tmp_path / "made", data, image_side=16)

    (line,) = [each.message for each in caplog.records if each.levelno == logging.ERROR]
    assert ended.value.code == code
    assert line.startswith(f"ingest: {bucket}/data") and said in line
    assert "\n" not in line
    assert not (tmp_path / "made").exists()


def test_a_shard_that_is_always_changed_on_its_way_is_named(
    faulty: FaultyProxy, data: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_STORE", f"{bucket}/store")
    made = run(tmp_path / "made", data, image_side=16)
    faulty.fault = "changed"

    with pytest.raises(ValueError, match=f"{bucket}/store/.*tar: damaged: .* SHA-256"):
        read(made, tmp_path / "cache", monkeypatch)


def test_keys_that_are_no_paths_are_counted_and_left_out(
    data: str, bucket: str, s3_server: str, tmp_path: Path
) -> None:
    import boto3
    import pyarrow.parquet as pq

    client = boto3.client("s3", endpoint_url=s3_server)
    for key in ("data/train//class0/a.jpg", "data/train/../b.jpg"):
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=key, Body=b"x")

    made = run(tmp_path / "made", data, image_side=16)

    found = pq.read_table(made / "images" / "rejects.parquet").to_pylist()
    assert [(row["kind"], row["id"], row["detail"]) for row in found] == [
        ("unreadable name", "'train/../b.jpg'", "rename the object"),
        ("unreadable name", "'train//class0/a.jpg'", "rename the object"),
    ]
    kept = [ImageSet.load(made / name) for name in ("images", "evaluation/validation")]
    assert sum(map(len, kept)) == IMAGES
