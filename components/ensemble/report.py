"""The report of the stage: each model, the ensemble, and its errors."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from components.ensemble.averaging import (
    CROSSED,
    CROSSED_SINGLE,
    ENSEMBLE,
    ExternalValidation,
    Measured,
    Validation,
)
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
    reported, titles = validation.reported, unique_titles(records)
    accuracies = validation.accuracies(reported)
    top1, top5 = accuracies[ENSEMBLE].tolist()
    page = Page("Ensemble", f"{len(records)} models, their probabilities averaged.")
    page.stats(
        [
            (f"{top1:.1%}", "balanced top-1"),
            (f"{top5:.1%}", "balanced top-5"),
            (f"{accuracies[validation.single, 0]:.1%}", "top-1 of the best model"),
            (
                f"{np.count_nonzero(reported):,}",
                "validation images" + " reported" * (not reported.all()),
            ),
        ]
    )
    page.heading("Results")
    _results(page, validation, records, titles)
    if external:
        page.paragraph(
            f"On the {len(external.predicted.images):,} images of {external.title}, the ensemble "
            f"has a balanced top-1 of {external.top1:.1%} and a balanced top-5 of "
            f"{external.top5:.1%}. They choose nothing."
        )
    counts = np.bincount(validation.labels[reported], minlength=len(labels.names))
    if missing := np.flatnonzero(counts == 0).tolist():
        page.paragraph(
            f"{len(missing):,} of {len(labels.names):,} classes have no "
            "validation image and are left out of the averages: "
            + _listed([labels.titles[i] for i in missing])
        )
    shown = _Shown.of(validation)
    _classes(page, shown, labels.titles)
    _confusions(page, shown, labels.titles)
    page.heading("Reliability")
    reliability = _Reliability.of(shown)
    page.figure(
        reliability.plot,
        "Accuracy on the images of each confidence level; above the diagonal the ensemble is "
        f"underconfident. Expected calibration error {reliability.error:.3f}; bars: images.",
    )
    _examples(page, shown, images, labels.titles)
    page.write(path)


def _listed(titles: Sequence[str]) -> str:
    return ", ".join([*titles[:20], "…"] if len(titles) > 20 else titles) + "."


def _results(
    page: Page, validation: Validation, records: Sequence[Record], titles: Sequence[str]
) -> None:
    reported, selection = validation.reported, validation.selection
    whole = [*titles, "equal shares of all", f"ensemble of {len(records)}"]
    drawn = [*(int(record.curve[-1]["images"]) for record in records), "", ""]
    columns = ["model", "training images, last stage", "top-1", "top-5"]
    rows: list[tuple[object, ...]] = [
        (title, images, *map(_percent, accuracies))
        for title, images, accuracies in zip(
            whole, drawn, validation.accuracies(reported)[:CROSSED], strict=True
        )
    ]
    if selection:
        rows[-1] = (f"ensemble of {len(selection.members)}, chosen", *rows[-1][1:])
        columns += ["share", "top-1, choosing half"]
        shares = [*(f"{share:.0%}" for share in selection.shares), "", ""]
        chose = map(_percent, validation.accuracies(~reported)[:CROSSED, 0])
        rows = [(*row, *more) for row, *more in zip(rows, shares, chose, strict=True)]
    else:
        del rows[-2]  # it is the ensemble
    page.table(columns, rows)
    page.paragraph(
        "Accuracy per class, averaged over the classes. Training images count as often as they "
        "were drawn."
    )
    page.paragraph(verdict(validation, titles))
    if selection is None and not reported.all():
        page.paragraph(
            "One half of the validation images has chosen the teachers of what models were trained "
            "on: all on this page is of the other half."
        )
    if selection:
        every = np.ones_like(reported)
        above = validation.above(CROSSED, CROSSED_SINGLE, every)
        page.paragraph(
            f"{np.count_nonzero(~reported):,} validation images, those whose id's digest is even, "
            "chose the shares; but for the last column and the next lines, all on this page is of "
            f"the other {np.count_nonzero(reported):,}. The predictions are of all."
        )
        page.paragraph(
            "Cross-fitted, where the other half chooses shares as well and each half measures "
            f"those of the other, the accuracy on all {len(every):,} images is "
            f"{_measured(validation.top1(CROSSED, every))} %, {_measured(above, '+')} points from "
            "the models that each half would choose alone. It measures how shares are chosen, by "
            "more images than these shares can be measured by."
        )


def verdict(validation: Validation, titles: Sequence[str]) -> str:
    """Say by how much the ensemble beats the best model or, if it does not, why."""
    reported, selection = validation.reported, validation.selection
    best = validation.single
    above = validation.above(ENSEMBLE, best, reported)
    whose = "these images" if reported.all() else "the half that chooses"
    said = (
        f"From the best model on {whose}, {titles[best]}, to the ensemble it is "
        f"{_measured(above, '+')} points of top-1 accuracy."
    )
    if above.mean > 0:
        return said
    if selection is None:
        mean = np.delete(validation.accuracies(reported)[: validation.num_models, 0], best).mean()
        why = (
            f"all models have equal shares, and the others have {mean:.1%} on average: "
            "weights=weighted and weights=greedy give them shares by what they add."
        )
    elif (gain := validation.above(ENSEMBLE, best, ~reported)).mean > 0:
        why = (
            f"on the half that chose the shares it is {_measured(gain, '+')} points, and what was "
            "gained there does not hold on other images."
        )
    elif (right := validation.hits[: validation.num_models, 0, reported])[best].all():
        why = "this model is right of all of them."
    else:
        rescued = float(right[:, ~right[best]].any(axis=0).mean())
        why = (
            f"nor does it on the half that chose the shares ({_measured(gain, '+')}); of the "
            f"images that this model gets wrong, another is right of {rescued:.0%}."
        )
    return f"{said} It does not beat it: {why}"


def _percent(accuracy: float) -> str:
    return f"{accuracy:.1%}"


def _measured(measured: Measured, sign: str = "") -> str:
    """Return a figure in percent with its 95 % interval: `+1.2 [+0.3, +2.1]`."""
    value, low, high = (100 * each for each in (measured.mean, *measured.interval))
    shown = f"{value:{sign}.1f}"
    return shown if math.isnan(low) else f"{shown} [{low:{sign}.1f}, {high:{sign}.1f}]"


@dataclass(frozen=True, slots=True)
class _Shown:
    """What the page shows in detail: the ensemble on the R reported images.

    Attributes:
        numbers: (R,) Which images.
        labels: (R,) Their true classes.
        classes: (R, 5) Their most probable classes.
        probabilities: (R, 5) Theirs.
    """

    numbers: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: NDArray[np.int32]
    probabilities: NDArray[np.float32]

    @classmethod
    def of(cls, validation: Validation) -> "_Shown":
        numbers, found = np.flatnonzero(validation.reported), validation.predictions
        labels, classes = validation.labels[numbers], found.classes[numbers]
        return cls(numbers, labels, classes, found.probabilities[numbers])

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether an image's (R,) top class is its class."""
        right: NDArray[np.bool_] = self.classes[:, 0] == self.labels
        return right


