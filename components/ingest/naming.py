"""Which image a table means: by its path in whatever form, or by its file's name where that is one.

Tables are written on other machines, for other folders. So a path is compared in one normal form;
where the paths of a table do not match, its images may be known by their path below their split, or
by their file's name, with or without the suffix, as long as no other image has the same.
"""

import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from components.ingest.dataset import clean, id_hash
from components.ingest.listing import IMAGES

Keys = NDArray[np.uint64]
_Form = Callable[[str], str]

_MANY = 2_000_000  # images, of which no further index is made for the sake of a few rows
_SUFFIXES = re.compile(rf"\.(?:{'|'.join(sorted(IMAGES))})$", re.IGNORECASE)


class Namer:
    """Finds the images that the values of a column mean.

    Attributes:
        num_images: How many images there are.
        ids: Yields their ids, each time again.
    """

    def __init__(
        self, root: str, ids: Callable[[], Iterator[str]], prefixes: Sequence[str]
    ) -> None:
        """Make an index of the images' paths.

        Args:
            root: The data set's folder.
            ids: Yields the images' ids, each time again.
            prefixes: What the ids of some split begin with.
        """
        self._root, self._folder, self.ids = f"{root}/", "", ids
        self._prefixes = sorted(filter(None, prefixes), key=len, reverse=True)
        self._keys = np.sort(np.fromiter(map(key, ids()), np.uint64))
        self.num_images = len(self._keys)
        self._made: dict[int, tuple[Keys, Keys]] = {}
        self._forms: list[tuple[int, _Form]] | None = None
        self._paths_match = False

    def of_table(self, folder: str) -> "Namer":
        """Return a namer for a column of a table, which shares all indexes.

        Args:
            folder: The folder of the table, below the root, with a slash at its end; or empty.
        """
        other = copy(self)
        other._folder, other._forms, other._paths_match = folder, None, False
        return other

    def keys(self, values: Iterable[object]) -> tuple[Keys, NDArray[np.bool_]]:
        """Return the key of the image that each value means, and whether it means one."""
        paths = [self._normal(value) for value in values]
        found, there = np.zeros(len(paths), np.uint64), np.zeros(len(paths), bool)
        forms: list[_Form] = [self._beside_table, str, _plain]
        for form in forms if self._folder else forms[1:]:
            rows = np.flatnonzero(~there)
            other = np.array([id_hash(form(paths[row])) for row in rows], np.uint64)
            match = self._has(other)
            found[rows[match]], there[rows[match]] = other[match], True
        left = np.flatnonzero(~there)
        self._paths_match |= bool(there.any())
        if len(left) and self._forms is None:
            self._forms = list(self._useful([paths[row] for row in left]))
        for number, of_value in self._forms or ():
            rows = np.flatnonzero(~there)
            hashes = [id_hash(of_value(_plain(paths[row]))) for row in rows]
            names, keys = self._index(number)
            places = np.searchsorted(names, np.array(hashes, np.uint64)).clip(max=len(names) - 1)
            match = names[places] == hashes
            found[rows[match]], there[rows[match]] = keys[places[match]], True
        return found, there

    def _beside_table(self, path: str) -> str:
        path = f"{self._folder}{path}"
        return posixpath.normpath(path) if "../" in path else path

    def _useful(self, left: Sequence[str]) -> Iterator[tuple[int, _Form]]:
        """Yield the other names of images that some of these values have."""
        if self.num_images > _MANY and self._paths_match:
            return
        # A path is more than a name: it means the image of that name only where no path fits.
        name = _bare if self._paths_match else _name
        forms: list[_Form] = [str, str, str, name, lambda path: stem(name(path))]
        for number, of_value in enumerate(forms):
            names, _ = self._index(number)
            hashes = np.array([id_hash(of_value(_plain(path))) for path in left], np.uint64)
            if np.isin(hashes, names).any():
                yield number, of_value

    def _index(self, number: int) -> tuple[Keys, Keys]:
        """Return the names of one form that only one image has, sorted, and these images' keys."""
        if number not in self._made:
            form: _Form = (self._within, stem, lambda id: stem(self._within(id)), _name,
                           lambda id: stem(_name(id)))[number]  # fmt: skip
            names = np.fromiter((id_hash(form(nfc(id))) for id in self.ids()), np.uint64)
            keys = np.fromiter(map(key, self.ids()), np.uint64)
            order = np.argsort(names, kind="stable")
            names, keys = names[order], keys[order]
            single = np.ones(len(names), bool)
            single[1:] &= names[1:] != names[:-1]
            single[:-1] &= names[1:] != names[:-1]
            self._made[number] = names[single], keys[single]
        return self._made[number]

    def _has(self, hashes: Keys) -> NDArray[np.bool_]:
        if not len(self._keys):
            return np.zeros(len(hashes), bool)
        places = np.searchsorted(self._keys, hashes).clip(max=len(self._keys) - 1)
        return np.asarray(self._keys[places] == hashes)

    def _within(self, id: str) -> str:
        prefix = next((each for each in self._prefixes if id.startswith(each)), "")
        return id.removeprefix(prefix)

    def _normal(self, value: object) -> str:
        """Return a path in normal form: below the data set's folder, with `/`, composed."""
        if isinstance(value, list) and len(value) == 1:
            (value,) = value
        if isinstance(value, dict):  # as Hugging Face writes images
            value = value.get("path")
        path = nfc("" if value is None else clean(str(value)).strip())
        if "\\" in path:
            path = path.replace("\\", "/")
        path = path.removeprefix("file://").removeprefix(self._root)
        if "./" in path or "//" in path:  # but `..` stays
            path = "/".join(part for part in path.split("/") if part not in ("", "."))
        return path


def key(id: str) -> int:
    """Return what an image is known by, whatever the form of its name's letters."""
    return id_hash(nfc(id))


def nfc(text: str) -> str:
    """Return a text with its letters composed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _plain(path: str) -> str:
    """Return a path without what tools add: a slash before it, %20, a caption's number."""
    path = re.sub(r"#\d+$", "", path).lstrip("/")
    return nfc(unquote(path)) if "%" in path else path


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def stem(path: str) -> str:
    """Return an image's path without its suffix."""
    return _SUFFIXES.sub("", path)


def _bare(path: str) -> str:
    return "/" if "/" in path else path
