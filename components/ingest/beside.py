"""Texts in files beside images: `0.txt`, `0.caption`, and downloaders' `0.json` or `0.jpg.json`."""

import re
from collections.abc import Iterator

import numpy as np

from components.ingest import columns, metadata, wording
from components.ingest.columns import alias
from components.ingest.listing import Listing
from components.ingest.naming import Keys, key, stem
from components.ingest.tables import decoded
from components.shared.storage import filesystem

_LONGEST = 65_536  # bytes of a file
_SUFFIXES = (".txt", ".caption", ".json")
_LETTER = re.compile(r"[^\W\d_]")  # boxes of objects have none


class Beside:
    """The texts beside images, by suffix; at 16 M, 8 bytes an image for each."""

    def __init__(self, listing: Listing) -> None:
        """Look for them among the files of a data set."""
        self._root = listing.root
        found = {suffix: _keys(listing, suffix) for suffix in _SUFFIXES}
        self._keys = {suffix: keys for suffix, keys in found.items() if len(keys)}
        if self._keys:
            names = (name for each in listing if each.is_image for name in _names(each.name))
            images = np.fromiter(map(key, names), np.uint64)
            kept = {suffix: np.intersect1d(keys, images) for suffix, keys in self._keys.items()}
            self._keys = {suffix: keys for suffix, keys in kept.items() if len(keys)}

    def __contains__(self, name: str) -> bool:
        """Return whether a file is a text beside an image."""
        return any(name.endswith(suffix) and _has(keys, name.removesuffix(suffix))
                   for suffix, keys in self._keys.items())  # fmt: skip

    def __str__(self) -> str:
        """Say how many there are; empty if there are none."""
        return "; ".join(f"{len(keys):,} files {suffix} beside images of the same name"
                         for suffix, keys in self._keys.items())  # fmt: skip

    def texts(self, image: str) -> Iterator[tuple[str, str]]:
        """Yield the texts beside an image, each with its field: title, description or tags."""
        for suffix, keys in self._keys.items():
            for name in _names(image):
                if _has(keys, name):
                    content = self._read(name + suffix)
                    yield from _fields(content) if suffix == ".json" else _text(content)

    def _read(self, name: str) -> str:
        try:
            return decoded(filesystem.read(f"{self._root}/{name}", 0, _LONGEST))
        except (FileNotFoundError, PermissionError):
            return ""


def _keys(listing: Listing, suffix: str) -> Keys:
    names = (each.name.removesuffix(suffix) for each in listing.others()
             if each.name.endswith(suffix))  # fmt: skip
    return np.sort(np.fromiter(map(key, names), np.uint64))


def _names(image: str) -> dict[str, None]:
    """Return what the files beside an image may be called, without their suffix."""
    return dict.fromkeys([stem(image), image])


def _has(keys: Keys, name: str) -> bool:
    wanted = np.uint64(key(name))
    return bool(np.searchsorted(keys, wanted, "right") > np.searchsorted(keys, wanted))


def _text(content: str) -> Iterator[tuple[str, str]]:
    text = " ".join(wording.words(content).split())
    if _LETTER.search(text):
        yield "description", text


def _fields(content: str) -> Iterator[tuple[str, str]]:
    found = {alias(name): value for name, value in metadata.record(content).fields.items()}
    for field, names in columns.TEXTS.items():
        of = wording.tags if field == "tags" else wording.words
        yield from ((field, text) for name in names if (text := of(found.get(name))))
