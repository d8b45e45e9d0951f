"""The report of the stage: the teachers, and how their labels differ from the given ones."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from components.pseudo_label.comparison import BINS, Comparison, Disagreement
from components.shared.data.halves import CHOOSING
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.reports import plots
from components.shared.reports.html import Card, Page
from components.shared.training.models import Record

_ROWS = 10


def draw(
    path: Path,
    comparison: Comparison,
    records: Sequence[Record],
    teachers: Sequence[int],
    images: ImageSet,
    given: Targets,
) -> None:
    """Write the report to `path`.

    Args:
        path: The file.
        comparison: The counts over all images.
        records: All candidates for teachers.
        teachers: The teachers' indices among them, best first.
        images: The training images, for the examples.
        given: Their given labels, for their titles.
    """
    figures = comparison.metrics
    page = Page("Pseudo labels", "The best models' averaged predictions for the training images.")
    page.stats(
        [
            (f"{comparison.images:,}", "images"),
            (f"{figures['labelled_share']:.1%}", "of them labelled"),
            (f"{figures['agreement']:.1%}", "of the labels agree with the given ones"),
            (f"{comparison.mean_confidence:.2f}", "the teachers' mean confidence"),
        ]
    )
    page.heading("Teachers")
    _teachers(page, records, teachers)
    page.heading("Confidence and agreement")
    page.figure(
        partial(_figure, comparison, given.titles),
        "First: images by the teachers' probability of the most probable class; the grey ones get "
        "no label. Second: share of the labelled images of each given class that keep it, sorted.",
    )
    page.table(
        ["", "strongest is the given class", "weight of the strongest", "weight of the given"],
        [
            (what, f"{each.agreement:.1%}", f"{each.strongest:.2f}", f"{each.given:.2f}")
            for what, each in (
                ("the teachers' probabilities", comparison.literal),
                ("the labels made of them", comparison.labels),
            )
        ],
    )
    _agreement(page, comparison, given.titles)
    _changes(page, comparison, given.titles)
    if comparison.disagreements:
        page.heading("The most confident disagreements")
        page.paragraph("Where the given label is wrong, pseudo labels repair it.")
        ids = images.ids_of([each.number for each in comparison.disagreements])
        page.cards(
            [
                _card(each, images, given.titles, id)
                for each, id in zip(comparison.disagreements, ids, strict=True)
            ]
        )
    page.write(path)


def _teachers(page: Page, records: Sequence[Record], teachers: Sequence[int]) -> None:
    if len(teachers) == len(records):
        page.table(
            ["teacher", "validation top-1"], [(each.title, f"{each.score:.1%}") for each in records]
        )
        page.paragraph("All models teach: the validation images have chosen nothing.")
        return
    ranked = [*teachers, *(i for i in range(len(records)) if i not in teachers)]
    page.table(
        ["model", "top-1, choosing half", "teacher"],
        [
            (
                records[i].title,
                f"{records[i].metrics[CHOOSING]:.1%}",
                "yes" if i in teachers else "no",
            )
            for i in ranked
        ],
    )
    page.paragraph(
        "The teachers are the best on one half of the validation images, those whose id's digest "
        "is even. What is trained on these labels is compared on the other half."
    )


def _figure(comparison: Comparison, titles: Sequence[str], width: float) -> Figure:
    figure, (left, right) = plots.panels(2, width, 2.8)
    edges = np.linspace(0, 1, BINS + 1)
    without, labelled = comparison.confidence
    bars: dict[str, Any] = {"width": 1 / BINS, "align": "edge"}
    left.bar(edges[:-1], labelled, color=plots.ACCENT, **bars)
    left.bar(edges[:-1], without, bottom=labelled, color="#adb5bd", **bars)
    left.set(xlabel="the teachers' confidence", ylabel="images", xlim=(0, 1))
    kept = np.flatnonzero(comparison.kept)
    agreement = comparison.agreeing[kept] / comparison.kept[kept]
    order = np.argsort(agreement, kind="stable")
    if plots.name_classes(right, [titles[kept[i]] for i in order], width / 2):
        right.bar(range(len(order)), agreement[order], color=plots.ACCENT)
    else:
        right.plot(agreement[order], color=plots.ACCENT)
        right.set(xlabel="classes, by agreement")
    right.set(ylabel="agreement", ylim=(0, 1))
    return figure


def _agreement(page: Page, comparison: Comparison, titles: Sequence[str]) -> None:
    classes = np.flatnonzero(comparison.kept)
    share = comparison.agreeing[classes] / comparison.kept[classes]
    order = np.argsort(share, kind="stable").tolist()
    rows = [
        (titles[classes[i]], int(comparison.kept[classes[i]]), f"{share[i]:.1%}") for i in order
    ]
    columns = ["given class", "labelled images", "agreement"]
    page.heading("Classes whose labels the teachers doubt most")
    page.table(columns, rows[:_ROWS])
    page.heading("Classes whose labels they confirm most")
    page.table(columns, rows[::-1][:_ROWS])


def _changes(page: Page, comparison: Comparison, titles: Sequence[str]) -> None:
    """Compare images per class before and after; images that got no label count as lost."""
    change = comparison.pseudo - comparison.given
    order = np.argsort(-change, kind="stable").tolist()
    columns = ["class", "given images", "pseudo-labelled images", "change"]

    def row(i: int) -> tuple[str, int, int, int]:
        return titles[i], int(comparison.given[i]), int(comparison.pseudo[i]), int(change[i])

    page.heading("Classes that gained most")
    page.table(columns, [row(i) for i in order[:_ROWS] if change[i] > 0])
    page.heading("Classes that lost most")
    page.table(columns, [row(i) for i in order[::-1][:_ROWS] if change[i] < 0])


def _card(each: Disagreement, images: ImageSet, titles: Sequence[str], id: str) -> Card:
    bars = [
        (f"{titles[label]} {share:.2f}", float(share))
        for label, share in zip(each.classes.tolist(), each.weights, strict=True)
    ]
    return Card(images.peek(each.number), f"given: {titles[each.given]}", bars, id)
