import errno
import os
from array import array
from pathlib import Path

import pytest

from components.ingest import source_images
from components.ingest.dataset import Files
from components.ingest.encoding import InvalidImageError
from components.shared.storage import filesystem


def test_images_come_in_the_order_asked_for_and_missing_ones_as_errors(
    location: str, tmp_path: Path
) -> None:
    for number in range(3):
        (tmp_path / "image").write_bytes(bytes([number]))
        filesystem.put(tmp_path / "image", f"{location}/cat/{number}.jpg")
    files = Files()
    files.add_folders({f"{location}/cat": array("Q", range(40))})

    ids = [f"train/cat/{number}.jpg" for number in (2, 0, 7, 1)] * 10
    reads = list(source_images.readers(files, list(range(40)), ids))

    assert len(reads) == 40
    for number, read in enumerate(reads):
        if number % 4 == 2:
            with pytest.raises(InvalidImageError, match="unreadable file"):
                read()
        else:
            assert read() == bytes([[2, 0, 0, 1][number % 4]])


def test_of_a_file_that_is_too_large_only_so_much_is_read_that_this_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_images, "MAX_BYTES", 5)
    files = Files()
    files.add_folders({str(tmp_path): array("Q", [0])})
    (tmp_path / "film.jpg").write_bytes(b"a film of an hour")

    (read,) = source_images.readers(files, [0], ["train/cat/film.jpg"])

    assert read() == b"a film"


def test_a_disk_that_fails_loses_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(uri: str, offset: int, length: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    files = Files()
    files.add_folders({str(tmp_path): array("Q", [0])})
    monkeypatch.setattr(filesystem, "read", fail)
    (read,) = source_images.readers(files, [0], ["train/cat/0.jpg"])
    with pytest.raises(OSError, match="Input/output error"):
        read()
