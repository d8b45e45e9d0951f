"""The stage `weighting`."""

from components.shared.interface import InputDataset, OutputDataset, OutputHTML, OutputMetrics


def weighting(
    texts: InputDataset,
    labels: InputDataset,
    concepts: InputDataset,
    weights: OutputDataset,
    report: OutputHTML,
    metrics: OutputMetrics,
    *,
    neighbors: int = 5,
    top_k: int = 5,
    fallback_weight: float = 0.5,
) -> None:
    """Weight the concepts near an image's label by how well its text fits them.

    Args:
        texts: What the web says around each image (Texts).
        labels: The label that each image was given (Targets).
        concepts: The classes and their ancestors (Parquet).
        weights: Up to `top_k` concepts of each image with the similarity as weight (Targets).
        report: Neighbours, weights and examples.
        metrics: Counts.
        neighbors: How many of the nearest concepts are candidates, besides the label.
        top_k: Keep so many concepts of an image.
        fallback_weight: Weight of the given label where the text says nothing.
    """
    raise NotImplementedError
