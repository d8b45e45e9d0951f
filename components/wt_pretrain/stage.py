"""The stage `wt_pretrain`."""

from components.shared.stage.interface import InputDataset, InputModel, OutputHTML, OutputModel
from components.shared.training.settings import TargetNorm, TrainingSettings


def wt_pretrain(
    images: InputDataset,
    keywords: InputDataset,
    model: OutputModel,
    report: OutputHTML,
    initial_model: InputModel | None = None,
    *,
    training: TrainingSettings,
    target_norm: TargetNorm = "sum",
) -> None:
    """Pretrain on keywords: the weakly-tagged set (WT).

    Args:
        images: The training images (ImageSet).
        keywords: The keywords of each image (Targets).
        model: The model, with a head over keywords.
        report: Training curves.
        initial_model: The model to start from; without one, weights are random.
        training: How to train.
        target_norm: An image's loss is the sum over its targets, that sum scaled to 1 target of
            weight 1 for the average image, or the targets' mean.
    """
    from components.shared.data.image_set import ImageSet
    from components.shared.data.targets import Targets
    from components.shared.stage import ranks
    from components.shared.training import models
    from components.shared.training.losses import TargetsLoss
    from components.shared.training.training_run import TrainingRun
    from components.shared.training.validation import HeldOutValidation, held_out

    image_set, targets = ImageSet.load(images), Targets.load(keywords)
    image_set.identity.check(targets.identity, "keywords")
    loss, apart = TargetsLoss.of(target_norm, targets), held_out(targets)
    sizes = training.image_size, training.micro_batch_size
    validation = HeldOutValidation(image_set, targets, apart, loss, *sizes)
    network = models.create(training, len(targets.names), initial_model=initial_model)
    ranks.launch()
    run = TrainingRun(
        stage="wt_pretrain",
        initial_model=initial_model,
        inputs=[images, keywords],
        settings=training,
        parameters={"target_norm": target_norm},
    )
    trained = run.fit(
        network, image_set, targets, loss, validation, balance_on="any", left_out=apart
    )
    trained.save(model, report)
