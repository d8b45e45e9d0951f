"""The comparison as files: results as JSON, tables as Markdown, a few scalars for KFP's UI."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.compare.results import Cell, Comparison, Difference
from components.compare.tables import markdown
from components.shared.data.statistics import Estimate, Interval
from components.shared.reports import metrics
from components.shared.storage import filesystem, formats

FORMAT = 1  # of the JSON


@dataclass(frozen=True, slots=True)
class _Results:
    """What `write_comparison` writes, as it is read."""

    accuracy: list[dict[str, Any]]
    gains: list[dict[str, Any]]
    tricks: list[dict[str, Any]]
    variants: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, dict[str, str]] = field(default_factory=dict)
    external: dict[str, Any] = field(default_factory=dict)
    chosen: list[str] = field(default_factory=list)


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Write all results: `accuracy`, `gains`, `variants`, `tricks`, lists of records; and `best`.

    That names the best `model` by step and candidate and, if it is better, the `ensemble`. What the
    half of the validation images that is left out has `chosen` is listed, too. Results on an
    external validation set are in `external`, with its `title`.
    """
    best = {"model": comparison.best, "ensemble": comparison.better_ensemble}
    content = {
        "format": FORMAT,
        **_results(comparison),
        "best": {what: _cell(cell) for what, cell in best.items() if cell},
        "chosen": comparison.chosen,
    }
    if outside := comparison.external:
        content["external"] = {"title": outside.title, **_results(outside)}
    with filesystem.complete(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False))


def read_comparison(path: Path) -> dict[str, Any]:
    """Return all results, as written by `write_comparison`.

    Earlier versions lack `variants`, `best`, `chosen` and `external`.

    Raises:
        UserError: They have another format.
    """
    with formats.reading_file(path, FORMAT) as content:
        return asdict(formats.fill(_Results, content))


def write_summary(path: Path, comparison: Comparison) -> None:
    """Write the tables as Markdown."""
    with filesystem.complete(path) as temporary:
        temporary.write_text(markdown(comparison))


def write_metrics(path: Path, comparison: Comparison) -> None:
    """Write what is worth comparing across runs, under the same names in all of them.

    KFP's UI shows a row for each of them, with all of its digits.
    """
    metrics.write(path, dict(_scalars(comparison)))


def _scalars(comparison: Comparison) -> Iterator[tuple[str, float]]:
    """Yield those of the first candidate of each pretraining, after the last training."""
    last, first = comparison.trainings[-1], dict[str, Cell]()
    backbone = comparison.candidates[0].backbone
    for cell, classifiers in comparison.cells.items():
        if cell.is_ensemble:
            yield "top-1 %, ensemble", _percent(classifiers.top1.mean)
        elif cell.step == last and cell.candidate.backbone == backbone:
            first.setdefault(cell.candidate.pretraining, cell)
    gains = {each.of: each.gain for each in reversed(comparison.gains)}
    for pretraining, cell in first.items():
        title = comparison.names.pretrainings[pretraining].title
        yield f"top-1 %, {title}", _percent(comparison.cells[cell].top1.mean)
        if cell in gains and cell.candidate.is_pretrained:
            yield f"points over {comparison.names.baseline}, {title}", _percent(gains[cell].mean)


def _percent(share: float) -> float:
    """Return a share as the tables have it."""
    return round(100 * share, 1) + 0.0  # no −0


def _results(comparison: Comparison) -> dict[str, Any]:
    return {
        "accuracy": [
            {
                **_cell(cell),
                "seeds": classifiers.seeds,
                "top1": {
                    **_estimate(classifiers.top1),
                    **_intervals(interval=classifiers.interval),
                },
                "top5": _estimate(classifiers.top5),
                "images": classifiers.images,
                "seconds": classifiers.seconds,
            }
            for cell, classifiers in comparison.cells.items()
        ],
        "gains": list(map(_difference, comparison.gains)),
        "variants": list(map(_difference, comparison.variants)),
        "tricks": list(map(_difference, comparison.tricks)),
    }


def _cell(cell: Cell) -> dict[str, str]:
    return {"step": cell.step, "candidate": str(cell.candidate)}


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "of": _cell(difference.of),
        "to": _cell(difference.to),
        **_estimate(difference.gain),
        **_intervals(images=difference.images, both=difference.both),
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate, without error and interval if there is a single seed."""
    error = {} if math.isnan(estimate.error) else {"error": estimate.error}
    return {"mean": estimate.mean, **error, **_intervals(seeds=estimate.seeds)}


def _intervals(**intervals: Interval) -> dict[str, list[float]]:
    """Return those of the intervals that are known."""
    return {name: list(each) for name, each in intervals.items() if not math.isnan(each.low)}
