"""The stage `ensemble`."""

from components.shared.interface import (
    InputDataset,
    InputModels,
    OutputClassificationMetrics,
    OutputDataset,
    OutputHTML,
    OutputMetrics,
)


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
        predictions: The five most probable concepts of each validation image (Parquet).
        submission: The challenge's zip with `predictions.txt` for the test images.
        confusion: Confusion of the classes most often confused.
        report: Each model and the ensemble.
        metrics: Balanced top-1 and top-5 accuracy, of each model and of the ensemble.
        batch_size: Images at a time.
    """
    raise NotImplementedError
