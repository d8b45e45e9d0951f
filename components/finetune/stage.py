"""The stage `finetune`."""

from components.shared.interface import (
    InputDataset,
    InputModel,
    OutputHTML,
    OutputMetrics,
    OutputModel,
)
from components.shared.settings import TrainingSettings


def finetune(
    images: InputDataset,
    targets: InputDataset,
    validation_images: InputDataset,
    validation_labels: InputDataset,
    model: OutputModel,
    report: OutputHTML,
    metrics: OutputMetrics,
    initial_model: InputModel | None = None,
    *,
    training: TrainingSettings,
    keep_head: bool = False,
    continue_learning_rate: bool = False,
) -> None:
    """Train a classifier of the concepts, from a pretrained model or from scratch.

    Args:
        images: The training images (ImageSet).
        targets: What to learn: given labels or pseudo labels (Targets).
        validation_images: The validation images (ImageSet).
        validation_labels: Their labels (Targets).
        model: The classifier.
        report: Training curves.
        metrics: Balanced top-1 and top-5 accuracy.
        initial_model: Where to start; left out, training starts from `initial_weights`.
        training: How to train.
        keep_head: Take the initial model's last layer too, not only what is below it.
        continue_learning_rate: Start at the learning rate that the initial model ended with.
    """
    raise NotImplementedError
