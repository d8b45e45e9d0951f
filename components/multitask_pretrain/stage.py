"""The stage `multitask_pretrain`."""

from typing import Annotated

from components.shared.stage.interface import (
    InputDataset,
    InputModel,
    OutputHTML,
    OutputModel,
    Range,
)
from components.shared.training.settings import TargetNorm, TrainingSettings


def multitask_pretrain(
    images: InputDataset,
    keywords: InputDataset,
    weights: InputDataset,
    evaluation: InputDataset,
    model: OutputModel,
    report: OutputHTML,
    initial_model: InputModel | None = None,
    *,
    training: TrainingSettings,
    concepts_weight: Annotated[float, Range(above=0, at_most=1_000_000)] = 1.0,
    target_norm: TargetNorm = "sum",
) -> None:
    """Pretrain on keywords and weighted concepts at once: a head for each.

    Args:
        images: The training images (ImageSet).
        keywords: The keywords of each image (Targets).
        weights: The weighted concepts of each image (Targets).
        evaluation: The validation images with their labels (Evaluation).
        model: The model, with a head over keywords, then one over concepts.
        report: Training curves.
        initial_model: The model to start from; without one, weights are random.
        training: How to train.
        concepts_weight: Weight of the concepts' loss, relative to the keywords'.
        target_norm: An image's loss in a head is the sum over its targets, that sum scaled to 1
            target of weight 1 for the average image, or the targets' mean.
    """
    from components.multitask_pretrain.joining import joined
    from components.shared.data.evaluation import Evaluation
    from components.shared.data.image_set import ImageSet
    from components.shared.data.targets import Targets
    from components.shared.stage import ranks
    from components.shared.training import models
    from components.shared.training.losses import TargetsLoss
    from components.shared.training.training_run import TrainingRun
    from components.shared.training.validation import LabelValidation

    image_set, words, concepts = (
        ImageSet.load(images),
        Targets.load(keywords),
        Targets.load(weights),
    )
    image_set.identity.check(words.identity, "keywords")
    image_set.identity.check(concepts.identity, "weights")
    held_out = Evaluation.load(evaluation)
    validation = LabelValidation(
        held_out.images,
        held_out.labels,
        concepts.names,
        training.image_size,
        training.micro_batch_size,
        first_output=len(words.names),
    )
    outputs = len(words.names) + len(concepts.names)
    network = models.create(training, outputs, initial_model=initial_model)
    ranks.launch()
    run = TrainingRun(
        stage="multitask_pretrain",
        initial_model=initial_model,
        inputs=[images, keywords, weights, evaluation],
        settings=training,
        parameters={"concepts_weight": concepts_weight, "target_norm": target_norm},
    )
    loss = TargetsLoss.of(target_norm, words, concepts, weights=(1.0, concepts_weight))
    targets = joined(words, concepts)
    trained = run.fit(network, image_set, targets, loss, validation, balance_on="any")
    trained.save(model, report)
