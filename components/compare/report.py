"""The report of the stage `compare`."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from components.compare.plots import plot_classes, plot_curves, plot_gains, plot_steps, plot_sweeps
from components.compare.results import Comparison
from components.compare.tables import Titles, interval, tables
from components.shared.reports.html import Page

_STEPS_PLOTTED = 2  # or more
_CLASSES = 10


def draw(path: Path, comparison: Comparison, classes: Sequence[str]) -> None:
    """Write the report to `path`.

    Args:
        path: The file.
        comparison: The comparison.
        classes: Titles of all classes.
    """
    titles = Titles(comparison)
    count = len(next(iter(comparison.cells.values())).seeds)
    seeds = f"{count} seeds" if count > 1 else "one seed"
    images = np.unique(comparison.labels, return_counts=True)[1]
    page = Page(
        "Comparison",
        f"{len(comparison.candidates)} candidates, {seeds}, {images.sum():,} validation images of "
        f"{len(images):,} classes, {images.min():,} or more of each.",
    )
    if comparison.names.about:
        page.paragraph(comparison.names.about)
    tiles = list(_headline(comparison, titles))
    if tiles:
        page.stats(tiles)
    if comparison.sweeps:
        page.figure(
            partial(plot_sweeps, comparison),
            "Top-1 after the first finetuning, by what the variants differ in; bars: standard "
            "error over the seeds.",
        )
    accuracy, *others = tables(comparison)
    for table in (accuracy, *others):
        page.heading(table.heading)
        page.table(table.columns, table.rows)
        page.paragraph(table.note)
        if table is accuracy and not comparison.sweeps:
            _add_plots(page, comparison, titles)
    _add_classes(page, comparison, titles, classes)
    page.write(path)


def _headline(comparison: Comparison, titles: Titles) -> Iterator[tuple[str, str]]:
    for each in comparison.first_gains:
        where = "" if math.isnan(each.both.low) else f" {interval(each.both)}"
        yield f"{100 * each.gain.mean:+.1f}", f"points of {titles.difference(each)}{where}"


def _add_plots(page: Page, comparison: Comparison, titles: Titles) -> None:
    if len(comparison.trainings) >= _STEPS_PLOTTED:
        page.figure(partial(plot_steps, comparison, titles), "Top-1 after each step.")
    page.figure(
        partial(plot_curves, comparison, titles),
        "Top-1 on the validation set against the images seen: mean over the seeds and its standard "
        "error. Large marks: at a higher resolution.",
    )
    first = [each for each in comparison.gains if each.of.step == comparison.steps[0]]
    if first:
        page.figure(
            partial(plot_gains, comparison, first, titles),
            f"Points over {comparison.names.baseline}, after the first finetuning, with 95 % "
            "confidence intervals: thin for the choice of seeds, thick for that of validation "
            "images.",
        )


def _add_classes(
    page: Page, comparison: Comparison, titles: Titles, classes: Sequence[str]
) -> None:
    names = [classes[label] for label in np.unique(comparison.labels).tolist()]
    first_gains = {each.of: each for each in reversed(comparison.first_gains)}
    for each in reversed(first_gains.values()):
        gains = each.classes.mean(axis=0)
        order = np.argsort(-gains, kind="stable")
        shown = min(_CLASSES, (len(order) + 1) // 2)
        page.heading(f"Gains by class: {titles.candidate(each.of)}")
        page.figure(
            partial(plot_classes, comparison, each, names),
            f"Points of top-1 over {titles.candidate(each.to)}, mean over the seeds.",
        )
        page.table(
            ["largest gain", "points", "smallest gain", "points"],
            [
                (names[good], f"{100 * gains[good]:+.1f}", names[bad], f"{100 * gains[bad]:+.1f}")
                for good, bad in zip(order[:shown], order[::-1][:shown], strict=True)
            ],
        )
