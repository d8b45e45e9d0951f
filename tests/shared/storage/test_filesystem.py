import io
import random
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from components.shared.stage.errors import UserError
from components.shared.storage import filesystem, objects
from tests.s3_proxy import Proxy

LARGE = random.Random(1).randbytes(12_000_000)


@pytest.fixture
def direct(s3_server: str) -> Any:
    """boto3's own client."""
    import boto3

    return boto3.client("s3", endpoint_url=s3_server)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """`LARGE` takes three parts; S3 has none that are smaller."""
    monkeypatch.setattr(objects, "_PART", 5 * 2**20)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A file to upload."""
    path = tmp_path / "new"
    path.write_bytes(b"new")
    return path


def write(uri: str, content: bytes = b"") -> None:
    with filesystem.uploading(uri) as path:
        path.write_bytes(content)


def names(uri: str) -> list[str]:
    return [entry.name for entry in filesystem.listed(uri)]


def test_a_file_appears_only_when_its_block_ends_well(tmp_path: Path) -> None:
    with filesystem.complete(tmp_path / "new" / "file") as temporary:
        temporary.write_text("x")
        assert not (tmp_path / "new" / "file").exists()

    assert (tmp_path / "new" / "file").read_text() == "x"


def test_a_folder_replaces_the_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()

    with filesystem.complete(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "new").touch()

    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]


def test_schemes_other_than_s3_are_refused() -> None:
    with pytest.raises(UserError, match="gs://bucket/x"):
        filesystem.is_s3("gs://bucket/x")


def test_a_failed_write_leaves_what_was_there_and_no_rest(location: str) -> None:
    write(f"{location}/file", b"old")

    with pytest.raises(RuntimeError), filesystem.uploading(f"{location}/file") as path:
        path.write_text("new")
        raise RuntimeError

    assert filesystem.read(f"{location}/file") == b"old"
    assert names(location) == ["file"]


@pytest.mark.parametrize("content", [b"", b"x", LARGE], ids=len)
def test_what_was_put_is_fetched(
    location: str, content: bytes, tmp_path: Path, small_parts: None
) -> None:
    (tmp_path / "here").write_bytes(content)

    filesystem.put(tmp_path / "here", f"{location}/there")
    filesystem.fetch(f"{location}/there", tmp_path / "back")

    assert (tmp_path / "back").read_bytes() == content
    assert filesystem.read(f"{location}/there") == content
    assert filesystem.opened(f"{location}/there").read() == content
    assert list(filesystem.listed(location)) == [("there", len(content))]


@pytest.mark.parametrize("name", ["a b.txt", "ü+%20#1?x&y=z", "deep/er\\still/'\"<>.jpg"])
def test_names_may_have_any_characters(location: str, name: str, tmp_path: Path) -> None:
    write(f"{location}/{name}", b"content")

    assert names(location) == [name]
    assert filesystem.exists(f"{location}/{name}")
    assert filesystem.read(f"{location}/{name}") == b"content"
    with filesystem.local_folder(location) as folder:
        assert (folder / name).read_bytes() == b"content"
    filesystem.remove(f"{location}/{name}")
    assert names(location) == []


def test_a_part_of_a_file_is_read_alone(location: str) -> None:
    write(f"{location}/file", b"0123456789")

    assert filesystem.read(f"{location}/file", 3, 4) == b"3456"
    assert filesystem.read(f"{location}/file", 8, 9) == b"89"
    assert filesystem.read(f"{location}/file", 8) == b"89"
    assert filesystem.read(f"{location}/file", 3, 0) == b""
    assert filesystem.read(f"{location}/file", 10, 1) == b""


def test_what_is_not_there_is_not_found(location: str, tmp_path: Path) -> None:
    write(f"{location}/file-of-another-name")

    assert not filesystem.exists(f"{location}/file")
    for read in (
        lambda: filesystem.read(f"{location}/file"),
        lambda: filesystem.opened(f"{location}/file"),
        lambda: filesystem.fetch(f"{location}/file", tmp_path / "folder" / "file"),
    ):
        with pytest.raises(FileNotFoundError, match="/file'"):
            read()
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize("content", [b"old", LARGE], ids=len)
def test_what_is_there_stays_if_so_wanted(
    location: str, content: bytes, new: Path, small_parts: None
) -> None:
    write(f"{location}/file", content)

    filesystem.put(new, f"{location}/file", if_absent=True)
    filesystem.put(new, f"{location}/other", if_absent=True)

    assert filesystem.read(f"{location}/file") == content
    assert filesystem.read(f"{location}/other") == b"new"
    assert names(location) == ["file", "other"]


def test_what_appears_during_an_upload_stays_if_so_wanted(
    location: str, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(f"{location}/file", b"old")
    monkeypatch.setattr(objects, "exists", lambda uri: False)  # it was not, a moment ago

    filesystem.put(new, f"{location}/file", if_absent=True)

    assert filesystem.read(f"{location}/file") == b"old"


def test_files_are_listed_in_one_order_everywhere(location: str) -> None:
    sizes = {"B": 1, "a-b/x": 2, "a.txt": 3, "a/b/c": 4, "a/x": 5, "b": 6, "ü": 7, "\U0001f984": 8}
    for name, size in sizes.items():
        write(f"{location}/{name}", bytes(size))
    write(f"{location}-of-others/x")

    assert list(filesystem.listed(location)) == list(sizes.items())
    assert list(filesystem.listed(f"{location}/a/")) == [("b/c", 4), ("x", 5)]
    assert list(filesystem.listed(f"{location}/none")) == []


def test_an_unfinished_file_is_not_listed(tmp_path: Path) -> None:
    with filesystem.uploading(str(tmp_path / "file")) as path:
        path.touch()
        assert names(str(tmp_path)) == []

    assert names(str(tmp_path)) == ["file"]


def test_a_listing_has_all_pages(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [f"{number:03d}" for number in range(50)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: write(f"{bucket}/{name}"), expected))
    monkeypatch.setattr(objects, "_PAGE", 7)

    assert names(bucket) == expected


def test_the_empty_objects_that_stand_for_folders_are_no_files(bucket: str, direct: Any) -> None:
    for key in ("data/", "data/cat/", "data/cat/1.jpg", "database"):
        direct.put_object(Bucket=bucket.removeprefix("s3://"), Key=key)

    with filesystem.local_folder(f"{bucket}/data") as folder:
        found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    assert found == {"cat/1.jpg"}


@pytest.mark.parametrize("key", ["data/../../x", "data//etc/x", "data/.."])
def test_a_key_that_leaves_its_folder_is_left_out(
    bucket: str, key: str, direct: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for each in (key, "data/y"):
        direct.put_object(Bucket=bucket.removeprefix("s3://"), Key=each)

    with filesystem.local_folder(f"{bucket}/data") as folder:
        found = [str(path.relative_to(folder)) for path in folder.rglob("*")]

    assert found == ["y"]
    assert f"{bucket}/{key}: left out" in caplog.text


def test_a_folder_that_is_not_there_is_named(location: str) -> None:
    with (
        pytest.raises(UserError, match=r"location/none: no (such folder|objects there)"),
        filesystem.local_folder(f"{location}/none"),
    ):
        pass


def test_a_folder_is_removed_with_all_below_it_and_nothing_else(location: str) -> None:
    for name in ("gone/1", "gone/deep/2", "gone-not", "x"):
        write(f"{location}/{name}")

    filesystem.remove_folder(f"{location}/gone")
    filesystem.remove_folder(f"{location}/gone")
    filesystem.remove(f"{location}/x")
    filesystem.remove(f"{location}/x")

    assert names(location) == ["gone-not"]


def test_uploads_of_killed_writers_are_abandoned(bucket: str, direct: Any) -> None:
    name = bucket.removeprefix("s3://")
    for key in ("folder/1", "folder/2 ü", "other"):
        direct.create_multipart_upload(Bucket=name, Key=key)

    filesystem.abandon_uploads(f"{bucket}/folder")

    left = direct.list_multipart_uploads(Bucket=name)["Uploads"]
    assert [upload["Key"] for upload in left] == ["other"]


def test_an_open_file_is_read_from_anywhere(location: str) -> None:
    write(f"{location}/file", LARGE)

    with filesystem.opened(f"{location}/file") as file:
        assert file.seek(-10, io.SEEK_END) == len(LARGE) - 10
        assert file.read() == LARGE[-10:]
        assert file.read(1) == b""
        assert file.seek(1_000_000) == 1_000_000
        assert file.read(9_000_000) == LARGE[1_000_000:10_000_000]
        file.seek(-5, io.SEEK_CUR)
        assert file.read(5) == LARGE[9_999_995:10_000_000]


def test_a_long_tar_is_read_once_and_in_large_steps(
    bucket: str, proxy: Proxy, tmp_path: Path
) -> None:
    contents = [LARGE[start : start + 100_000] for start in range(0, len(LARGE), 100_000)]
    with tarfile.open(tmp_path / "tar", "w") as tar:
        for number, content in enumerate(contents):
            member = tarfile.TarInfo(f"{number}.jpg")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    filesystem.put(tmp_path / "tar", f"{bucket}/tar")
    before = proxy.received

    with filesystem.opened(f"{bucket}/tar") as file, tarfile.open(fileobj=file) as tar:
        read = [tar.extractfile(member).read() for member in tar]  # type: ignore[union-attr]

    assert read == contents
    # Once, and a few headers of HTTP: every other byte would be one that was fetched twice.
    assert proxy.received - before < (tmp_path / "tar").stat().st_size + 5_000


def test_the_rest_of_an_open_file_is_one_request(bucket: str, proxy: Proxy) -> None:
    write(f"{bucket}/file", LARGE)
    with filesystem.opened(f"{bucket}/file") as file:
        before = proxy.received
        file.seek(100)

        assert file.read() == LARGE[100:]

    assert proxy.received - before < len(LARGE) + 1_000


def test_skipping_forward_in_what_was_read_ahead_fetches_nothing(bucket: str, proxy: Proxy) -> None:
    write(f"{bucket}/file", LARGE)
    with filesystem.opened(f"{bucket}/file") as file:
        file.read(1)
        before = proxy.received

        file.seek(8_000_000)
        assert file.read(100) == LARGE[8_000_000:8_000_100]

    assert proxy.received == before


def test_a_file_that_changes_while_it_is_read_is_no_mixture(bucket: str) -> None:
    write(f"{bucket}/file", LARGE)
    with filesystem.opened(f"{bucket}/file") as file:
        file.read(1)
        write(f"{bucket}/file", LARGE[::-1])

        with pytest.raises(UserError, match="file: changed while it was read"):
            file.read()


def test_a_file_that_shrinks_while_it_is_read_is_no_mixture(bucket: str) -> None:
    write(f"{bucket}/file", LARGE)
    with filesystem.opened(f"{bucket}/file") as file:
        file.seek(1_000_000)
        write(f"{bucket}/file", b"short")

        with pytest.raises(UserError, match="file: changed while it was read"):
            file.read()
