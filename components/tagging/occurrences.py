"""The first pass over the texts: which words each image has, and how many images have each word."""

import itertools
import logging
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.data.texts import Texts
from components.shared.stage.parallel import ordered
from components.shared.stage.progress import progress
from components.shared.storage.resume import Parts
from components.tagging.keywords import Extractor

logger = logging.getLogger(__name__)
# What is read at once, images and about as many characters: their arrays take some 50 MB.
_BATCH, _CHARACTERS = 4_096, 2**21
_INITIALS = "bcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Occurrences:
    """The words of the B images of a row group, P in all.

    Attributes:
        words: The W distinct ones, in the order of the alphabet.
        counts: (B,) int32, how many words each image has.
        codes: (P,) int32, their positions in `words`, one image's after another's.
        tokens: How many tokens were read.
    """

    words: list[str]
    counts: NDArray[np.int32]
    codes: NDArray[np.int32]
    tokens: int

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the occurrences that `arrays` stored."""
        words = arrays["words"].tobytes().decode()
        tokens = int(arrays["tokens"][0])
        return cls(words.split("\n") if words else [], arrays["counts"], arrays["codes"], tokens)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays to store, some four bytes for each image and each of its words."""
        return {
            "words": np.frombuffer("\n".join(self.words).encode(), np.uint8),
            "counts": self.counts,
            "codes": self.codes,
            "tokens": np.array([self.tokens]),
        }

    def images_by_word(self) -> pa.Table:
        """Return how many images have each word (word, images)."""
        images = np.bincount(self.codes, minlength=len(self.words))
        return pa.table({"word": pa.array(self.words, pa.string()), "images": images})


@dataclass(frozen=True, slots=True)
class RowGroupReader:
    """Reads row groups of the texts, each at most once: the work of a process.

    Attributes:
        texts: The Texts' path.
        extract: Finds a batch's words.
        parts: The Occurrences of what has been read.
    """

    texts: Path
    extract: Extractor
    parts: Parts

    def __call__(self, row_group: int) -> tuple[pa.Table, int]:
        """Return how many images have each word (word, images), and how many tokens there were."""
        occurrences = self.occurrences(row_group)
        return occurrences.images_by_word(), occurrences.tokens

    def occurrences(self, row_group: int) -> Occurrences:
        """Return a row group's Occurrences, from its part if there is one."""
        return Occurrences.of_arrays(
            self.parts.load_or_make(row_group, lambda number: self._read(number).arrays())
        )

    def _read(self, row_group: int) -> Occurrences:
        self.extract.make_room()
        # A row group may be empty.
        counts, numbers, tokens = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
        batches = Texts(self.texts).batches(self.extract.columns, _BATCH, row_group)
        for batch in itertools.chain.from_iterable(map(_pieces, batches)):
            found = self.extract(batch)
            size = len(next(iter(batch.values())))
            counts.append(np.bincount(found.images, minlength=size))
            numbers.append(found.words)
            tokens += found.tokens
        known, codes = np.unique(np.concatenate(numbers), return_inverse=True)
        every = self.extract.words
        words = [every[number] for number in known.tolist()]
        # Numbers depend on what this process has read before, the alphabet does not.
        order = np.array(sorted(range(len(words)), key=words.__getitem__), np.int64)
        flat = np.concatenate(counts)
        keys = np.repeat(np.arange(len(flat)), flat) * len(words) + np.argsort(order)[codes]
        codes = np.sort(keys) % max(1, len(words))
        return Occurrences(sorted(words), flat.astype(np.int32), codes.astype(np.int32), tokens)


def _pieces(batch: dict[str, list[str]]) -> Iterator[dict[str, list[str]]]:
    """Cut a batch, given by column, where its texts are long."""
    lengths = np.sum([[len(text) for text in column] for column in batch.values()], axis=0)
    cuts = np.flatnonzero(np.diff(np.cumsum(lengths) // _CHARACTERS)) + 1
    for start, stop in itertools.pairwise([0, *cuts.tolist(), len(lengths)]):
        yield {name: column[start:stop] for name, column in batch.items()}


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
        for initial, waiting in enumerate(self._waiting):
            if waiting:
                self._merge(initial)
        return pa.concat_tables(self._merged)

    def _merge(self, initial: int) -> None:
        tables = pa.concat_tables([self._merged[initial], *self._waiting[initial]])
        sums = tables.group_by("word").aggregate([("images", "sum")])
        self._merged[initial] = sums.rename_columns({"word": "word", "images_sum": "images"})
        self._waiting[initial] = []
        pa.default_memory_pool().release_unused()


def count(reader: RowGroupReader, row_groups: Sequence[int]) -> tuple[pa.Table, int]:
    """Read all row groups, on all cores, those that have been read before left out.

    Returns:
        How many images have each word (word, images), and how many tokens there were.
    """
    before = [row_group for row_group in row_groups if row_group in reader.parts]
    if before:
        logger.info("%d of %d row groups are already tagged", len(before), len(row_groups))
    rest = [row_group for row_group in row_groups if row_group not in reader.parts]
    work = progress(ordered(reader, rest), total=len(rest), unit="row group", what="Tagging")
    counts, tokens = WordCounts(), 0
    for found, seen in itertools.chain(map(reader, before), work):
        counts.add(found)
        tokens += seen
    return counts.table(), tokens
