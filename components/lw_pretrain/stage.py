"""The stage `lw_pretrain`."""

from typing import Literal

from components.shared.interface import (
    InputDataset,
    OutputHTML,
    OutputMetrics,
    OutputModel,
)
from components.shared.settings import TrainingSettings


def lw_pretrain(
    images: InputDataset,
    weights: InputDataset,
    validation_images: InputDataset,
    validation_labels: InputDataset,
    model: OutputModel,
    report: OutputHTML,
    metrics: OutputMetrics,
    *,
    training: TrainingSettings,
    target_norm: Literal["sum", "mean"] = "sum",
) -> None:
    """Pretrain on weighted concepts: the label-weighted set (LW).

    Args:
        images: The training images (ImageSet).
        weights: The weighted concepts of each image (Targets).
        validation_images: The validation images (ImageSet).
        validation_labels: Their labels (Targets).
        model: The model, with a head over concepts.
        report: Training curves.
        metrics: Balanced top-1 and top-5 accuracy.
        training: How to train.
        target_norm: Whether an image's loss is the sum over its targets or their mean.
    """
    raise NotImplementedError
