"""The stage `wt_pretrain`."""

from typing import Literal

from components.shared.stage.interface import InputDataset, OutputHTML, OutputMetrics, OutputModel
from components.shared.training.settings import TrainingSettings


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
    from dataclasses import asdict

    from components.shared.data.image_set import ImageSet
    from components.shared.data.targets import Targets
    from components.shared.storage.resume import place
    from components.shared.training import models, outputs, ranks
    from components.shared.training.checkpoints import Checkpoints
    from components.shared.training.loop import train
    from components.shared.training.losses import TargetsLoss
    from components.shared.training.validation import HeldOutValidation, held_out

    image_set, targets = ImageSet.load(images), Targets.load(keywords)
    image_set.numbering.check(targets.numbering, "keywords")
    loss, apart = TargetsLoss(target_norm), held_out(targets)
    validation = HeldOutValidation(image_set, targets, apart, loss, training)
    network = models.create(training, len(targets.names))
    ranks.launch()
    inputs = [images, keywords]
    checkpoints = Checkpoints(
        place("wt_pretrain", inputs, **asdict(training), target_norm=target_norm)
    )
    curve = train(
        network,
        image_set,
        targets,
        loss,
        validation,
        training,
        checkpoints,
        balance_on="any",
        left_out=apart,
    )
    outputs.write(
        model,
        report,
        metrics,
        checkpoints,
        stage="wt_pretrain",
        model=network,
        targets=targets,
        curve=curve,
        validation=validation,
        settings=training,
        what="wt_pretrain",
    )
