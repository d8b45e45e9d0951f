"""The report of the stage: each model, the ensemble, and its errors."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from components.ensemble.averaging import ExternalValidation, Validation
from components.ensemble.confusion import confusion
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.reports import plots
from components.shared.reports.html import Card, Page
from components.shared.training.models import Record

_ROWS = 10
_PAIRS = 20
_MATRIX = 50  # rows of the confusion matrix, at most
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
    external: ExternalValidation | None = None,
) -> None:
    """Write the report to `path`.

    Args:
        path: The file.
        validation: The evaluation on the validation images.
        records: The models' records.
        images: The validation images, for the examples.
        labels: Their labels, for the titles of the classes.
        external: The evaluation on an external validation set.
    """
    ensemble, selection = validation.reported.ensemble, validation.selection
    best = max(each.top1 for each in validation.reported.models)
    page = Page("Ensemble", f"{len(records)} models, their probabilities averaged.")
    page.stats(
        [
            (f"{ensemble.top1:.1%}", "balanced top-1"),
            (f"{ensemble.top5:.1%}", "balanced top-5"),
            (f"{best:.1%}", "top-1 of the best model"),
            (f"{ensemble.images:,}", "validation images" + " reported" * bool(selection)),
        ]
    )
    page.heading("Results")
    _results(page, validation, records)
    if external:
        accuracy = external.accuracy
        page.paragraph(
            f"On the {accuracy.images:,} images of {external.title}, the ensemble has a balanced "
            f"top-1 of {accuracy.top1:.1%} and a balanced top-5 of {accuracy.top5:.1%}. They "
            "choose nothing."
        )
    if ensemble.missing_classes:
        page.paragraph(
            f"{len(ensemble.missing_classes):,} of {len(labels.names):,} classes have no "
            "validation image and are left out of the averages: "
            + _listed([labels.titles[i] for i in ensemble.missing_classes])
        )
    _classes(page, validation, labels.titles)
    _confusions(page, validation, labels.titles)
    page.heading("Reliability")
    reliability = _Reliability.of(validation)
    page.figure(
        reliability.plot,
        "Accuracy on the images of each confidence level; above the diagonal the ensemble is "
        f"underconfident. Expected calibration error {reliability.error:.3f}; bars: images.",
    )
    _examples(page, validation, images, labels.titles)
    page.write(path)


def _listed(titles: Sequence[str]) -> str:
    return ", ".join([*titles[:20], "…"] if len(titles) > 20 else titles) + "."


def _results(page: Page, validation: Validation, records: Sequence[Record]) -> None:
    together, titles = validation.reported.ensemble, unique_titles(records)
    rows: list[tuple[object, ...]] = [
        (title, int(record.curve[-1]["images"]), f"{accuracy.top1:.1%}", f"{accuracy.top5:.1%}")
        for title, record, accuracy in zip(titles, records, validation.reported.models, strict=True)
    ]
    rows.append((f"ensemble of {len(records)}", "", f"{together.top1:.1%}", f"{together.top5:.1%}"))
    columns = ["model", "training images, last stage", "top-1", "top-5"]
    if validation.selection:
        equal, choosing = validation.reported.equal, validation.choosing
        rows.insert(-1, ("equal shares of all", "", f"{equal.top1:.1%}", f"{equal.top5:.1%}"))
        members = len(validation.selection.members)
        rows[-1] = (f"ensemble of {members}, chosen", *rows[-1][1:])
        shares = [*(f"{share:.0%}" for share in validation.selection.shares), "", ""]
        chose = [*choosing.models, choosing.equal, choosing.ensemble]
        columns += ["share", "top-1, choosing half"]
        rows = [
            (*row, share, f"{accuracy.top1:.1%}")
            for row, share, accuracy in zip(rows, shares, chose, strict=True)
        ]
    page.table(columns, rows)
    page.paragraph(
        "Accuracy per class, averaged over the classes. Training images count as often as they "
        "were drawn."
    )
    if validation.selection:
        page.paragraph(
            f"{validation.choosing.ensemble.images:,} validation images, those whose id's digest "
            "is even, chose the shares; but for the last column, all on this page is of the other "
            f"{together.images:,}. The predictions are of all."
        )


def _classes(page: Page, validation: Validation, titles: Sequence[str]) -> None:
    images, accuracy = (
        validation.reported.ensemble.counts[0].tolist(),
        validation.reported.ensemble.per_class,
    )
    order = [i for i in np.argsort(accuracy, kind="stable").tolist() if images[i] > 0]
    rows = [(titles[i], images[i], f"{accuracy[i]:.1%}") for i in order]
    for heading, part in (("Hardest classes", rows), ("Easiest classes", rows[::-1])):
        page.heading(heading)
        page.table(["class", "validation images", "top-1"], part[:_ROWS])


def _confusions(page: Page, validation: Validation, titles: Sequence[str]) -> None:
    predicted, images = validation.predictions.classes[:, 0], validation.reported.ensemble.counts[0]
    wrong = validation.labels != predicted
    pairs = Counter(zip(validation.labels[wrong].tolist(), predicted[wrong].tolist(), strict=True))
    page.heading("Most frequent confusions")
    page.table(
        ["class", "predicted as", "images", "share of the class"],
        [
            (titles[label], titles[other], count, f"{count / images[label]:.1%}")
            for (label, other), count in pairs.most_common(_PAIRS)
        ],
    )
    page.heading("Confusion matrix")
    shown, matrix = confusion(validation.labels, predicted, len(titles), _MATRIX)
    page.matrix(
        [*(titles[i] for i in shown), "all others"][: len(matrix)],
        matrix,
        "Images by true class (row) and predicted class (column, by its row's number)."
        + (
            " Named are the classes of the most frequent confusions; images of others that are "
            "predicted as others are left out."
        )
        * (len(matrix) > len(shown)),
    )


@dataclass(frozen=True, slots=True)
class _Reliability:
    """The images by confidence: bins of the top class's probability that have any.

    Attributes:
        bins: (B,) Their numbers.
        shares: (B,) Their share of the images.
        confidence: (B,) The mean probability.
        accuracy: (B,) The top-1 accuracy.
    """

    bins: NDArray[np.int64]
    shares: NDArray[np.float64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @classmethod
    def of(cls, validation: Validation) -> "_Reliability":
        confidence = validation.predictions.probabilities[:, 0].astype(np.float64)
        right = validation.predictions.classes[:, 0] == validation.labels
        all_bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
        bins, which, images = np.unique(all_bins, return_inverse=True, return_counts=True)
        confidence, accuracy = (np.bincount(which, each) / images for each in (confidence, right))
        return cls(bins, images / len(right), confidence, accuracy)

    @property
    def error(self) -> float:
        """The expected calibration error (Guo et al. 2017)."""
        return float(np.abs(self.accuracy - self.confidence) @ self.shares)

    def plot(self, width: float) -> Figure:
        figure, (axes,) = plots.panels(1, min(width, 4.4), 3.4)
        axes.plot([0, 1], [0, 1], color="#adb5bd", linewidth=1)
        axes.bar((self.bins + 0.5) / _BINS, self.shares, width=0.9 / _BINS, color="#c3e6ec")
        # Points at the ends are whole, beyond the axes.
        axes.plot(self.confidence, self.accuracy, marker="o", color=plots.ACCENT, clip_on=False)
        axes.set(xlabel="probability of the top class", ylabel="top-1 accuracy")
        axes.set(xlim=(0, 1), ylim=(0, 1))
        return figure


def _examples(page: Page, validation: Validation, images: ImageSet, titles: Sequence[str]) -> None:
    predictions = validation.predictions
    wrong = np.flatnonzero(predictions.classes[:, 0] != validation.labels)
    if len(wrong) == 0:
        return
    confident = wrong[np.argsort(-predictions.probabilities[wrong, 0], kind="stable")]
    shown = confident[:_EXAMPLES].tolist()
    numbers = validation.numbers[shown].tolist()
    page.heading("The most confident errors")
    page.cards(
        [
            Card(
                image=images.peek(number),
                title=f"label: {titles[validation.labels[i]]}",
                lines=[
                    (f"{titles[c]} {p:.2f}", p)
                    for c, p in zip(
                        predictions.classes[i].tolist(),
                        predictions.probabilities[i].tolist(),
                        strict=True,
                    )
                ],
                id=id,
            )
            for i, number, id in zip(shown, numbers, images.ids_of(numbers), strict=True)
        ]
    )
