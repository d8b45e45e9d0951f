import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from components.ingest import archives
from components.ingest.dataset import Reject
from components.shared.storage import filesystem


def _tar(path: Path, names: list[str], format: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as tar:
        for number, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size = 700 + number
            tar.addfile(member, io.BytesIO(bytes([number]) * member.size))
    return path


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_members_are_found_and_read_in_place(location: str, tmp_path: Path, format: int) -> None:
    names = ["a.jpg", "./b/-c.jpg", "/".join(["long" * 10] * 4) + "/d.jpg"]
    path = _tar(tmp_path / "x.tar", names, format)
    uri = f"{location}/x.tar"
    filesystem.put(path, uri)

    found = list(archives.members(uri, path.stat().st_size))

    assert [member.name for member in found if isinstance(member, archives.Member)] == names
    contents = [archives.read(uri, member.offset, member.length) for member in found
                if isinstance(member, archives.Member)]  # fmt: skip
    assert contents == [bytes([number]) * (700 + number) for number in range(3)]


def test_no_more_than_some_archives_stay_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(400):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(b"content")
        assert archives.read(str(path), 3, 2) == b"te"

    assert len(list(Path("/proc/self/fd").iterdir())) < before + 300


def test_members_that_escape_and_links_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("/etc/a.jpg", "a/../../b.jpg", "good.jpg"):
            tar.addfile(tarfile.TarInfo(name))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            member = tarfile.TarInfo("link.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)

    found = list(archives.members(str(path), path.stat().st_size))

    assert [item.name for item in found if isinstance(item, archives.Member)] == ["good.jpg"]
    refused = [item for item in found if isinstance(item, Reject)]
    assert [item.id for item in refused] == ["/etc/a.jpg", "a/../../b.jpg", "link.jpg", "link.jpg"]
    assert {item.kind for item in refused} == {"unsafe member"}


@pytest.mark.parametrize("cut", [600, 1_024 + 512 + 100])
def test_an_archive_that_ends_too_early_says_so(tmp_path: Path, cut: int) -> None:
    path = _tar(tmp_path / "x.tar", ["a.jpg", "b.jpg"])
    path.write_bytes(path.read_bytes()[:cut])

    found = list(archives.members(str(path), path.stat().st_size))

    assert "broken archive" in {item.kind for item in found if isinstance(item, Reject)}


@pytest.mark.parametrize(
    "changes",
    [
        {"size": -2_048},  # back to the header of b.jpg
        {"size": 5_000},  # beyond the end
        {"size": 2**62, "type": b"?"},  # of a type that tarfile does not know
        {"size": 2**80},
    ],
)
def test_a_size_that_cannot_be_ends_an_archive(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = _tar(tmp_path / "x.tar", ["a.jpg", "b.jpg"])
    member = tarfile.TarInfo("c.jpg")
    for field, value in changes.items():
        setattr(member, field, value)
    path.write_bytes(path.read_bytes()[:3_072] + member.tobuf(tarfile.GNU_FORMAT) + bytes(1_024))

    found = list(archives.members(str(path), path.stat().st_size))

    assert [type(item) for item in found] == [archives.Member, archives.Member, Reject]
    assert found[2][1] == "broken archive"
    assert f"a size of {changes['size']:,} bytes" in found[2][4]


def test_a_map_of_a_sparse_file_that_is_none_ends_an_archive(tmp_path: Path) -> None:
    path = _tar(tmp_path / "x.tar", ["a.jpg"])
    member = tarfile.TarInfo("b.jpg")
    member.pax_headers = {"GNU.sparse.map": "0,x", "GNU.sparse.size": "9"}
    path.write_bytes(path.read_bytes()[:1_536] + member.tobuf(tarfile.PAX_FORMAT) + bytes(1_024))

    found = list(archives.members(str(path), path.stat().st_size))

    assert [type(item) for item in found] == [archives.Member, Reject]
    assert "ValueError" in found[1][4]


def test_a_sparse_file_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    member = tarfile.TarInfo("b.jpg")
    member.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"}
    path.write_bytes(member.tobuf(tarfile.PAX_FORMAT) + bytes(1_024))

    (found,) = archives.members(str(path), path.stat().st_size)

    assert isinstance(found, Reject)
    assert found.kind == "unsafe member"


def test_a_file_too_large_to_be_an_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    member = tarfile.TarInfo("a.jpg")
    member.size = 2**32
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, 2**32 + 3 * tarfile.BLOCKSIZE)

    (found,) = archives.members(str(path), path.stat().st_size)

    assert isinstance(found, Reject)
    assert "4,294,967,296 bytes" in found.detail


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = _tar(tmp_path / "x.tar", ["a.jpg", "b.jpg", "c.jpg"])
    content = bytearray(path.read_bytes())
    content[1_536 + 3] ^= 0xFF  # in the second header
    path.write_bytes(content)

    found = list(archives.members(str(path), path.stat().st_size))

    assert [type(item) for item in found] == [archives.Member, Reject]
    assert "byte 1,536" in found[1][4]