def _classes(page: Page, shown: _Shown, titles: Sequence[str]) -> None:
    images = np.bincount(shown.labels, minlength=len(titles))
    right = np.bincount(shown.labels[shown.right], minlength=len(titles))
    present = np.flatnonzero(images)
    order = present[np.argsort(right[present] / images[present], kind="stable")].tolist()
    rows = [(titles[i], int(images[i]), f"{right[i] / images[i]:.1%}") for i in order]
    for heading, part in (("Hardest classes", rows), ("Easiest classes", rows[::-1])):
        page.heading(heading)
        page.table(["class", "validation images", "top-1"], part[:_ROWS])


def _confusions(page: Page, shown: _Shown, titles: Sequence[str]) -> None:
    predicted, images = shown.classes[:, 0], np.bincount(shown.labels)
    wrong = ~shown.right
    pairs = Counter(zip(shown.labels[wrong].tolist(), predicted[wrong].tolist(), strict=True))
    page.heading("Most frequent confusions")
    page.table(
        ["class", "predicted as", "images", "share of the class"],
        [
            (titles[label], titles[other], count, f"{count / images[label]:.1%}")
            for (label, other), count in pairs.most_common(_PAIRS)
        ],
    )
    page.heading("Confusion matrix")
    classes, matrix = confusion(shown.labels, predicted, len(titles), _MATRIX)
    page.matrix(
        [*(titles[i] for i in classes), "all others"][: len(matrix)],
        matrix,
        "Images by true class (row) and predicted class (column, by its row's number)."
        + (
            " Named are the classes of the most frequent confusions; images of others that are "
            "predicted as others are left out."
        )
        * (len(matrix) > len(classes)),
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
    def of(cls, shown: _Shown) -> "_Reliability":
        confidence, right = shown.probabilities[:, 0].astype(np.float64), shown.right
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


def _examples(page: Page, shown: _Shown, images: ImageSet, titles: Sequence[str]) -> None:
    wrong = np.flatnonzero(~shown.right)
    if len(wrong) == 0:
        return
    confident = wrong[np.argsort(-shown.probabilities[wrong, 0], kind="stable")]
    examples = confident[:_EXAMPLES].tolist()
    numbers = shown.numbers[examples].tolist()
    page.heading("The most confident errors")
    page.cards(
        [
            Card(
                image=images.peek(number),
                title=f"label: {titles[shown.labels[i]]}",
                lines=[
                    (f"{titles[c]} {p:.2f}", p)
                    for c, p in zip(
                        shown.classes[i].tolist(),
                        shown.probabilities[i].tolist(),
                        strict=True,
                    )
                ],
                id=id,
            )
            for i, number, id in zip(examples, numbers, images.ids_of(numbers), strict=True)
        ]
    )
