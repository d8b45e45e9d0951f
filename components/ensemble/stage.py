"""The stage `ensemble`."""

import logging
from typing import Annotated

from components.shared.stage.errors import UserError
from components.shared.stage.interface import (
    InputDataset,
    InputModels,
    OutputClassificationMetrics,
    OutputDataset,
    OutputHTML,
    Range,
)

logger = logging.getLogger(__name__)


def ensemble(
    evaluation: InputDataset,
    models: InputModels,
    predictions: OutputDataset,
    submission: OutputDataset,
    confusion: OutputClassificationMetrics,
    report: OutputHTML,
    *,
    batch_size: Annotated[int, Range(at_least=1)] = 256,
) -> None:
    """Average the models' probabilities, evaluate, and predict the test images.

    Args:
        evaluation: The validation images with their labels, and the test images (Evaluation).
        models: Classifiers of the concepts.
        predictions: The ensemble's predictions for the validation images (Predictions).
        submission: The challenge's zip with `predictions.txt` for the test images.
        confusion: Confusion matrix of the classes most often confused.
        report: Each model and the ensemble.
        batch_size: Images at a time.
    """
    from components.ensemble.averaging import predict, validate
    from components.ensemble.confusion import write_confusion
    from components.ensemble.report import draw, unique_titles
    from components.ensemble.submission import write_submission
    from components.shared.data.evaluation import Evaluation
    from components.shared.data.predictions import TOP, History
    from components.shared.data.predictions import write as write_predictions
    from components.shared.stage import metadata, ranks
    from components.shared.storage import resume
    from components.shared.training.inference import Inference, read_records

    images, labels, tests = Evaluation.load(evaluation)
    if len(images) == 0:
        raise UserError(f"{evaluation}: no validation images to evaluate the models on")
    records = read_records(models, labels.names)
    uri = resume.folder("ensemble", [evaluation, *models], batch_size=batch_size)
    inference = Inference(
        uri=f"{uri}/validation",
        images=images,
        folders=models,
        top_k=TOP,
        batch_size=batch_size,
        each=True,
    )
    test_inference = Inference(
        uri=f"{uri}/test", images=tests, folders=models, top_k=TOP, batch_size=batch_size
    )
    ranks.launch()
    inference.run("validation")
    test_inference.run("test images")
    if ranks.rank() > 0:
        return

    validation = validate(inference, labels)
    history = History([each for record in records for each in record.lineage], [])
    write_predictions(predictions, images, labels, validation.predictions, history)
    write_confusion(
        confusion, validation.labels, validation.predictions.classes[:, 0], labels.titles
    )
    metadata.write(predictions, validation.metadata(unique_titles(records)))
    draw(report, validation, records, images, labels)

    if len(tests) == 0:
        logger.info("the data set has no test images: the submission is empty")
    write_submission(submission, tests.ids(), predict(test_inference).classes)
    resume.remove(uri)
