"""The stage `ingest`."""

import logging
from typing import Annotated, Literal

from components.shared.stage.interface import (
    Location,
    OutputDataset,
    OutputHTML,
    Range,
)

logger = logging.getLogger(__name__)


def ingest(
    images: OutputDataset,
    texts: OutputDataset,
    labels: OutputDataset,
    evaluation: OutputDataset,
    report: OutputHTML,
    *,
    dataset: Annotated[str, Location()] = "data",
    dataset_version: str = "1",
    layout: Literal["auto", "webvision", "folders", "classes", "table", "webdataset"] = "auto",
    label_field: str = "auto",
    sources: Literal["both", "google", "flickr"] = "both",
    num_classes: Annotated[int, Range(at_least=0, at_most=10_000_000)] = 0,
    external_validation: Annotated[str, Location(other="none", named="none")] = "none",
    image_side: Annotated[int, Range(at_least=1, at_most=4_096)] = 256,
    limit: Annotated[int, Range(at_least=0, at_most=1_000_000_000)] = 0,
    validation_share: Annotated[float, Range(at_least=0, below=1)] = 0.05,
    shard_megabytes: Annotated[int, Range(at_least=1, at_most=100_000)] = 256,
    seed: Annotated[int, Range(at_least=0, below=2**32)] = 0,
) -> None:
    """Read a web-image data set; write the image set, texts and given labels.

    Args:
        images: The training images (ImageSet), and what was left out or is missing, and why
            (`rejects.parquet`).
        texts: The web text around each training image (Texts).
        labels: Each training image's given label (Targets), and the classes and their ancestors:
            wnid, lemmas, gloss, hypernyms (`concepts.parquet`).
        evaluation: The validation images with their labels, the test images, and those of the
            external validation set with their labels (Evaluation).
        report: Counts and samples of what was read.
        dataset: The data set's folder, local or s3://; it is read in place.
        dataset_version: Any string; change it when the data at `dataset` or `external_validation`
            change.
        layout: WebVision's files; a folder per class, below train/, val/ and test/ if there are
            such (folders), or all folders as classes (classes); images with a table of their labels
            (table); tar shards of samples (webdataset); or what is recognised (auto).
        label_field: The column of a table, or field of samples' JSON, with the images' labels; auto
            takes one of a usual name.
        sources: Whose of WebVision's images are taken.
        num_classes: Only the first so many classes are taken; 0 takes all.
        external_validation: Another data set's folder, local or s3://, such as ImageNet's `val`:
            all classifiers are evaluated on its images of the same classes, too; or none.
        image_side: Images are downscaled to a short side of at most this many pixels.
        limit: Training images per class; 0 takes all.
        validation_share: Share of each class to hold out if the data set has no validation images;
            at least 20 images or a fifth of the class, whichever is less. 0 holds out none.
        shard_megabytes: Largest size of a shard; a small set has at least 64 smaller ones.
        seed: Seed of the order of images.
    """
    from components.ingest import assembly, layouts, lists, plan, survey, workdir
    from components.ingest import concepts as meanings
    from components.ingest.report import write_report
    from components.ingest.shards import Shards, plan_shards
    from components.ingest.text_parts import NUM_ROWS, TextParts
    from components.shared.data.evaluation import (
        EXTERNAL,
        EXTERNAL_LABELS,
        LABELS,
        TEST,
        VALIDATION,
        write_title,
    )
    from components.shared.data.targets import CONCEPTS
    from components.shared.stage import environment, metadata
    from components.shared.storage import arrays, filesystem

    root, external_root = layouts.root(dataset), layouts.external_root(external_validation)
    fingerprint = workdir.fingerprint(
        dataset=root,
        dataset_version=dataset_version,
        layout=layout,
        label_field=label_field,
        sources=sources,
        num_classes=num_classes,
        external_validation=external_root,
        image_side=image_side,
        limit=limit,
        validation_share=validation_share,
        shard_megabytes=shard_megabytes,
        seed=seed,
    )
    with workdir.locked(fingerprint) as folder:
        data = layouts.read(
            root,
            folder / "lists",
            layout=layout,
            label_field=label_field,
            sources=sources,
            num_classes=num_classes,
            external_validation=external_root,
        )
        table = meanings.of_classes(data.names, data.taxonomy)
        titles = [lemmas[0] for lemmas in table["lemmas"].to_pylist()[: len(data.names)]]

        blocks = lists.blocks(data.lists, NUM_ROWS)
        planned = plan.make(data, blocks, limit=limit, validation_share=validation_share, seed=seed)
        for line in survey.lines(root, data, blocks, planned):
            logger.info("%s", line)
        # Parts are only reused for the very same images at the same positions.
        name = f"{fingerprint}-{planned.digest()[:16]}"
        text_parts = TextParts(folder / name, blocks, len(titles), data.text, planned)
        text_parts.make_all()
        assembly.check_lists(data, text_parts)
        ranges = plan_shards(text_parts, data.files, 1_000_000 * shard_megabytes, image_side)
        prefix = f"{environment.store()}/images/{name}"
        shards = Shards(text_parts, data.files, folder / name, prefix, ranges, image_side)
        shards.make_all()
        assembly.check_images(data, shards)

        train = assembly.write_images(images, shards, "train")
        kinds = assembly.write_rejects(images / "rejects.parquet", data, shards)
        assembly.write_texts(texts, shards, "train", train)
        assembly.write_labels(labels, shards, "train", train, data.names, titles)
        with filesystem.complete(labels / CONCEPTS) as temporary:
            arrays.write(temporary, table)
        with filesystem.complete(evaluation) as folder:
            validation = assembly.write_images(folder / VALIDATION, shards, "validation")
            assembly.write_labels(
                folder / LABELS, shards, "validation", validation, data.names, titles
            )
            test = assembly.write_images(folder / TEST, shards, "test")
            splits = {"train": train.images, "validation": validation.images, "test": test.images}
            if data.external:
                external = assembly.write_images(folder / EXTERNAL, shards, "external")
                assembly.write_labels(
                    folder / EXTERNAL_LABELS, shards, "external", external, data.names, titles
                )
                write_title(folder, data.external.title)
                splits["external"] = external.images
        held_out = evaluation / LABELS if planned.held_out else None
        write_report(report, images, texts, labels, splits, kinds, held_out)
        metadata.write(images, assembly.counts(splits, kinds))
        shards.tidy()
