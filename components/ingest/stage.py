"""The stage `ingest`."""

from typing import Literal

from components.shared.interface import OutputDataset, OutputHTML, OutputMetrics


def ingest(
    images: OutputDataset,
    texts: OutputDataset,
    labels: OutputDataset,
    validation_images: OutputDataset,
    validation_labels: OutputDataset,
    test_images: OutputDataset,
    concepts: OutputDataset,
    rejects: OutputDataset,
    report: OutputHTML,
    metrics: OutputMetrics,
    *,
    dataset: str = "data",
    dataset_version: str = "1",
    layout: Literal["auto", "webvision", "folders"] = "auto",
    image_side: int = 256,
    limit: int = 0,
    validation_share: float = 0.05,
    shard_megabytes: int = 256,
    seed: int = 0,
) -> None:
    """Read a web-image data set; write the image set, texts and given labels.

    Args:
        images: The training images (ImageSet).
        texts: What the web says around each training image (Texts).
        labels: The label that each training image was given (Targets).
        validation_images: The validation images (ImageSet).
        validation_labels: Their labels (Targets).
        test_images: The test images, whose labels nobody has; none if there is no such split.
        concepts: The classes and their ancestors: wnid, lemmas, gloss, hypernyms (Parquet).
        rejects: What was left out, and why (Parquet).
        report: Counts and samples of what was read.
        metrics: Counts by kind.
        dataset: The data set's folder, local or s3://.
        dataset_version: Any text; change it when the data behind `dataset` change.
        layout: WebVision's files, or one folder of images per class.
        image_side: Longer short sides are reduced to this many pixels.
        limit: Take so many training images of each class; 0 takes all.
        validation_share: Share held out where a data set has no validation split.
        shard_megabytes: Size of a shard.
        seed: Seed of the order of images.
    """
    raise NotImplementedError
