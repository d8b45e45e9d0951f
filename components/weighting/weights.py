"""The weighted concepts of images: the candidates that their texts fit best."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from components.shared.data.targets import Targets
from components.shared.data.texts import Texts
from components.shared.storage.resume import Parts
from components.weighting.candidates import Pairs, Similarity


class Weights(NamedTuple):
    """The weighted concepts of B consecutive images.

    Attributes:
        counts: (B,) concepts of each image.
        classes: (P,) one image after another, strongest first.
        weights: (P,) float32.
        fallbacks: Images whose text says nothing, so that their given label was taken, if anything.
    """

    counts: NDArray[np.int64]
    classes: NDArray[np.int64]
    weights: NDArray[np.float32]
    fallbacks: int

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the weights that `arrays` stored."""
        (fallbacks,) = arrays["fallbacks"].tolist()
        return cls(arrays["counts"], arrays["classes"], arrays["weights"], fallbacks)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays to store."""
        return self._asdict() | {"fallbacks": np.array([self.fallbacks])}


@dataclass(frozen=True, kw_only=True, slots=True)
class Weigher:
    """Weights images by their texts.

    Attributes:
        similarity: How well texts fit the concepts that a label makes possible.
        top_k: Concepts kept of an image.
        fallback_weight: Weight of the given label where the text says nothing; 0 for no concept.
        label_weight: Added to the given label's similarity where the text says something.
        sharpness: The power of similarities that an image's weights are in proportion to.
    """

    similarity: Similarity
    top_k: int
    fallback_weight: float
    label_weight: float = 0.0
    sharpness: float = 1.0

    def __call__(self, texts: list[str], labels: NDArray[np.int64]) -> Weights:
        """Return the weights of images with these texts and given labels (B,).

        The given label is among the `top_k` whenever the text fits it at all: search engines gave
        it for a reason, and a text that only says "warbler" fits siblings with shorter glosses
        better. Equal weights go to the given label first, then to the smaller class number.
        """
        pairs = self.similarity.similarities(texts, labels)
        images, classes, weights = self._with_label(pairs, labels)
        silent = np.flatnonzero(np.bincount(images, minlength=len(labels)) == 0)
        if self.fallback_weight > 0:
            images = np.concatenate([images, silent])
            classes = np.concatenate([classes, labels[silent]])
            weights = np.concatenate([weights, np.full(len(silent), self.fallback_weight)])
        weights = weights.astype(np.float32)

        fits = classes == labels[images]
        fits[len(pairs.images) :] = False  # a label that has nothing but its prior
        order = np.lexsort((classes, -weights, ~fits, images))
        firsts = np.searchsorted(images[order], np.arange(len(labels)))
        ranks = np.arange(len(order)) - firsts[images[order]]
        kept = order[ranks < self.top_k]
        kept = kept[np.lexsort((-weights[kept], images[kept]))]  # stable: the label is still first
        counts = np.bincount(images[kept], minlength=len(labels))
        sharp = sharpened(weights[kept], counts, self.sharpness)
        return Weights(counts, classes[kept], sharp, len(silent))

    def _with_label(self, pairs: Pairs, labels: NDArray[np.int64]) -> Pairs:
        """Add the prior to the given label of the images whose texts say something."""
        if self.label_weight == 0:
            return pairs
        images, classes, cosines = pairs
        said = classes == labels[images]
        unsaid = np.setdiff1d(images, images[said])
        return Pairs(
            np.concatenate([images, unsaid]),
            np.concatenate([classes, labels[unsaid]]),
            np.concatenate(
                [cosines + self.label_weight * said, np.full(len(unsaid), self.label_weight)]
            ),
        )


def sharpened(
    weights: NDArray[np.float32], counts: NDArray[np.int64], sharpness: float
) -> NDArray[np.float32]:
    """Return weights in proportion to a power of themselves; each image keeps its sum.

    So an image counts in training as before: how much its text says is what tells noise.

    Args:
        weights: (P,) one image after another, strongest first.
        counts: (B,) concepts of each image.
        sharpness: The power.
    """
    if sharpness == 1 or not len(weights):
        return weights
    counts = counts[counts > 0]
    firsts = np.cumsum(counts) - counts
    # By the strongest, lest small ones vanish; those that still do are left a trace.
    powers = (weights / np.repeat(weights[firsts], counts)).astype(np.float64) ** sharpness
    scales = np.add.reduceat(weights, firsts, dtype=np.float64) / np.add.reduceat(powers, firsts)
    sharp: NDArray[np.float64] = powers * np.repeat(scales, counts)
    return sharp.clip(np.finfo(np.float32).tiny).astype(np.float32)


@dataclass(frozen=True, slots=True)
class RowGroupWeigher:
    """Weights the images of one row group of the texts, unless they have been weighted before.

    Attributes:
        texts: The Texts' path.
        labels: The given labels' folder.
        weigher: Weights a batch.
        parts: The weights of each row group.
    """

    texts: Path
    labels: Path
    weigher: Weigher
    parts: Parts

    def __call__(self, row_group: int) -> Weights:
        """Return the weights of the images of a row group, by its number."""
        arrays = self.parts.load_or_make(row_group, lambda number: self._weigh(number).arrays())
        return Weights.of_arrays(arrays)

    def _weigh(self, row_group: int) -> Weights:
        texts, labels = Texts(self.texts), Targets.load(self.labels)
        start = texts.row_groups()[row_group].start
        parts = [self.weigher([], np.zeros(0, np.int64))]  # a row group may be empty
        for batch in texts.batches(["title", "description", "tags"], row_group=row_group):
            joined = [" ".join(fields) for fields in zip(*batch.values(), strict=True)]
            given = labels.classes[start : start + len(joined)].astype(np.int64)
            parts.append(self.weigher(joined, given))
            start += len(joined)
        return Weights(
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.weights for part in parts]),
            sum(part.fallbacks for part in parts),
        )
