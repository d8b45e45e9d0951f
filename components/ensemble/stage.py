"""The stage `ensemble`."""

import logging

from components.shared.stage.errors import UserError
from components.shared.stage.interface import (
    InputDataset,
    InputModels,
    OutputClassificationMetrics,
    OutputDataset,
    OutputHTML,
    OutputMetrics,
)

logger = logging.getLogger(__name__)


def ensemble(
    validation_images: InputDataset,
    validation_labels: InputDataset,
    test_images: InputDataset,
    models: InputModels,
    predictions: OutputDataset,
    submission: OutputDataset,
    confusion: OutputClassificationMetrics,
    report: OutputHTML,
    metrics: OutputMetrics,
    *,
    batch_size: int = 256,
) -> None:
    """Average the models' probabilities, evaluate, and predict the test images.

    Args:
        validation_images: The validation images (ImageSet).
        validation_labels: Their labels (Targets).
        test_images: The test images (ImageSet).
        models: Classifiers of the concepts.
        predictions: The ensemble's predictions for the validation images (Predictions).
        submission: The challenge's zip with `predictions.txt` for the test images.
        confusion: Confusion matrix of the classes most often confused.
        report: Each model and the ensemble.
        metrics: Balanced top-1 and top-5 accuracy, of each model and of the ensemble.
        batch_size: Images at a time.
    """
    from components.ensemble.averaging import predict, validate
    from components.ensemble.confusion import write_confusion
    from components.ensemble.report import draw, unique_titles
    from components.ensemble.submission import write_submission
    from components.shared.data.image_set import ImageSet
    from components.shared.data.predictions import TOP, History
    from components.shared.data.predictions import write as write_predictions
    from components.shared.data.targets import Targets
    from components.shared.reports.metrics import write
    from components.shared.stage import ranks
    from components.shared.storage import resume
    from components.shared.training.inference import Inference, read_records

    images, labels = ImageSet.load(validation_images), Targets.load(validation_labels)
    tests = ImageSet.load(test_images)
    images.identity.check(labels.identity, str(validation_labels))
    if len(images) == 0:
        raise UserError(f"{validation_images}: no validation images to evaluate the models on")
    records = read_records(models, labels.names)
    uri = resume.folder(
        "ensemble", [validation_images, test_images, *models], batch_size=batch_size
    )
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
    write_confusion(confusion, validation.labels, validation.predictions.classes[:, 0], labels)
    write(metrics, validation.metrics(unique_titles(records)))
    draw(report, validation, records, images, labels)

    if len(tests) == 0:
        logger.info("the data set has no test images: the submission is empty")
    write_submission(submission, tests.ids(), predict(test_inference).classes)
    resume.remove(uri)
