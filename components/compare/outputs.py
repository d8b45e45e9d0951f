"""The comparison as files: results as JSON, tables as Markdown, a few scalars for KFP's UI."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.compare.results import Cell, Comparison, Difference
from components.compare.statistics import Estimate
from components.compare.tables import Titles, markdown
from components.shared.reports import metrics
from components.shared.storage import filesystem, formats

FORMAT = 1  # of the JSON


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Write all results: `accuracy`, `gains` and `tricks`, each a list of records."""
    content = {
        "format": FORMAT,
        "accuracy": [
            {
                **_cell(cell),
                "seeds": classifiers.seeds,
                "top1": _estimate(classifiers.top1),
                "top5": _estimate(classifiers.top5),
                "images": classifiers.images,
                "seconds": classifiers.seconds,
            }
            for cell, classifiers in comparison.cells.items()
        ],
        "gains": list(map(_difference, comparison.gains)),
        "tricks": list(map(_difference, comparison.tricks)),
    }
    with filesystem.complete(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False))


def read_comparison(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return all results, as written by `write_comparison`.

    Raises:
        UserError: They have another format.
    """
    with formats.reading(path.read_bytes(), FORMAT, path) as content:
        return {name: content[name] for name in ("accuracy", "gains", "tricks")}


def write_summary(path: Path, comparison: Comparison) -> None:
    """Write the tables as Markdown."""
    with filesystem.complete(path) as temporary:
        temporary.write_text(markdown(comparison))


def write_metrics(path: Path, comparison: Comparison) -> None:
    """Write the metrics that are comparable across runs."""
    metrics.write(path, dict(_scalars(comparison)))


def _scalars(comparison: Comparison) -> Iterator[tuple[str, float]]:
    titles = Titles(comparison)
    last = comparison.trainings[-1]
    for cell, classifiers in comparison.cells.items():
        if cell.step == last or cell.is_ensemble:
            yield f"top1, {titles.candidate(cell)}", classifiers.top1.mean
    for each in comparison.gains:
        if each.of.step == last:
            yield f"gain, {titles.difference(each)}", each.gain.mean


def _cell(cell: Cell) -> dict[str, str]:
    return {"step": cell.step, "candidate": str(cell.candidate)}


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "of": _cell(difference.of),
        "to": _cell(difference.to),
        **_estimate(difference.gain),
        "images": list(difference.images),
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate, without the interval if there is a single seed."""
    if math.isnan(estimate.error):
        return {"mean": estimate.mean}
    return {"mean": estimate.mean, "error": estimate.error, "seeds": list(estimate.seeds)}
