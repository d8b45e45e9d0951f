"""The stage `pseudo_label`."""

from components.shared.interface import (
    InputDataset,
    InputModels,
    OutputDataset,
    OutputHTML,
    OutputMetrics,
)


def pseudo_label(
    images: InputDataset,
    labels: InputDataset,
    models: InputModels,
    pseudo_labels: OutputDataset,
    report: OutputHTML,
    metrics: OutputMetrics,
    *,
    num_teachers: int = 2,
    top_k: int = 5,
    min_confidence: float = 0.2,
    batch_size: int = 256,
) -> None:
    """Label every training image with what the best models say.

    Args:
        images: The training images (ImageSet).
        labels: The labels that they were given, to compare with (Targets).
        models: Classifiers of the concepts; the best by validation accuracy are the teachers.
        pseudo_labels: The most probable concepts of each image (Targets).
        report: How the pseudo labels differ from the given ones.
        metrics: Counts and agreement.
        num_teachers: Average the probabilities of so many models.
        top_k: Keep so many concepts of an image, their probabilities normalised.
        min_confidence: Images whose best concept is less probable get no label.
        batch_size: Images at a time.
    """
    raise NotImplementedError
