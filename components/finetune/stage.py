"""The stage `finetune`."""

from components.shared.stage.interface import (
    InputDataset,
    InputModel,
    OutputDataset,
    OutputHTML,
    OutputModel,
)
from components.shared.training.settings import TrainingSettings


def finetune(
    images: InputDataset,
    targets: InputDataset,
    evaluation: InputDataset,
    model: OutputModel,
    predictions: OutputDataset,
    report: OutputHTML,
    initial_model: InputModel | None = None,
    *,
    training: TrainingSettings,
    keep_head: bool = False,
    continue_learning_rate: bool = False,
) -> None:
    """Train a classifier of the concepts, from a pretrained model or from scratch.

    Args:
        images: The training images (ImageSet).
        targets: The targets: given labels or pseudo labels (Targets).
        evaluation: The validation images with their labels, and perhaps those of an external
            validation set, which are predicted once, at the end (Evaluation).
        model: The classifier.
        predictions: Its predictions for all of them (Predictions).
        report: Training curves.
        initial_model: The model to start from; without one, weights are random.
        training: How to train.
        keep_head: Keep the initial model's head, not only its backbone.
        continue_learning_rate: Start at the initial model's final learning rate.
    """
    from components.finetune.continuation import check_head, continued
    from components.shared.data.evaluation import Evaluation
    from components.shared.data.image_set import ImageSet
    from components.shared.data.targets import Targets
    from components.shared.stage import ranks
    from components.shared.training import models
    from components.shared.training.losses import TargetsLoss
    from components.shared.training.training_run import TrainingRun
    from components.shared.training.validation import LabelValidation

    image_set, labels = ImageSet.load(images), Targets.load(targets)
    image_set.identity.check(labels.identity, "targets")
    held_out = Evaluation.load(evaluation)
    external = held_out.external
    settings = labels.names, training.image_size, training.micro_batch_size
    validation = LabelValidation(held_out.images, held_out.labels, *settings)
    outside = external and LabelValidation(
        external.images, external.labels, *settings, title=external.title
    )
    if continue_learning_rate:
        training = continued(training, initial_model)
    if keep_head and initial_model:
        check_head(initial_model, labels.names)
    network = models.create(
        training, len(labels.names), initial_model=initial_model, keep_head=keep_head
    )
    # Given labels have the weight 1, pseudo labels a probability.
    kind = "pseudo labels" if labels.weights.min() < 1 else "given labels"
    ranks.launch()
    run = TrainingRun(
        stage="finetune",
        inputs=[images, targets, evaluation],
        settings=training,
        parameters={"keep_head": keep_head},
        what=f"finetune on {kind}",
        initial_model=initial_model,
    )
    trained = run.fit(
        network,
        image_set,
        labels,
        TargetsLoss(),
        validation,
        balance_on="strongest",
        external=outside,
    )
    trained.save(model, report, predictions)
