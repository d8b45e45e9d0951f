"""The plots of a run's report."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

_COLOR = "#0b7285"


def plot_keywords(names: Sequence[str], images: NDArray[np.int64]) -> Figure:
    """Plot how many images have each keyword, by rank (slide 4 of the talk)."""
    order = np.argsort(-images, kind="stable")
    ranks = np.unique(np.geomspace(1, len(order), 1_000).astype(np.int64))
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.loglog(ranks, images[order[ranks - 1]], color=_COLOR, linewidth=2)
    for rank in np.unique(np.geomspace(1, len(order), 12).astype(np.int64)).tolist():
        word = order[rank - 1]
        axes.plot(rank, images[word], "o", color=_COLOR, markersize=4)
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
    axes.spines[["top", "right"]].set_visible(False)
    return figure
