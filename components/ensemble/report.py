"""The report of the stage: each model, the ensemble, and its errors."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from components.ensemble.averaging import Validation
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.reports.html import Card, Page
from components.shared.training.models import Record

_ROWS = 10
_PAIRS = 20
_EXAMPLES = 24
_BINS = 10


def unique_titles(records: Sequence[Record]) -> list[str]:
    """Return the models' titles; the second of equal ones is `… (2)`."""
    seen: Counter[str] = Counter()
    titles = []
    for record in records:
        seen[record.title] += 1
        count = seen[record.title]
        titles.append(record.title if count == 1 else f"{record.title} ({count})")
    return titles


def draw(
    path: Path,
    validation: Validation,
    records: Sequence[Record],
    images: ImageSet,
    labels: Targets,
) -> None:
    """Write the report to `path`.

    Args:
        path: The file.
        validation: The evaluation on the validation images.
        records: The models' records.
        images: The validation images, for the examples.
        labels: Their labels, for the titles of the classes.
    """
    ensemble = validation.ensemble
    page = Page("Ensemble", f"{len(records)} models, their probabilities averaged.")
    page.stats(
        [
            (f"{ensemble.top1:.1%}", "balanced top-1"),
            (f"{ensemble.top5:.1%}", "balanced top-5"),
            (f"{max(each.top1 for each in validation.models):.1%}", "top-1 of the best model"),
            (f"{ensemble.images:,}", "validation images"),
        ]
    )
    page.heading("Results")
    _results(page, validation, records)
    if ensemble.missing_classes:
        page.paragraph(
            f"{len(ensemble.missing_classes):,} of {len(labels.names):,} classes have no "
            "validation image and are left out of the averages: "
            + _listed([labels.titles[i] for i in ensemble.missing_classes])
        )
    _classes(page, validation, labels.titles)
    _confusions(page, validation, labels.titles)
    page.heading("Reliability")
    figure, error = _reliability(validation)
    page.figure(
        figure,
        "Accuracy on the images of each confidence level; above the diagonal the ensemble is "
        f"underconfident. Expected calibration error {error:.3f}; bars: images.",
    )
    _examples(page, validation, images, labels.titles)
    page.write(path)


def _listed(titles: Sequence[str]) -> str:
    return ", ".join([*titles[:20], "…"] if len(titles) > 20 else titles) + "."


def _results(page: Page, validation: Validation, records: Sequence[Record]) -> None:
    rows: list[tuple[object, ...]] = [
        (title, int(record.curve[-1]["images"]), accuracy.top1, accuracy.top5)
        for title, record, accuracy in zip(
            unique_titles(records), records, validation.models, strict=True
        )
    ]
    together = validation.ensemble
    rows.append((f"ensemble of {len(records)}", "", together.top1, together.top5))
    page.table(["model", "training images, last stage", "top-1", "top-5"], rows)
    page.paragraph(
        "Accuracy per class, averaged over the classes. Training images count as often as they "
        "were drawn."
    )


def _classes(page: Page, validation: Validation, titles: Sequence[str]) -> None:
    images, accuracy = validation.ensemble.counts[0].tolist(), validation.ensemble.per_class
    order = [i for i in np.argsort(accuracy, kind="stable").tolist() if images[i] > 0]
    rows = [(titles[i], images[i], float(accuracy[i])) for i in order]
    for heading, part in (("Hardest classes", rows), ("Easiest classes", rows[::-1])):
        page.heading(heading)
        page.table(["class", "validation images", "top-1"], part[:_ROWS])


def _confusions(page: Page, validation: Validation, titles: Sequence[str]) -> None:
    predicted, images = validation.predictions.classes[:, 0], validation.ensemble.counts[0]
    wrong = validation.labels != predicted
    pairs = Counter(zip(validation.labels[wrong].tolist(), predicted[wrong].tolist(), strict=True))
    page.heading("Most frequent confusions")
    page.table(
        ["class", "predicted as", "images", "share of the class"],
        [
            (titles[label], titles[other], count, count / int(images[label]))
            for (label, other), count in pairs.most_common(_PAIRS)
        ],
    )


def _reliability(validation: Validation) -> tuple[Figure, float]:
    """Return the reliability diagram and the expected calibration error (Guo et al. 2017)."""
    confidence = validation.predictions.probabilities[:, 0].astype(np.float64)
    right = validation.predictions.classes[:, 0] == validation.labels
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    images = np.bincount(bins, minlength=_BINS)
    there = images > 0
    mean_confidence = _means(bins, confidence)[there]
    accuracy = _means(bins, right)[there]
    error = float(np.abs(accuracy - mean_confidence) @ (images[there] / len(bins)))

    figure = Figure(figsize=(4.4, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#adb5bd", linewidth=1)
    axes.bar(
        (np.arange(_BINS) + 0.5) / _BINS, images / len(bins), width=0.9 / _BINS, color="#c3e6ec"
    )
    axes.plot(mean_confidence, accuracy, marker="o", color="#0b7285")
    axes.set(xlabel="probability of the top class", ylabel="top-1 accuracy")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return figure, error


def _means(bins: NDArray[np.int64], values: NDArray[np.generic]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # an empty bin has no mean
        means: NDArray[np.float64] = np.bincount(bins, values, _BINS) / np.bincount(
            bins, minlength=_BINS
        )
    return means


def _examples(page: Page, validation: Validation, images: ImageSet, titles: Sequence[str]) -> None:
    predictions = validation.predictions
    wrong = np.flatnonzero(predictions.classes[:, 0] != validation.labels)
    if len(wrong) == 0:
        return
    confident = wrong[np.argsort(-predictions.probabilities[wrong, 0], kind="stable")]
    page.heading("The most confident errors")
    page.cards(
        [
            Card(
                image=images.peek(i),
                title=f"label: {titles[validation.labels[i]]}",
                lines=[
                    (f"{titles[c]} {p:.2f}", p)
                    for c, p in zip(
                        predictions.classes[i].tolist(),
                        predictions.probabilities[i].tolist(),
                        strict=True,
                    )
                ],
            )
            for i in confident[:_EXAMPLES].tolist()
        ]
    )
