"""The stage `wt_pretrain`."""

from typing import Literal

from components.shared.interface import (
    InputDataset,
    OutputHTML,
    OutputMetrics,
    OutputModel,
)
from components.shared.settings import TrainingSettings


def wt_pretrain(
    images: InputDataset,
    keywords: InputDataset,
    model: OutputModel,
    report: OutputHTML,
    metrics: OutputMetrics,
    *,
    training: TrainingSettings,
    target_norm: Literal["sum", "mean"] = "sum",
) -> None:
    """Pretrain on keywords: the weakly-tagged set (WT).

    Args:
        images: The training images (ImageSet).
        keywords: The keywords of each image (Targets).
        model: The model, with a head over keywords.
        report: Training curves.
        metrics: Loss and recall@5 on held-out training images.
        training: How to train.
        target_norm: Whether an image's loss is the sum over its targets or their mean.
    """
    raise NotImplementedError
