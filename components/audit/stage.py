"""The stage `audit`."""

import logging
from typing import Annotated

from components.shared.stage.interface import (
    InputDataset,
    InputModel,
    OutputDataset,
    OutputHTML,
    Range,
)
from components.shared.training.settings import TrainingSettings

logger = logging.getLogger(__name__)


def audit(
    images: InputDataset,
    labels: InputDataset,
    evaluation: InputDataset,
    suspects: OutputDataset,
    predictions: OutputDataset,
    report: OutputHTML,
    weights: InputDataset | None = None,
    initial_model: InputModel | None = None,
    *,
    training: TrainingSettings,
    folds: Annotated[int, Range(at_least=2, at_most=100)] = 2,
    top_k: Annotated[int, Range(at_least=1, at_most=100)] = 5,
    text_floor: Annotated[float, Range(above=0, at_most=1_000)] = 0.1,
    silent_weight: Annotated[float, Range(at_least=0, at_most=1)] = 0.5,
) -> None:
    """Find training images whose labels look wrong, and near-duplicates.

    Args:
        images: The training images (ImageSet).
        labels: Their given labels (Targets).
        evaluation: The validation images with their labels (Evaluation).
        suspects: Labels that look wrong, and near-duplicates, each as CSV and as Parquet.
        predictions: What the models predict for all training images, as Parquet.
        report: Suspects and near-duplicates with their pictures.
        weights: What the texts say (Targets); by default only models judge the labels.
        initial_model: The model to start from, one that has not seen the given labels; by default
            training starts from random weights.
        training: How to train.
        folds: How many models are trained, each on all images but a fold, which it then judges.
        top_k: Classes kept of an image's predictions.
        text_floor: Added to the weights of the text's concepts before they multiply the models'
            probabilities: the larger, the less texts count.
        silent_weight: The weight that `weighting` gives where a text says nothing.
    """
    from dataclasses import asdict

    import numpy as np

    from components.audit import tables
    from components.audit.duplicates import Duplicates
    from components.audit.folds import Fold, dealt, joined
    from components.audit.hashes import Hashes
    from components.audit.report import draw
    from components.audit.selection import select
    from components.audit.sources import Sources
    from components.shared.data.evaluation import Evaluation
    from components.shared.data.image_set import ImageSet
    from components.shared.data.targets import Targets
    from components.shared.stage import metadata, ranks
    from components.shared.storage import filesystem, resume
    from components.shared.training.evidence import Texts
    from components.shared.training.training_run import TrainingRun
    from components.shared.training.validation import LabelValidation

    image_set, given = ImageSet.load(images), Targets.load(labels)
    image_set.identity.check(given.identity, str(labels))
    held_out = Evaluation.load(evaluation)
    said = None if weights is None else Targets.load(weights)
    if said is not None:
        image_set.identity.check(said.identity, str(weights))
    texts = Texts(said, given, silent_weight)
    sizes = training.image_size, training.micro_batch_size
    validation = LabelValidation(held_out.images, held_out.labels, given.names, *sizes)
    uri = resume.folder(
        "audit",
        [images, labels, evaluation, weights, initial_model],
        **asdict(training),
        folds=folds,
        top_k=top_k,
    )
    numbers = dealt(given, folds)
    ranks.launch()
    trained = []
    for number in range(folds):
        run = TrainingRun(
            stage="audit",
            inputs=[images, labels, evaluation],
            settings=training,
            parameters={"folds": folds, "fold": number},
            what=f"audit fold {number + 1} of {folds}",
            initial_model=initial_model,
        )
        trained.append(
            Fold.predicted(
                run.what,
                np.flatnonzero(numbers == number),
                run=run,
                images=image_set,
                labels=given,
                validation=validation,
                uri=f"{uri}/fold{number}",
                top_k=top_k,
                asked=texts.asked,
            )
        )
    hashes = Hashes(f"{uri}/training", image_set), Hashes(f"{uri}/validation", held_out.images)
    for each in hashes:
        each.run("near-duplicates")
    if ranks.rank() > 0:
        return

    with tables.PredictionsWriter(predictions, image_set, given, numbers) as writer:
        selection = select(lambda: joined(trained), texts, text_floor, len(given.names), writer)
    near = Duplicates.of(*hashes, given, held_out.labels)
    with filesystem.complete(suspects) as folder:
        folder.mkdir()
        for name, table in {
            "suspects": tables.suspects(selection.suspects, image_set, given),
            "duplicates": tables.duplicates(near, image_set, held_out.images, given),
        }.items():
            tables.write(folder, name, table)
    sources = Sources.of([fold.record for fold in trained], initial_model, texts=said is not None)
    metadata.write(suspects, selection.metadata() | near.metadata() | sources.metadata())
    metadata.write(predictions, {"images": len(image_set), "folds": folds})
    logger.info(
        "%d of %d labels look wrong; %s",
        len(selection.suspects.numbers),
        len(image_set),
        sources.sentence,
    )
    draw(report, selection, near, sources, image_set, held_out.images, given)
    for fold in trained:
        fold.checkpoints.remove()
    resume.remove(uri)
