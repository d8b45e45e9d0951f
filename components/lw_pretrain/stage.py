"""The stage `lw_pretrain`."""

from components.shared.stage.interface import InputDataset, InputModel, OutputHTML, OutputModel
from components.shared.training.settings import TargetNorm, TrainingSettings


def lw_pretrain(
    images: InputDataset,
    weights: InputDataset,
    evaluation: InputDataset,
    model: OutputModel,
    report: OutputHTML,
    initial_model: InputModel | None = None,
    *,
    training: TrainingSettings,
    target_norm: TargetNorm = "sum",
) -> None:
    """Pretrain on weighted concepts: the label-weighted set (LW).

    Args:
        images: The training images (ImageSet).
        weights: The weighted concepts of each image (Targets).
        evaluation: The validation images with their labels (Evaluation).
        model: The model, with a head over concepts.
        report: Training curves.
        initial_model: The model to start from; without one, weights are random.
        training: How to train.
        target_norm: An image's loss is the sum over its targets, that sum scaled to 1 target of
            weight 1 for the average image, or the targets' mean.
    """
    from components.shared.data.evaluation import Evaluation
    from components.shared.data.image_set import ImageSet
    from components.shared.data.targets import Targets
    from components.shared.stage import ranks
    from components.shared.training import models
    from components.shared.training.losses import TargetsLoss
    from components.shared.training.training_run import TrainingRun
    from components.shared.training.validation import LabelValidation

    image_set, targets = ImageSet.load(images), Targets.load(weights)
    image_set.identity.check(targets.identity, "weights")
    held_out = Evaluation.load(evaluation)
    validation = LabelValidation(
        held_out.images,
        held_out.labels,
        targets.names,
        training.image_size,
        training.micro_batch_size,
    )
    network = models.create(training, len(targets.names), initial_model=initial_model)
    ranks.launch()
    run = TrainingRun(
        stage="lw_pretrain",
        initial_model=initial_model,
        inputs=[images, weights, evaluation],
        settings=training,
        parameters={"target_norm": target_norm},
    )
    loss = TargetsLoss.of(target_norm, targets)
    trained = run.fit(network, image_set, targets, loss, validation, balance_on="strongest")
    trained.save(model, report)
