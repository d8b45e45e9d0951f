"""The plots of a run's report: the rounds, the training curves, the keywords."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from components.shared.titles import candidate_title, step_title
from pipelines.record import TaskRecord

_COLORS = {"wt": "#0b7285", "lw": "#e8890c", "none": "#868e96"}
_STYLES = ("-", "--", ":", "-.")  # one per backbone
_MARKERS = ("o", "s", "^", "D")
_ROUNDS = {"first round": "finetune", "second round, on pseudo labels": "finetune_again"}


def _look(candidates: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the colour (by pretraining), line and marker (by backbone) of each candidate."""
    backbones = list(dict.fromkeys(name.rpartition("-")[0] for name in candidates))
    looks = {}
    for name in candidates:
        backbone, _, pretraining = name.rpartition("-")
        number = backbones.index(backbone) % len(_STYLES)
        looks[name] = {
            "color": _COLORS[pretraining],
            "linestyle": _STYLES[number],
            "marker": _MARKERS[number],
            "label": candidate_title(name),
        }
    return looks


def plot_rounds(
    top1: Mapping[str, Mapping[str, float]], steps: Sequence[str], ensemble: float | None
) -> Figure:
    """Plot each candidate's accuracy after each step, and the ensemble's.

    Args:
        top1: Balanced top-1 accuracy by candidate and step.
        steps: In the order of the method.
        ensemble: The ensemble's accuracy, if there is one.
    """
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, look in _look(list(top1)).items():
        accuracy = [100 * top1[name].get(step, np.nan) for step in steps]
        axes.plot(range(len(steps)), accuracy, linewidth=1.8, markersize=6, **look)
    if ensemble is not None:
        axes.axhline(100 * ensemble, color="#862e9c", linewidth=1.4, label="ensemble")
    axes.set(ylabel="balanced top-1, %", xlim=(-0.25, len(steps) - 0.75))
    axes.set_xticks(range(len(steps)), [step_title(step) for step in steps])
    _finish(figure)
    return figure


def plot_curves(tasks: Sequence[TaskRecord]) -> Figure:
    """Plot validation accuracy against the images seen; a large round goes on where its base ended.

    Args:
        tasks: The finetuning tasks that are done.
    """
    curves = {(task.step, task.candidate): _read_curve(task) for task in tasks}
    looks = _look(list(dict.fromkeys(task.candidate for task in tasks)))
    rounds = {
        title: step for title, step in _ROUNDS.items() if any(key[0] == step for key in curves)
    }
    figure = Figure(figsize=(4.4 * len(rounds) + 2.2, 3.8), layout="constrained")
    panels = figure.subplots(1, len(rounds), sharey=True, squeeze=False)[0]
    for axes, (title, step) in zip(panels, rounds.items(), strict=True):
        for name, look in looks.items():
            base, large = curves.get((step, name)), curves.get((f"{step}_large", name))
            if base is None:
                continue
            axes.plot(*base.T, linewidth=1.8, markersize=4, **look)
            if large is not None:
                joined = np.concatenate([base[-1:], large + (base[-1, 0], 0)])
                axes.plot(*joined.T, linewidth=1, markersize=7, **look | {"label": None})
        axes.set_title(title, fontsize=10)
        axes.set(xlabel="images seen in finetuning, thousands")
        axes.grid(axis="y", color="#e9edf1")
    panels[0].set(ylabel="balanced top-1, %")
    _finish(figure)
    return figure


def _read_curve(task: TaskRecord) -> NDArray[np.float64]:
    """Return thousands of images and top-1 in percent, (epochs, 2).

    The file is read as what it is: `components.shared.models` would import torch, nine seconds.
    """
    record = json.loads((Path(task.outputs["model"]) / "training.json").read_text())
    points = [(epoch["images"] / 1000, 100 * epoch["top1"]) for epoch in record["curve"]]
    return np.array(points)


def plot_keywords(names: Sequence[str], images: NDArray[np.int64]) -> Figure:
    """Plot how many images have each keyword, by rank (slide 4 of the talk)."""
    order = np.argsort(-images, kind="stable")
    ranks = np.unique(np.geomspace(1, len(order), 1_000).astype(np.int64))
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.loglog(ranks, images[order[ranks - 1]], color=_COLORS["wt"], linewidth=2)
    for rank in np.unique(np.geomspace(1, len(order), 12).astype(np.int64)).tolist():
        word = order[rank - 1]
        axes.plot(rank, images[word], "o", color=_COLORS["wt"], markersize=4)
        axes.annotate(
            names[word],
            (rank, images[word]),
            xytext=(3, 5),
            textcoords="offset points",
            fontsize=9,
            rotation=25,
            parse_math=False,
        )
    axes.set(xlabel="rank of the keyword", ylabel="images")
    axes.margins(x=0.06, y=0.16)
    _finish(figure, legend=False)
    return figure


def _finish(figure: Figure, *, legend: bool = True) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    if legend:
        entries: dict[str, Line2D] = {}
        for axes in figure.axes:
            for line, label in zip(*axes.get_legend_handles_labels(), strict=True):
                entries.setdefault(str(label), line)  # type: ignore[arg-type]
        figure.legend(
            list(entries.values()), list(entries), loc="outside right center", frameon=False
        )
