"""The stage `ensemble`."""

import logging
from dataclasses import replace
from typing import Annotated, Any, Literal

from components.shared.stage.errors import UserError
from components.shared.stage.interface import (
    InputDataset,
    InputModels,
    OutputClassificationMetrics,
    OutputDataset,
    OutputHTML,
    Range,
)
from components.shared.training.views import Views

logger = logging.getLogger(__name__)
# Classes kept of each model and image where the shares are chosen; the mean needs more than the
# five that are measured, for a class may be high for one model and lower for another.
_KEPT = 20


def ensemble(
    evaluation: InputDataset,
    models: InputModels,
    predictions: OutputDataset,
    submission: OutputDataset,
    confusion: OutputClassificationMetrics,
    report: OutputHTML,
    *,
    views: Views = "multi",
    weights: Literal["equal", "weighted", "greedy"] = "weighted",
    batch_size: Annotated[int, Range(at_least=1, at_most=65_536)] = 256,
) -> None:
    """Average the models' probabilities, evaluate, and predict the test images.

    Args:
        evaluation: The validation images with their labels, the test images, and perhaps those of
            an external validation set (Evaluation).
        models: Classifiers of the concepts.
        predictions: The ensemble's predictions for all labelled images (Predictions).
        submission: The challenge's zip with `predictions.txt` for the test images.
        confusion: Confusion matrix of the classes most often confused.
        report: Each model and the ensemble.
        views: What models see of an image: its middle; also its mirror image, for twice the GPU
            time; or three crops, each mirrored, for six times.
        weights: The models' shares: equal, or chosen on one half of the validation images, those
            with the least log loss or greedily for accuracy; then all that is reported is of the
            other half.
        batch_size: Images at a time.
    """
    from components.ensemble.averaging import (
        ExternalValidation,
        predict,
        select,
        trainings,
        validate,
    )
    from components.ensemble.confusion import write_confusion
    from components.ensemble.report import draw, unique_titles
    from components.ensemble.submission import write_submission
    from components.shared.data.evaluation import Evaluation
    from components.shared.data.predictions import TOP, History
    from components.shared.data.predictions import write as write_predictions
    from components.shared.stage import metadata, ranks
    from components.shared.storage import resume
    from components.shared.training.inference import Inference, read_records

    images, labels, tests, external = Evaluation.load(evaluation)
    if len(images) == 0:
        raise UserError(f"{evaluation}: no validation images to evaluate the models on")
    records = read_records(models, labels.names)
    settings: dict[str, Any] = {"batch_size": batch_size, "views": views}
    uri = resume.folder("ensemble", [evaluation, *models], weights=weights, **settings)
    inference = Inference(
        uri=f"{uri}/validation",
        images=images,
        folders=models,
        top_k=TOP if weights == "equal" else _KEPT,
        each=True,
        **settings,
    )
    test_inference = Inference(
        uri=f"{uri}/test", images=tests, folders=models, top_k=TOP, **settings
    )
    ranks.launch()
    inference.run("validation")
    selection, members = None, records
    if weights != "equal":  # each process for itself: the parts are the same
        selection = select(inference, labels, weights)
        members = [records[i] for i in selection.members]
        test_inference = replace(
            test_inference,
            uri=f"{uri}/test-{'-'.join(map(str, selection.parts))}",
            folders=[models[i] for i in selection.members],
            shares=[float(selection.shares[i]) for i in selection.members],
        )
    test_inference.run("test images")
    outside = external and replace(
        test_inference, uri=f"{test_inference.uri}-external", images=external.images
    )
    if outside:
        outside.run("external validation")
    if ranks.rank() > 0:
        return

    chosen = [what for record in members for what in record.chosen]
    chosen += ["the ensemble's members"] if selection else []
    validation = validate(inference, labels, selection, halved=bool(chosen))
    history = History(trainings(members), [], tuple(dict.fromkeys(chosen)))
    measured = ExternalValidation.of(external, outside) if external and outside else None
    others = measured.predicted if measured else None
    write_predictions(predictions, images, labels, validation.predictions, history, others)
    shown = validation.reported
    predicted = validation.predictions.classes[shown, 0]
    write_confusion(confusion, validation.labels[shown], predicted, labels.titles)
    scalars = validation.metadata(unique_titles(records), len(labels.names))
    metadata.write(predictions, scalars | (measured.metadata() if measured else {}))
    draw(report, validation, records, images, labels, measured)

    if len(tests) == 0:
        logger.info("the data set has no test images: the submission is empty")
    write_submission(submission, tests.ids(), predict(test_inference).classes)
    resume.remove(uri)
