"""The stage `compare`."""

from dataclasses import replace
from typing import Annotated

from components.shared.stage.interface import (
    InputDataset,
    InputDatasets,
    OutputDataset,
    OutputHTML,
    OutputMarkdown,
    OutputMetrics,
    json_object,
)


def compare(
    predictions: InputDatasets,
    evaluation: InputDataset,
    comparison: OutputDataset,
    summary: OutputMarkdown,
    report: OutputHTML,
    metrics: OutputMetrics,
    *,
    names: Annotated[str, json_object] = '{"predictions": []}',
) -> None:
    """Compare candidates over seeds: means, differences and their intervals.

    Args:
        predictions: Each classifier's predictions for the validation images (Predictions).
        evaluation: The validation images with their labels, and perhaps those of an external
            validation set (Evaluation).
        comparison: Accuracies and differences with their intervals (JSON).
        summary: The tables.
        report: The tables, accuracy against images seen, gains by class.
        metrics: Top-1 accuracy of each pretraining after the last step, and its gain over scratch.
        names: Whose the predictions are, and how to show steps and pretrainings (JSON; `names.py`).
    """
    from components.compare import outputs, results
    from components.compare.names import Names
    from components.compare.report import draw
    from components.shared.data.evaluation import LABELS, External
    from components.shared.data.targets import Targets

    labels, external = Targets.load(evaluation / LABELS), External.load(evaluation)
    found = results.compare(predictions, Names.parse(names), labels.identity)
    if external:
        outside = results.compare(predictions, found.names, external.labels.identity, of="external")
        found = replace(found, external=replace(outside, title=external.title))
    outputs.write_comparison(comparison, found)
    outputs.write_summary(summary, found)
    draw(report, found, labels.titles)
    outputs.write_metrics(metrics, found)
