"""The second pass: which words are keywords, and which of them each image keeps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.shared.interface import UserError


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The C words that are kept.

    Attributes:
        words: The most frequent first, equally frequent ones in the order of the alphabet.
        images: (C,) int64, how many images have each.
        classes: (W,) int32, each distinct word's place here, or -1: by its number in Occurrences.
        too_frequent: The numbers of the words dropped for being more frequent, most frequent first.
    """

    words: list[str]
    images: NDArray[np.int64]
    classes: NDArray[np.int32]
    too_frequent: list[int]

    def rarest(
        self, counts: NDArray[np.int32], numbers: NDArray[np.int32], at_most: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the classes that images keep, the rarest first, `at_most` of each image.

        Args:
            counts: (B,) how many words each image has.
            numbers: (P,) their numbers, one image's after another's.
            at_most: The largest number of classes of an image.

        Returns:
            How many each image keeps (B,), and the classes, one image's after another's.
        """
        images = np.repeat(np.arange(len(counts)), counts)
        classes = self.classes[numbers]
        images, classes = images[classes >= 0], classes[classes >= 0]
        order = np.lexsort((classes, self.images[classes], images))
        images, classes = images[order], classes[order]
        kept = np.bincount(images, minlength=len(counts))
        place = np.arange(len(images)) - np.repeat(np.cumsum(kept) - kept, kept)
        return np.minimum(kept, at_most), classes[place < at_most]


def select(
    words: Sequence[str],
    images: NDArray[np.int64],
    num_images: int,
    *,
    vocabulary_size: int,
    min_images: int,
    max_share: float,
) -> Vocabulary:
    """Drop the most and the least frequent words; keep the most frequent of what is left.

    Args:
        words: The W distinct words.
        images: (W,) how many images have each.
        num_images: How many images there are.
        vocabulary_size: Keep at most so many.
        min_images: Keep words that at least so many images have,
        max_share: and at most this share of the images.

    Raises:
        UserError: No word is left.
    """
    if len(words) == 0:
        raise UserError(
            f"no keyword: the tagger found no noun and no adjective in the texts of {num_images:,} "
            "images: read more of them by fields=all, choose a tagger for their language, or, if "
            "the images came without texts, give them some"
        )
    limit = max_share * num_images
    candidates = _by_frequency(words, images, (images >= min_images) & (images <= limit))
    too_frequent = _by_frequency(words, images, images > limit)
    if not candidates:
        most = int(images[images <= limit].max(initial=0))
        raise UserError(
            f"no keyword is left: of {len(words):,} words in the texts of {num_images:,} images, "
            f"max_share={max_share:g} drops {len(too_frequent):,}, and min_images={min_images:,} "
            f"the others, the most frequent of which {most:,} images have: "
            "lower min_images or raise max_share"
        )
    kept = np.array(candidates[:vocabulary_size])
    classes = np.full(len(words), -1, np.int32)
    classes[kept] = np.arange(len(kept))
    return Vocabulary([words[word] for word in kept], images[kept], classes, too_frequent)


def _by_frequency(
    words: Sequence[str], images: NDArray[np.int64], which: NDArray[np.bool_]
) -> list[int]:
    numbers: list[int] = np.flatnonzero(which).tolist()
    return sorted(numbers, key=lambda word: (-images[word], words[word]))
