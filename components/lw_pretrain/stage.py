"""The stage `lw_pretrain`."""

from typing import Literal

from components.shared.stage.interface import InputDataset, OutputHTML, OutputMetrics, OutputModel
from components.shared.training.settings import TrainingSettings


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
    from components.shared.data.image_set import ImageSet
    from components.shared.data.targets import Targets
    from components.shared.stage import ranks
    from components.shared.training import models
    from components.shared.training.losses import TargetsLoss
    from components.shared.training.training_run import TrainingRun
    from components.shared.training.validation import LabelValidation

    image_set, targets = ImageSet.load(images), Targets.load(weights)
    image_set.identity.check(targets.identity, "weights")
    validation = LabelValidation(
        ImageSet.load(validation_images),
        Targets.load(validation_labels),
        targets.names,
        training.image_size,
        training.micro_batch_size,
    )
    network = models.create(training, len(targets.names))
    ranks.launch()
    run = TrainingRun(
        stage="lw_pretrain",
        inputs=[images, weights, validation_images, validation_labels],
        settings=training,
        parameters={"target_norm": target_norm},
    )
    loss = TargetsLoss(target_norm)
    trained = run.fit(network, image_set, targets, loss, validation, balance_on="strongest")
    trained.save(model, report, metrics)
