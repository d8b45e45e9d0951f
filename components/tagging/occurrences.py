"""The first pass over the texts: which words each image has, and how many images have each word."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.texts import Texts
from components.tagging.keywords import Extractor

# Images that are read at once: the arrays of their tokens take some 30 MB.
_BATCH = 4_096


@dataclass(frozen=True, slots=True)
class Occurrences:
    """The words of B consecutive images, P in all.

    Attributes:
        words: The W distinct ones.
        counts: (B,) int32, how many words each image has.
        codes: (P,) int32, their places in `words`, one image's after another's.
    """

    words: list[str]
    counts: NDArray[np.int32]
    codes: NDArray[np.int32]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            words = arrays["words"].tobytes().decode().split("\n")
            return cls(words, arrays["counts"], arrays["codes"])

    def save(self, path: Path) -> None:
        """Write a file, some four bytes for each image and each word."""
        words = np.frombuffer("\n".join(self.words).encode(), np.uint8)
        np.savez(path, words=words, counts=self.counts, codes=self.codes)


@dataclass(frozen=True, slots=True)
class RowGroupReader:
    """Reads one row group of the texts, the work of a process, and leaves its words in a file.

    Attributes:
        texts: The Texts' path.
        extract: Finds a batch's words.
        folder: Where the files are.
    """

    texts: Path
    extract: Extractor
    folder: Path

    def path(self, row_group: int) -> Path:
        """Return the file of a row group's Occurrences."""
        return self.folder / f"{row_group:05d}.npz"

    def __call__(self, row_group: int) -> tuple[pa.Table, int]:
        """Return how many images have each word (word, images), and how many tokens there were."""
        self.extract.make_room()
        counts, numbers, tokens = [], [], 0
        batches = Texts(self.texts).batches(self.extract.columns, _BATCH, row_group)
        for batch in batches:
            found = self.extract(batch)
            size = len(next(iter(batch.values())))
            counts.append(np.bincount(found.images, minlength=size))
            numbers.append(found.words)
            tokens += found.tokens
        known, codes = np.unique(np.concatenate(numbers), return_inverse=True)
        every = self.extract.words
        words = [every[number] for number in known.tolist()]
        flat = np.concatenate(counts).astype(np.int32)
        Occurrences(words, flat, codes.astype(np.int32)).save(self.path(row_group))
        return pa.table({"word": words, "images": np.bincount(codes)}), tokens


class WordCounts:
    """How many images have each word, of all row groups.

    Words are kept packed, some 30 bytes each: tens of millions are no burden.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._merged = pa.table({"word": pa.array([], pa.string()), "images": pa.array([], "i8")})
        self._waiting: list[pa.Table] = []

    def add(self, counts: pa.Table) -> None:
        """Count the images of a row group."""
        self._waiting.append(counts)
        if sum(map(len, self._waiting)) > len(self._merged):  # so each is merged a few times only
            self._merge()

    def table(self) -> pa.Table:
        """Return (word, images), in any order."""
        self._merge()
        return self._merged

    def _merge(self) -> None:
        tables = pa.concat_tables([self._merged, *self._waiting])
        sums = tables.group_by("word").aggregate([("images", "sum")])
        self._merged = sums.rename_columns({"word": "word", "images_sum": "images"})
        self._waiting = []
