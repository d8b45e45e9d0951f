"""The first pass over the texts: which words each image has, and how many images each word has."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.shared.parallel import ordered
from components.shared.progress import progress
from components.shared.texts import Texts
from components.tagging.keywords import Batch

# So many images are one piece of work for a worker: a second or two at 40 words an image.
_BATCH = 1_024


class Occurrences:
    """The words of each of N images, spilled to files.

    Words are numbered as they are met. Only the distinct words and their counts are in memory; per
    image and word there are four bytes on disk.

    Attributes:
        words: The W distinct words.
        images: (W,) int64, how many images have each.
        tokens: How many tokens the tagger saw.
    """

    def __init__(self, folder: Path) -> None:
        """Begin empty; the files are made in `folder`."""
        self._counts, self._ids = folder / "counts.int32", folder / "ids.int32"
        self.words: list[str] = []
        self.images = np.zeros(0, np.int64)
        self.tokens = 0

    def collect(
        self, texts: Texts, fields: list[str], extract: Callable[[dict[str, list[str]]], Batch]
    ) -> None:
        """Read the texts and write down their words."""
        known: dict[str, int] = {}
        batches = texts.batches(fields, rows=_BATCH)
        total = -(-len(texts) // _BATCH)
        with self._counts.open("wb") as counts, self._ids.open("wb") as ids:
            extracted = ordered(extract, batches)
            for batch in progress(extracted, total=total, unit="block", what="Tagging"):
                numbers = [known.setdefault(word, len(known)) for word in batch.words]
                number = np.array(numbers, np.int32)
                if len(known) > len(self.images):  # doubled, so that growing stays cheap
                    self.images = np.append(self.images, np.zeros(len(known), np.int64))
                self.images[number] += np.bincount(batch.codes, minlength=len(number))
                self.tokens += batch.tokens
                counts.write(batch.counts.tobytes())
                ids.write(number[batch.codes].tobytes())
        self.words = list(known)
        self.images = self.images[: len(known)]

    def batches(self, rows: int = 65_536) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """Yield, in image order, how many words each image has (B,) and their numbers (P,)."""
        with self._counts.open("rb") as counts_file, self._ids.open("rb") as ids_file:
            while len(counts := np.fromfile(counts_file, np.int32, rows)):
                yield counts, np.fromfile(ids_file, np.int32, int(counts.sum()))
