"""The second pass: which words are keywords, and which of them each image keeps."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.stage.errors import UserError
from components.tagging.occurrences import Occurrences, RowGroupReader


@dataclass(frozen=True)
class Vocabulary:
    """The C words that are kept, of all.

    Attributes:
        words: The most frequent first, equally frequent ones in the order of the alphabet.
        images: (C,) int64, how many images have each.
        too_frequent: The words (word, images) dropped for being more frequent, likewise ordered.
    """

    words: list[str]
    images: NDArray[np.int64]
    too_frequent: pa.Table

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The words' positions in `words`."""
        return {word: number for number, word in enumerate(self.words)}

    def rarest(
        self, occurrences: Occurrences, at_most: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the words that B images keep, the rarest first, `at_most` of each image.

        Returns:
            How many each image keeps (B,), and their positions in `words`, one image's after
            another's.
        """
        known = [self.numbers.get(word, -1) for word in occurrences.words]
        classes = np.array(known, np.int32)[occurrences.codes]
        images = np.repeat(np.arange(len(occurrences.counts)), occurrences.counts)
        images, classes = images[classes >= 0], classes[classes >= 0]
        order = np.lexsort((classes, self.images[classes], images))
        images, classes = images[order], classes[order]
        kept = np.bincount(images, minlength=len(occurrences.counts))
        position = np.arange(len(images)) - np.repeat(np.cumsum(kept) - kept, kept)
        return np.minimum(kept, at_most), classes[position < at_most]


@dataclass(frozen=True, slots=True)
class RowGroupChooser:
    """Chooses the keywords of one row group's images: the work of a process.

    Attributes:
        reader: Has read the row groups.
        vocabulary: The keywords.
        max_keywords: Keep so many of an image.
    """

    reader: RowGroupReader
    vocabulary: Vocabulary
    max_keywords: int

    def __call__(self, row_group: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return how many keywords each image keeps, and which."""
        return self.vocabulary.rarest(self.reader.occurrences(row_group), self.max_keywords)


def select(
    counts: pa.Table,
    num_images: int,
    *,
    vocabulary_size: int,
    min_images: int,
    max_share: float,
) -> Vocabulary:
    """Drop the most and the least frequent words; keep the most frequent of what is left.

    Args:
        counts: How many images have each word (word, images).
        num_images: How many images there are.
        vocabulary_size: Keep at most so many.
        min_images: Keep words that at least so many images have,
        max_share: and at most this share of the images.

    Raises:
        UserError: No word is left.
    """
    if len(counts) == 0:
        raise UserError(
            f"no keywords: the tagger found no noun or adjective in the texts of {num_images:,} "
            "images: read more of them with fields=all, choose a tagger for their language, or, if "
            "the images came without texts, add some"
        )
    limit = max_share * num_images
    images = counts["images"].to_numpy()
    kept = _most_frequent(counts.filter((images >= min_images) & (images <= limit)))
    too_frequent = _most_frequent(counts.filter(images > limit))
    if len(kept) == 0:
        most = int(images[images <= limit].max(initial=0))
        raise UserError(
            f"no keyword is left: of {len(counts):,} words in the texts of {num_images:,} images, "
            f"max_share={max_share:g} drops {len(too_frequent):,}, and min_images={min_images:,} "
            f"the others, the most frequent of which {most:,} images have: "
            "lower min_images or raise max_share"
        )
    kept = kept.slice(0, vocabulary_size)
    return Vocabulary(kept["word"].to_pylist(), kept["images"].to_numpy(), too_frequent)


def _most_frequent(counts: pa.Table) -> pa.Table:
    """Return a table of words with the most frequent first, then by the alphabet."""
    return counts.sort_by([("images", "descending"), ("word", "ascending")])
