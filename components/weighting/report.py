"""The HTML report of the stage `weighting`."""

from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from components.shared.data.targets import Targets
from components.shared.data.texts import Texts
from components.shared.reports import plots
from components.shared.reports.html import Card, Page
from components.weighting.tally import Tally

_EXAMPLES = 6
_CONCEPTS = 15
_TEXT_LENGTH = 240


def draw(
    path: Path,
    texts: Texts,
    labels: Targets,
    weights: Targets,
    neighbors: list[NDArray[np.int64]],
    tally: Tally,
) -> None:
    """Write the report to `path`."""
    metrics = tally.metrics()
    page = Page(
        "Weighting",
        "The concepts near each image's label, weighted by how well the image's text fits them.",
    )
    page.stats(
        [
            (f"{metrics['images']:,}", "images"),
            (f"{metrics['pairs_per_image']:.2f}", "concepts an image"),
            (f"{metrics['mean_weight']:.2f}", "mean weight"),
            (f"{metrics['label_is_strongest']:.1%}", "have their label as the top concept"),
            (f"{metrics['fallback_share']:.1%}", "have a text that fits no candidate"),
        ]
    )
    page.heading("Examples")
    page.paragraph("Images whose text points to another concept than their label come first.")
    _examples(page, texts, labels, weights)
    page.heading("Weights")
    page.figure(
        partial(_histograms, tally),
        "How strongly the texts support the top concept, and how many concepts they support.",
    )
    page.heading("Nearest concepts")
    _neighbors(page, labels.titles, neighbors)
    page.write(path)


def _examples(page: Page, texts: Texts, labels: Targets, weights: Targets) -> None:
    """Add some of the first images: half of them whose label is not ranked first."""
    batch = next(texts.batches(["title", "description", "tags"]))
    numbers = np.arange(len(batch["title"]))
    several = np.diff(weights.offsets[: len(numbers) + 1]) > 1
    agrees = weights.padded(numbers)[0][:, 0] == labels.classes[: len(numbers)]
    shown = [*_spread(~agrees & several), *_spread(agrees & several)]
    cards = []
    for image in shown:
        text = " · ".join(filter(None, (field[image] for field in batch.values())))
        bars = [
            (f"{weights.titles[number]} {weight:.2f}", min(1.0, float(weight)))
            for number, weight in zip(*weights[image], strict=True)
        ]
        label = labels.titles[labels.classes[image]]
        cards.append(Card(None, f"label: {label}", [_shortened(text), *bars]))
    page.cards(cards)


def _histograms(tally: Tally, width: float) -> Figure:
    figure, (top, number) = plots.panels(2, width, 3)
    top.stairs(
        tally.strongest / tally.images, np.linspace(0, 1, len(tally.strongest) + 1), fill=True
    )
    top.set(xlabel="weight of the top concept", ylabel="share of images", xlim=(0, 1))
    number.bar(np.arange(len(tally.concepts)), tally.concepts / tally.images)
    number.set(xlabel="concepts of an image", ylabel="share of images")
    return figure


def _neighbors(page: Page, titles: list[str], neighbors: list[NDArray[np.int64]]) -> None:
    columns = max(map(len, neighbors), default=0)
    shown = _spread(np.array([len(near) > 0 for near in neighbors]), _CONCEPTS)
    rows = []
    for concept in shown:
        names = [titles[near] for near in neighbors[concept]]
        rows.append([titles[concept], *names, *[""] * (columns - len(names))])
    if not rows:
        page.paragraph("No concept has a neighbour: every one that a text fits is a candidate.")
        return
    page.table(["Concept", *map(str, range(1, columns + 1))], rows)


def _spread(chosen: NDArray[np.bool_], count: int = _EXAMPLES) -> list[int]:
    """Return up to `count` of the chosen positions, evenly spread."""
    positions = np.flatnonzero(chosen)
    spread = np.linspace(0, len(positions) - 1, min(count, len(positions))).astype(int)
    return [int(position) for position in positions[spread]]


def _shortened(text: str) -> str:
    return text if len(text) <= _TEXT_LENGTH else text[:_TEXT_LENGTH].rstrip() + " …"
