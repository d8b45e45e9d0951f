"""From the teachers' probabilities to Targets."""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.shared.training.models import Record

logger = logging.getLogger(__name__)


def best(records: Sequence[Record], num_teachers: int) -> list[int]:
    """Return the indices of the models with the highest validation score, best first.

    Ties go to the first.
    """
    if num_teachers > len(records):
        logger.warning("num_teachers=%d, but there are only %d models", num_teachers, len(records))
    ranked = sorted(range(len(records)), key=lambda i: records[i].score, reverse=True)
    return ranked[:num_teachers]


def as_pairs(
    classes: NDArray[np.int32], probabilities: NDArray[np.float32], min_confidence: float
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Return a batch of labels in the form that TargetsWriter takes.

    Args:
        classes: (B, K), the most probable first.
        probabilities: Their probabilities (B, K).
        min_confidence: An image whose top class is less probable gets no label.

    Returns:
        Pairs per image (B,), and the P pairs' classes and weights: the probabilities, normalised
        so that each labelled image's weights sum to 1. A probability of 0 makes no pair.
    """
    kept = (probabilities[:, :1] >= min_confidence) & (probabilities > 0)
    weights = probabilities / probabilities.sum(axis=1, keepdims=True)
    return kept.sum(axis=1), classes[kept], weights[kept]
