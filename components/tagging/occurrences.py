"""The first pass over the texts: which words each image has, and how many images have each word."""

import itertools
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.texts import Texts
from components.shared.unfinished import Parts
from components.tagging.keywords import Extractor

# Images that are read at once: the arrays of their tokens take some 30 MB.
_BATCH = 4_096
_INITIALS = "bcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Occurrences:
    """The words of the B images of a row group, P in all.

    Attributes:
        words: The W distinct ones, in the order of the alphabet.
        counts: (B,) int32, how many words each image has.
        codes: (P,) int32, their places in `words`, one image's after another's.
        tokens: How many tokens were read.
    """

    words: list[str]
    counts: NDArray[np.int32]
    codes: NDArray[np.int32]
    tokens: int

    @classmethod
    def load(cls, parts: Parts, row_group: int) -> Self | None:
        """Return what `save` wrote, if it is there."""
        arrays = parts.load(row_group)
        if arrays is None:
            return None
        words = arrays["words"].tobytes().decode()
        tokens = int(arrays["tokens"][0])
        return cls(words.split("\n") if words else [], arrays["counts"], arrays["codes"], tokens)

    def save(self, parts: Parts, row_group: int) -> None:
        """Add a part, some four bytes for each image and each word."""
        arrays: dict[str, NDArray[Any]] = {
            "words": np.frombuffer("\n".join(self.words).encode(), np.uint8),
            "counts": self.counts,
            "codes": self.codes,
            "tokens": np.array([self.tokens]),
        }
        parts.save(row_group, arrays)

    def images_by_word(self) -> pa.Table:
        """Return how many images have each word (word, images)."""
        images = np.bincount(self.codes, minlength=len(self.words))
        return pa.table({"word": pa.array(self.words, pa.string()), "images": images})


@dataclass(frozen=True, slots=True)
class RowGroupReader:
    """Reads one row group of the texts, the work of a process, unless it has been read before.

    Attributes:
        texts: The Texts' path.
        extract: Finds a batch's words.
        parts: The Occurrences of each row group.
    """

    texts: Path
    extract: Extractor
    parts: Parts

    def __call__(self, row_group: int) -> tuple[pa.Table, int]:
        """Return how many images have each word (word, images), and how many tokens there were."""
        occurrences = Occurrences.load(self.parts, row_group)
        if occurrences is None:
            occurrences = self._read(row_group)
            occurrences.save(self.parts, row_group)
        return occurrences.images_by_word(), occurrences.tokens

    def _read(self, row_group: int) -> Occurrences:
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
        # Numbers depend on what this process has read before.
        order = np.array(sorted(range(len(words)), key=words.__getitem__), np.int64)
        places = np.argsort(order).astype(np.int32)
        flat = np.concatenate(counts).astype(np.int32)
        return Occurrences(sorted(words), flat, places[codes], tokens)


class WordCounts:
    """How many images have each word, of all row groups.

    Words are kept packed, some 20 bytes each, and are merged initial by initial: what a merge takes
    for a while is a fraction of what there is.
    """

    def __init__(self) -> None:
        """Begin empty."""
        nothing = pa.table({"word": pa.array([], pa.string()), "images": pa.array([], pa.int64())})
        self._merged = [nothing] * (1 + len(_INITIALS))
        self._waiting: list[list[pa.Table]] = [[] for _ in self._merged]

    def add(self, counts: pa.Table) -> None:
        """Count the images of a row group, whose words are in the order of the alphabet."""
        words = counts["word"].to_pylist()
        ends = [0, *(bisect_left(words, initial) for initial in _INITIALS), len(words)]
        for initial, (start, end) in enumerate(itertools.pairwise(ends)):
            self._waiting[initial].append(counts.slice(start, end - start))
            # So that each word is merged a few times only, and few are waiting.
            if sum(map(len, self._waiting[initial])) > len(self._merged[initial]) / 4:
                self._merge(initial)

    def table(self) -> pa.Table:
        """Return (word, images), in any order."""
        for initial in range(len(self._merged)):
            self._merge(initial)
        return pa.concat_tables(self._merged)

    def _merge(self, initial: int) -> None:
        tables = pa.concat_tables([self._merged[initial], *self._waiting[initial]])
        sums = tables.group_by("word").aggregate([("images", "sum")])
        self._merged[initial] = sums.rename_columns({"word": "word", "images_sum": "images"})
        self._waiting[initial] = []
        pa.default_memory_pool().release_unused()
