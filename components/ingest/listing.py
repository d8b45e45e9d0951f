"""All files below a data set's folder, listed once, and which of them are images.

What an operating system or a NAS has left there is skipped.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from components.shared.stage.errors import UserError
from components.shared.storage import filesystem

_SYSTEM = {"__macosx", "@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "lost+found"}
_SYSTEM |= {"__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "system volume information"}
_IMAGES = {"jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp", "bmp"}
_OTHERS = {
    "txt",
    "json",
    "jsonl",
    "ndjson",
    "csv",
    "tsv",
    "xml",
    "md",
    "yaml",
    "yml",
    "py",
    "parquet",
}
_OTHERS |= {
    "ipynb",
    "pdf",
    "npy",
    "npz",
    "mat",
    "pkl",
    "h5",
    "pt",
    "pth",
    "log",
    "db",
    "idx",
    "arrow",
}
_OTHERS |= {"zip", "tar", "gz", "tgz", "bz2", "xz", "7z", "rar", "mp4", "mov", "avi", "mp3", "wav"}
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM")
_MOST_LOOKS = 500  # into files on S3, where each takes some ten milliseconds


class Found(NamedTuple):
    """A file: its path below the data set's folder, its size, and whether it is an image."""

    name: str
    bytes: int
    is_image: bool


class Listing:
    """The files in the order of their names; iterate over it as often as needed.

    Attributes:
        root: The data set's folder, without a slash at its end.
        skipped: How many files and folders of systems there are, by their names.
    """

    def __init__(self, root: str, copy: Path) -> None:
        """List a folder, keeping the list in the file `copy`: S3 takes half an hour for 16 M files.

        Raises:
            UserError: There is no such folder, no file in it, or a folder that nobody may read.
        """
        self.root, self.skipped = root, Counter[str]()
        self._copy, self._looks, empty = copy, 0, True
        last = ""
        with copy.open("w") as lines:
            for name, size in filesystem.listed(root, skip=self._skip):
                parts = name.split("/")
                system = next((i for i, part in enumerate(parts) if is_system(part)), None)
                if system is None:
                    lines.write(f"{json.dumps((name, size, self._is_image(name, size)))}\n")
                    empty = False
                elif (above := "/".join(parts[: system + 1])) != last:
                    self.skipped[parts[system]] += 1
                    last = above
        if empty:
            raise UserError(f"{root}: no such folder, or no files in it")

    def __iter__(self) -> Iterator[Found]:
        with self._copy.open() as lines:
            for line in lines:
                yield Found(*json.loads(line))

    def _skip(self, folder: str) -> bool:
        if is_system(folder):
            self.skipped[folder] += 1
            return True
        return False

    def _is_image(self, name: str, size: int) -> bool:
        """Tell an image by the suffix that it has, else by its first bytes."""
        suffix = name.rpartition("/")[2].partition("?")[0].rpartition(".")[2].casefold()
        if suffix in _IMAGES or suffix in _OTHERS or not size:
            return suffix in _IMAGES
        self._looks += 1
        if self._looks > _MOST_LOOKS and filesystem.is_s3(self.root):
            return True  # if it is none, its decoder will say so
        try:
            head = filesystem.read(f"{self.root}/{name}", 0, 12)
        except (FileNotFoundError, PermissionError):
            return False
        return head.startswith(_BEGINNINGS) or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


def is_system(name: str) -> bool:
    """Return whether a file or folder was left by a system or tool, by its name."""
    return name.startswith(".") or name.casefold() in _SYSTEM
