"""From what teachers and texts say to Targets.

Shapes: N images, B of a batch, K classes of a label.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from components.shared.data.halves import CHOOSING
from components.shared.stage.errors import UserError
from components.shared.training.evidence import Evidence
from components.shared.training.models import Record

logger = logging.getLogger(__name__)


def best(records: Sequence[Record], num_teachers: int) -> list[int]:
    """Return the indices of the teachers among the models, best first.

    They are the best on the half of the validation images that may choose; ties go to the first.
    Where there are no more models than teachers all of them are, and nothing is chosen.

    Raises:
        UserError: It is not known how good a model is on that half.
    """
    if num_teachers >= len(records):
        if num_teachers > len(records):
            logger.warning("num_teachers=%d, but there are %d models", num_teachers, len(records))
        return list(range(len(records)))
    for record in records:
        if CHOOSING not in record.metrics:
            raise UserError(
                f"{record.title}: its record has no {CHOOSING}, by which teachers are chosen: "
                f"train it again with this version, on a data set with images in both halves of "
                f"the validation set, or let all models teach: num_teachers={len(records)}"
            )
    ranked = sorted(range(len(records)), key=lambda i: records[i].metrics[CHOOSING], reverse=True)
    return ranked[:num_teachers]


class Labels(NamedTuple):
    """The labels of B images.

    Attributes:
        classes: (B, K) int32, the strongest first.
        weights: (B, K) float32, which sum to 1; 0 for a class that an image does not have.
    """

    classes: NDArray[np.int32]
    weights: NDArray[np.float32]

    def pairs(
        self, keeps: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        """Return them as TargetsWriter takes them, without those of images that are not kept (B,).

        Returns:
            Pairs per image (B,), and the P pairs' classes and weights.
        """
        there = keeps[:, None] & (self.weights > 0)
        return there.sum(axis=1), self.classes[there], self.weights[there]


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelling:
    """Makes labels of what teachers and texts say of images.

    With the teachers' mean probability q and the text's weight w, a class y has in the label

        (1 - a) p(y) + a [y is given],   p(y) ∝ (q(y) (w(y) + c))^s,

    cut to the strongest classes and normalised.

    Attributes:
        top_k: How many classes an image's label has.
        sharpness: s.
        text_floor: c; infinite where texts do not count.
        label_share: a.
    """

    top_k: int
    sharpness: float = 1.0
    text_floor: float = math.inf
    label_share: float = 0.0

    def __call__(self, evidence: Evidence) -> Labels:
        """Return the labels of images."""
        given, classes, q, w, first = evidence
        strengths = first * q * (1 + w / self.text_floor)
        # By the largest, lest all powers of small ones vanish.
        strengths = (strengths / strengths.max(axis=1, keepdims=True)) ** self.sharpness
        strengths /= strengths.sum(axis=1, keepdims=True)
        is_given = first & (classes == given[:, None])
        strengths = (1 - self.label_share) * strengths + self.label_share * is_given
        order = np.argsort(-strengths, axis=1, kind="stable")[:, : self.top_k]
        strongest = np.take_along_axis(strengths, order, axis=1)
        return Labels(
            np.take_along_axis(classes, order, axis=1).astype(np.int32),
            (strongest / strongest.sum(axis=1, keepdims=True)).astype(np.float32),
        )

    @property
    def literal(self) -> Self:
        """What makes labels of the teachers' probabilities as they are."""
        return replace(self, sharpness=1.0, text_floor=math.inf, label_share=0.0)


def most_confident(
    classes: NDArray[np.int32], confidence: NDArray[np.float32], share: float
) -> NDArray[np.bool_]:
    """Return which images (N,) to keep: of each class's, this share, the most confident ones.

    At least one is kept of each class; of equals, the first ones are.

    Args:
        classes: The strongest class of each image (N,).
        confidence: How sure it is (N,).
        share: Above 0, at most 1.
    """
    order = np.lexsort((-confidence, classes))
    images = np.bincount(classes)
    ranks = np.arange(len(classes)) - np.repeat(np.cumsum(images) - images, images)
    kept = np.empty(len(classes), np.bool_)
    kept[order] = ranks < np.repeat(np.maximum(1, np.rint(share * images)), images)
    return kept
