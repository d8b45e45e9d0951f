"""The tables of a comparison, as text: for the report and for KFP's UI."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.compare.results import Cell, Comparison, Difference
from components.shared.data.halves import REPORTED, unchosen
from components.shared.data.statistics import Estimate, Interval
from components.shared.reports.titles import Name

NONE = "–"


class Table(NamedTuple):
    """A heading, a note on what the numbers are, the columns' names and the rows."""

    heading: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Titles:
    """Display names of cells: without the backbone if all have the same."""

    def __init__(self, comparison: Comparison) -> None:
        """Find out which backbones there are."""
        self._names = comparison.names
        self._one = len({candidate.backbone for candidate in comparison.candidates}) == 1
        self._steps = len(comparison.steps) > 1

    def candidate(self, cell: Cell) -> str:
        """Return the display name of a cell's candidate."""
        if cell.is_ensemble:
            return self.step(cell.step)
        candidate = cell.candidate
        return self._names.title(replace(candidate, backbone="") if self._one else candidate)

    def step(self, step: str) -> str:
        """Return the display name of a step."""
        return self._names.steps[step].title

    def cell(self, cell: Cell) -> str:
        """Return the display name of a cell among those of all steps."""
        if cell.is_ensemble or not self._steps:
            return self.candidate(cell)
        return f"{self.candidate(cell)}, {self.step(cell.step)}"

    def difference(self, difference: Difference) -> str:
        """Return the display name of a difference of two candidates with the same backbone."""
        to = self._names.title(replace(difference.to.candidate, backbone=""))
        return f"{self.candidate(difference.of)} over {to}"


def tables(comparison: Comparison) -> Iterator[Table]:
    """Yield the tables, the most important one first."""
    titles, outside = Titles(comparison), comparison.external
    yield _accuracies(comparison, titles)
    if outside:
        yield _accuracies(outside, titles)
    yield from _differences(comparison, titles)
    if outside:
        yield from _differences(outside, titles)
    yield Table(
        "Costs",
        "Images count as often as they were drawn. “In all” includes the pretraining, but not the "
        "teachers of pseudo labels. Seconds are those of the training steps, on whatever hardware.",
        [
            "candidate",
            "images, last training",
            "images, in all",
            "seconds, in all",
            "caught up with",
        ],
        list(_cost_rows(comparison, titles)),
    )


def _on(comparison: Comparison) -> str:
    return f" on {comparison.title}" if comparison.title else ""


def _accuracies(comparison: Comparison, titles: Titles) -> Table:
    seeds = len(next(iter(comparison.cells.values())).seeds)
    over = f"mean ± standard error over {seeds} seeds" if seeds > 1 else "one seed"
    half = f"; on {unchosen(comparison.chosen)}" if comparison.chosen else ""
    outside = f"; on {len(comparison.labels):,} images that are for evaluation alone"
    return Table(
        f"Accuracy{_on(comparison)}",
        f"Top-1 / top-5 accuracy in percent, per class, averaged over the classes; {over}"
        f"{half}{outside if comparison.title else ''}.",
        ["candidate", *map(titles.step, comparison.steps)],
        list(_accuracy_rows(comparison, titles)),
    )


def _differences(comparison: Comparison, titles: Titles) -> Iterator[Table]:
    for heading, note, differences in (
        (
            f"Against {comparison.names.baseline}",
            "after the same finetuning of the same backbone",
            comparison.gains,
        ),
        (
            "What each variant adds",
            "to the candidate that it is a variant of, after the same step",
            comparison.variants,
        ),
        (
            "What each step adds",
            "to the same candidate: a larger resolution to what it continues, a second round to "
            "the first; the ensemble's, with what its views add, to the best of its members of "
            "all steps: the one with the highest mean here",
            comparison.tricks,
        ),
    ):
        if differences:
            yield Table(
                f"{heading}{_on(comparison)}",
                f"Points of top-1 accuracy, {note}. In brackets 95 % confidence intervals of the "
                "mean: for other seeds on the same images, for other validation images with the "
                "same seeds, and for both. A single seed, or a class with a single image, has no "
                f"spread to measure: {NONE}.",
                [
                    "candidate",
                    "to",
                    "points",
                    "other seeds",
                    "other images",
                    "both",
                    "top-1 better in",
                ],
                list(_difference_rows(differences, titles)),
            )


def markdown(comparison: Comparison) -> str:
    """Return what to take away from the run, and the tables, as Markdown for KFP's UI.

    There, people know tasks and their outputs; where these lie depends on the cluster.
    """
    lines = [f"- **{what}:** {text}" for what, text in _ending(comparison)]
    return "\n".join([*lines, "", *_markdown(comparison)])


def _ending(comparison: Comparison) -> Iterator[tuple[str, str]]:
    if best := comparison.best:
        titles = Titles(comparison)
        title = _escaped(titles.cell(best._replace(candidate=replace(best.candidate, seed=None))))
        yield "Best model", f"{title}: the output `model` of the task `{_task(best)}`"
        found, together = [best], ""
        if ensemble := comparison.better_ensemble:
            found.append(ensemble)
            task = _task(ensemble)
            together = f"; several average equally: the report of the task `{task}` has its shares"
        for measured in filter(None, (comparison, comparison.external)):
            intervals = [[each.top1.mean, *each.interval] for each in map(measured.of, found)]
            accuracy = accuracy_text(*intervals, halved=bool(measured.chosen))
            yield f"Accuracy{_escaped(_on(measured))}", accuracy
        yield "Use it", f"`python -m pipelines.predict MODEL --images FOLDER`{together}"
    yield "Report", "the output `report` of this task"
    if suspects := comparison.names.suspects:
        yield "Suspects", f"labels that look wrong: the output `suspects` of the task `{suspects}`"


