"""The stage `compare`."""

from components.shared.interface import (
    InputDataset,
    InputDatasets,
    OutputDataset,
    OutputHTML,
    OutputMarkdown,
    OutputMetrics,
)


def compare(
    predictions: InputDatasets,
    validation_labels: InputDataset,
    comparison: OutputDataset,
    summary: OutputMarkdown,
    report: OutputHTML,
    metrics: OutputMetrics,
    *,
    names: str = "[]",
    resamples: int = 2000,
) -> None:
    """Compare candidates over seeds: means, differences and their intervals.

    Args:
        predictions: What each classifier says of the validation images (Predictions).
        validation_labels: The validation images' labels (Targets), for the classes' titles.
        comparison: Accuracy and differences of each candidate after each step (Parquet).
        summary: The table of results.
        report: The table, curves against images seen, gains by class, and costs.
        metrics: Top-1 accuracy of each candidate, and its difference to training from scratch.
        names: Step and candidate of each of the predictions, as a JSON list of pairs.
        resamples: How often the validation images are drawn anew for the bootstrap.
    """
