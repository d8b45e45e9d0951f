"""All files below a data set's folder, listed once, and which of them are images.

What an operating system or a NAS has left there is skipped.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO, cast

from components.shared.stage.errors import UserError
from components.shared.storage import filesystem

_SYSTEM = {"__macosx", "@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "lost+found"}
_SYSTEM |= {"__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "system volume information"}
IMAGES = {"jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp", "bmp"}
PACKED = {"parquet", "arrow", "zip", "tar", "gz", "tgz", "bz2", "xz", "7z", "rar"}
# Suffixes of which many lie in data sets, and none is an image's.
_KNOWN = IMAGES | PACKED | {"txt", "json", "jsonl", "ndjson", "csv", "tsv", "xml", "md", "yaml"}
_KNOWN |= {"yml", "py", "ipynb", "pdf", "npy", "npz", "mat", "pkl", "h5", "pt", "pth"}
PHOTOS = {"heic", "heif", "tif", "tiff", "avif", "jxl"}  # that are not read
_MOST_PHOTOS = 0.1  # of all images: with more, the set is another one without them
_KNOWN |= {"log", "db", "idx", "mp4", "mov", "avi", "mp3", "wav"}
_STANDS_FOR = "\0"  # in a list, for a line feed: no name has it
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
        folders: How many images lie directly in each folder that has some, by its path.
        skipped: How many files and folders of systems there are, by their names.
        pathless: Names of objects on S3 that cannot be paths, which are not among the files.
    """

    def __init__(self, root: str, copy: Path) -> None:
        """List a folder, keeping the list in the file `copy`: S3 takes half an hour for 16 M files.

        Raises:
            UserError: There is no such folder, no file in it, or a folder that nobody may read.
        """
        self.root, self.folders, self.skipped = root, Counter[str](), Counter[str]()
        self.pathless = list[str]()
        self._copy, self._others = copy, copy.with_name(f"{copy.name}-others")
        self._looks, self._suffixes = 0, Counter[str]()
        folder, is_skipped = None, False
        with _opened(self._copy, "w") as lines, _opened(self._others, "w") as others:
            for name, size in filesystem.listed(
                root, skip=self._skip, pathless=self.pathless.append
            ):
                above, _, file = name.rpartition("/")
                if above != folder:
                    folder, is_skipped = above, any(map(self._skip, above.split("/")))
                if is_skipped or self._skip(file):
                    continue
                is_image = self._is_image(name, size)
                written = name.replace("\n", _STANDS_FOR)
                line = f"{is_image:d} {size} {written}\n"
                lines.write(line)
                if is_image:
                    self.folders[above] += 1
                else:
                    others.write(line)
                    self._suffixes[suffix(name)] += 1
        if not self.folders and not self._suffixes:
            why = f"; rename {self.pathless[0]!r}, which is no path" if self.pathless else ""
            raise UserError(f"{root}: no such folder, or no files in it{why}")

    def __iter__(self) -> Iterator[Found]:
        return _read(self._copy)

    def others(self) -> Iterator[Found]:
        """Yield the files that are no images, of which there are few."""
        return _read(self._others)

    def check(self) -> None:
        """Refuse a data set without a single image, or with many that are not read.

        Raises:
            UserError: It says what is there instead.
        """
        if not self.folders:
            found = ", ".join(
                f"{count:,} {f'.{suffix}' if suffix else 'without a suffix'}"
                for suffix, count in self._suffixes.most_common(4)
            )
            raise UserError(
                f"{self.root}: no folders with images there: of {self._suffixes.total():,} files "
                f"({found}) none is a JPEG, PNG, GIF, WebP or BMP{self._remedy()}"
            )
        photos, images = self._photos(), self.folders.total()
        if photos.total() > _MOST_PHOTOS * (photos.total() + images):
            kinds = ", ".join(f"{count:,} .{kind}" for kind, count in photos.most_common())
            raise UserError(
                f"{self.root}: beside {images:,} images there are {kinds}, which are not read: "
                "convert them to JPEG, or remove them"
            )

    def _photos(self) -> Counter[str]:
        return Counter({kind: self._suffixes[kind] for kind in PHOTOS & {*self._suffixes}})

    def _remedy(self) -> str:
        if self._photos():
            return "; convert them to JPEG"
        if "parquet" in self._suffixes or "arrow" in self._suffixes:
            return "; if tables hold the images themselves, save each as a file of its own"
        packed = ", ".join(f".{each}" for each in sorted(PACKED & {*self._suffixes}))
        return f"; unpack what is in {packed}" if packed else ""

    def _skip(self, folder: str) -> bool:
        if is_system(folder):
            self.skipped[folder] += 1
            return True
        return False

    def _is_image(self, name: str, size: int) -> bool:
        """Tell an image by the suffix that it has, else by its first bytes."""
        kind = suffix(name)
        if kind in _KNOWN or not size:
            return kind in IMAGES
        self._looks += 1
        if self._looks > _MOST_LOOKS and filesystem.is_s3(self.root):
            return True  # if it is none, its decoder will say so
        try:
            head = filesystem.read(f"{self.root}/{name}", 0, 12)
        except (FileNotFoundError, PermissionError):
            return False
        return head.startswith(_BEGINNINGS) or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


def _opened(path: Path, mode: str) -> TextIO:
    # Names may be no UTF-8.
    return cast("TextIO", path.open(mode, encoding="utf-8", errors="surrogateescape", newline="\n"))


def _read(path: Path) -> Iterator[Found]:
    with _opened(path, "r") as lines:
        for line in lines:
            is_image, size, name = line[:-1].split(" ", 2)
            yield Found(name.replace(_STANDS_FOR, "\n"), int(size), is_image == "1")


def suffix(name: str) -> str:
    """Return a file's suffix in small letters, without its dot; empty if it has none."""
    file = name.rpartition("/")[2].partition("?")[0]
    return file.rpartition(".")[2].casefold() if "." in file else ""


def is_system(name: str) -> bool:
    """Return whether a file or folder was left by a system or tool, by its name."""
    return name.startswith(".") or name.casefold() in _SYSTEM
