"""The plots of a comparison."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.compare.results import Cell, Classifiers, Comparison, Difference
from components.compare.tables import Titles, curve, curves
from components.shared.data.statistics import standard_error
from components.shared.reports.plots import GRID, LETTER, NARROW, add_legend, name_classes, panels
from components.shared.reports.titles import Name

_STYLES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D")
_WIDE = 100  # ratio of the highest level to the lowest from which the scale is logarithmic
_MARKED = 20  # maximum number of marked points on a curve
_LETTERS_OF_A_ROW = 40  # at most


def plot_gains(
    comparison: Comparison, differences: Sequence[Difference], titles: Titles, width: float
) -> Figure:
    """Plot differences with both intervals, one below the other."""
    letters = _LETTERS_OF_A_ROW if width > NARROW else int(width / LETTER)
    names = [textwrap.fill(titles.difference(each), letters) for each in differences]
    row_height = 0.16 + 0.2 * max(name.count("\n") + 1 for name in names)
    figure, (axes,) = panels(1, width, 1)
    if width > NARROW:
        axes.set_yticks(range(len(names)), names)
    else:  # names beside the axis would leave it no room
        row_height += 0.14
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        place: Any = {"va": "bottom", "transform": axes.get_yaxis_transform()}
        for row, name in enumerate(names):
            axes.text(0, row - 0.1 / row_height, name, bbox=box, **place)
    figure.set_figheight(0.9 + row_height * len(names))
    for row, each in enumerate(differences):
        color = _color(comparison, each.of)
        images, seeds = ([100 * value for value in ends] for ends in (each.images, each.gain.seeds))
        axes.plot(images, [row, row], color=color, alpha=0.35, linewidth=7, solid_capstyle="butt")
        axes.plot(seeds, [row, row], color=color, linewidth=2)
        axes.plot(100 * each.gain.mean, row, "o", color=color, markersize=6)
    axes.axvline(0, color="#495057", linewidth=1, zorder=1)
    axes.set(xlabel="points of balanced top-1 accuracy", ylim=(len(names) - 0.5, -0.9))
    axes.grid(axis="x", color=GRID)
    return figure


def plot_curves(comparison: Comparison, titles: Titles, width: float) -> Figure:
    """Plot top-1 accuracy against the images seen, in finetuning and in all.

    Bands are one standard error of the mean to each side. A round at a higher resolution continues
    where its base ended, with large marks.
    """
    bases = {step: comparison.names.steps[step].continues for step in comparison.trainings}
    rounds = [step for step, base in bases.items() if not base]
    larger = {base: step for step, base in bases.items()}
    shown = [(step, False) for step in rounds]
    if any(candidate.is_pretrained for candidate in comparison.candidates):
        shown.insert(1, (rounds[0], True))
    figure, all_axes = panels(len(shown), width, 3.6, sharey=True)
    looks = _looks(comparison, titles)
    for axes, (step, in_all) in zip(all_axes, shown, strict=True):
        for candidate, look in looks.items():
            end = 0
            for name, marks in ((step, 3), (larger.get(step, ""), 7)):
                cell = Cell(name, candidate)
                if cell in comparison.cells:
                    before = _before(comparison.cells[cell]) if in_all else end
                    end = before + _plot_curve(axes, comparison, cell, before, look, marks)
        title = titles.step(step) if len(rounds) > 1 else "finetuning"
        axes.set_title(title, fontsize=10)
        what = "pretraining included" if in_all else "in finetuning"
        axes.set(xlabel=f"images seen, thousands, {what}")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y", color=GRID)
    figure.supylabel("balanced top-1, %", fontsize="medium")
    add_legend(figure)
    return figure


def plot_sweeps(comparison: Comparison, width: float) -> Figure:
    """Plot accuracy against the levels of each swept parameter, a panel for each."""
    sweeps = comparison.sweeps
    figure, all_axes = panels(len(sweeps), width, 3.6, sharey=True)
    for axes, (what, levels) in zip(all_axes, sweeps.items(), strict=True):
        for pretraining, (title, color, _) in comparison.names.pretrainings.items():
            points = [
                (level, comparison.cells[cells[pretraining]].top1)
                for level, cells in sorted(levels.items())
                if pretraining in cells
            ]
            if points:
                axes.errorbar(
                    [level for level, _ in points],
                    [100 * top1.mean for _, top1 in points],
                    yerr=[100 * np.nan_to_num(top1.error) for _, top1 in points],
                    color=color,
                    label=title,
                    marker="o",
                    markersize=5,
                    capsize=3,
                )
        axes.set(xlabel=what)
        if max(levels) >= _WIDE * max(1, min(levels)):
            axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks(sorted(levels), [str(level) for level in sorted(levels)])
        axes.minorticks_off()
        axes.grid(axis="y", color=GRID)
    figure.supylabel("balanced top-1, %", fontsize="medium")
    add_legend(figure)
    return figure


def plot_steps(comparison: Comparison, titles: Titles, width: float) -> Figure:
    """Plot each candidate's accuracy after each step, and the ensemble's."""
    steps = comparison.trainings
    figure, (axes,) = panels(1, width, 3.6)
    for candidate, look in _looks(comparison, titles).items():
        points = [
            (number, comparison.cells[Cell(step, candidate)].top1)
            for number, step in enumerate(steps)
            if Cell(step, candidate) in comparison.cells
        ]
        x = [number for number, _ in points]
        y = [100 * top1.mean for _, top1 in points]
        errors = [100 * np.nan_to_num(top1.error) for _, top1 in points]
        axes.errorbar(x, y, yerr=errors, capsize=3, markersize=6, linewidth=1.8, **look)
    for cell, classifiers in comparison.cells.items():
        if cell.is_ensemble:
            look = {"color": _color(comparison, cell), "label": titles.candidate(cell)}
            axes.axhline(100 * classifiers.top1.mean, linewidth=1.4, **look)
    axes.set(ylabel="balanced top-1, %", xlim=(-0.25, len(steps) - 0.75))
    names = [titles.step(step) for step in steps]
    if width <= NARROW:  # a name in a line of its own does not touch its neighbours
        names = ["\n" * (number % 2) + name for number, name in enumerate(names)]
    axes.set_xticks(range(len(steps)), names)
    axes.grid(axis="y", color=GRID)
    add_legend(figure)
    return figure


def plot_classes(
    comparison: Comparison, difference: Difference, names: Sequence[str], width: float
) -> Figure:
    """Plot the gain in each class, from the largest to the smallest.

    Args:
        comparison: The comparison that it belongs to.
        difference: The difference of two cells.
        names: Titles of the classes that it covers.
        width: Of the window, in inches.
    """
    gains = 100 * difference.classes.mean(axis=0)
    order = np.argsort(-gains, kind="stable")
    figure, (axes,) = panels(1, width, 3.4)
    color = _color(comparison, difference.of)
    colors = np.where(gains[order] >= 0, color, "#adb5bd")
    if name_classes(axes, [names[i] for i in order], width):
        axes.bar(range(len(order)), gains[order], color=colors)
    else:
        axes.fill_between(range(len(order)), gains[order], color=color, alpha=0.5)
        axes.set(xlabel="classes, by gain")
    axes.axhline(0, color="#495057", linewidth=1)
    axes.set(ylabel="points of top-1")
    return figure


def _plot_curve(
    axes: Axes,
    comparison: Comparison,
    cell: Cell,
    before: int,
    look: dict[str, Any],
    marks: int,
) -> int:
    """Plot a cell's curve, starting after some images; return how many more it spans."""
    points = np.array(curve(comparison, cell))
    images, top1 = (before + points[:, 0]) / 1000, 100 * points[:, 1]
    histories = comparison.cells[cell].histories
    large = bool(comparison.names.steps[cell.step].continues)
    shown = look | {"label": None} if large else look
    shown |= {"markersize": marks, "markevery": -(-len(points) // _MARKED)}
    axes.plot(images, top1, linewidth=1 if large else 1.8, **shown)
    if len(histories) > 1:
        error = 100 * standard_error(curves(comparison, cell))
        axes.fill_between(images, top1 - error, top1 + error, color=look["color"], alpha=0.18)
    return int(points[-1, 0])


def _before(classifiers: Classifiers) -> int:
    """Return the images of all trainings but the last."""
    return classifiers.images - classifiers.histories[0].lineage[-1].images


def _looks(comparison: Comparison, titles: Titles) -> dict[Name, dict[str, Any]]:
    """Return each candidate's colour (by pretraining), line and marker (by other differences)."""
    looks: dict[Name, dict[str, Any]] = {}
    same: dict[str, int] = {}
    for cell in comparison.cells:
        if cell.is_ensemble or cell.candidate in looks:
            continue
        number = same.get(cell.candidate.pretraining, 0)
        same[cell.candidate.pretraining] = number + 1
        looks[cell.candidate] = {
            "color": _color(comparison, cell),
            "linestyle": _STYLES[number % len(_STYLES)],
            "marker": _MARKERS[number % len(_MARKERS)],
            "label": titles.candidate(cell),
        }
    return looks


def _color(comparison: Comparison, cell: Cell) -> str:
    if cell.is_ensemble:
        return comparison.names.steps[cell.step].color
    return comparison.names.pretrainings[cell.candidate.pretraining].color