def _task(cell: Cell) -> str:
    return cell.candidate.task(cell.step)


def accuracy_text(
    model: Sequence[float], ensemble: Sequence[float] = (), *, halved: bool = False
) -> str:
    """Return accuracies in a line, such as `65.2 % [62.1, 68.3] (95 % interval)`.

    Args:
        model: Balanced top-1 accuracy, and the ends of its interval if it is known.
        ensemble: The ensemble's, if it is better.
        halved: Whether they are of the half of the validation images that has chosen nothing.
    """
    found = [each for each in (model, ensemble) if each]
    shown = "; ensemble ".join(map(_with_interval, found))
    known = sum("[" in _with_interval(each) for each in found)
    level = f" (95 % interval{'s' * (known > 1)})" if known else ""
    half = ", on the half of the validation images that chose nothing" if halved else ""
    return f"{shown}{level}{half}"


def _with_interval(accuracy: Sequence[float]) -> str:
    value, *ends = (f"{100 * each:.1f}" for each in accuracy if not math.isnan(each))
    return f"{value} % [{', '.join(ends)}]" if ends else f"{value} %"


def _markdown(comparison: Comparison) -> Iterator[str]:
    for table in tables(comparison):
        rows = [table.columns, *table.rows]
        widths = [max(len(_escaped(row[i])) for row in rows) for i in range(len(table.columns))]
        lines = [
            f"| {' | '.join(map(str.ljust, row, widths))} |"
            for row in ([_escaped(cell) for cell in row] for row in rows)
        ]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        yield from (
            f"## {_escaped(table.heading)}",
            "",
            table.note,
            "",
            lines[0],
            rule,
            *lines[1:],
            "",
        )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _accuracy_rows(comparison: Comparison, titles: Titles) -> Iterator[list[str]]:
    for candidate in [*comparison.candidates, Name()]:
        cells = [Cell(step, candidate) for step in comparison.steps]
        there = [cell for cell in cells if cell in comparison.cells]
        if there:
            accuracies = [_accuracy(comparison, cell) for cell in cells]
            yield [titles.candidate(there[0]), *accuracies]


def _accuracy(comparison: Comparison, cell: Cell) -> str:
    if cell not in comparison.cells:
        return NONE
    classifiers = comparison.cells[cell]
    return " / ".join(map(estimate, (classifiers.top1, classifiers.top5)))


def estimate(value: Estimate, sign: str = "") -> str:
    """Return an estimate in percent: `65.0 ± 0.3`."""
    error = "" if math.isnan(value.error) else f" ± {100 * value.error:.1f}"
    return f"{100 * value.mean:{sign}.1f}{error}"


def interval(value: Interval) -> str:
    """Return an interval in percent: `[+0.3, +1.2]`."""
    if math.isnan(value.low):
        return NONE
    return f"[{100 * value.low:+.1f}, {100 * value.high:+.1f}]"


def _difference_rows(differences: Sequence[Difference], titles: Titles) -> Iterator[list[str]]:
    for each in differences:
        better, classes = (each.classes.mean(axis=0) > 0).sum(), each.classes.shape[1]
        yield [
            titles.cell(each.of),
            titles.cell(each.to),
            estimate(each.gain, "+"),
            interval(each.gain.seeds),
            interval(each.images),
            interval(each.both),
            f"{better:,} of {classes:,} classes",
        ]


def _cost_rows(comparison: Comparison, titles: Titles) -> Iterator[list[str]]:
    for cell, classifiers in comparison.cells.items():
        if not cell.is_ensemble:
            last = classifiers.histories[0].lineage[-1].images
            yield [
                titles.cell(cell),
                f"{last:,}",
                f"{classifiers.images:,}",
                f"{classifiers.seconds:,.0f}",
                _caught_up(comparison, cell),
            ]


def _caught_up(comparison: Comparison, cell: Cell) -> str:
    """Say after how many images a pretrained candidate caught up with scratch's final accuracy."""
    gain = next((each for each in comparison.gains if each.of == cell), None)
    if gain is None or not cell.candidate.is_pretrained:
        return NONE
    goal = comparison.cells[gain.to].top1
    for images, top1 in curve(comparison, cell):
        if top1 >= goal.mean:
            return f"{comparison.names.baseline} at its end after {images:,} images"
    return f"never as good as {comparison.names.baseline} at its end"


def curve(comparison: Comparison, cell: Cell) -> list[tuple[int, float]]:
    """Return images seen in the last training, and top-1 accuracy, means over the seeds."""
    images = [int(point["images"]) for point in comparison.cells[cell].histories[0].curve]
    return list(zip(images, curves(comparison, cell).mean(axis=0).tolist(), strict=True))


def curves(comparison: Comparison, cell: Cell) -> NDArray[np.float64]:
    """Return top-1 accuracy (S, E) of each seed after each epoch, on the images compared."""
    top1 = REPORTED if comparison.chosen else "top1"
    histories = comparison.cells[cell].histories
    return np.array([[point[top1] for point in history.curve] for history in histories])
