"""The plots of a run's report."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from components.shared.reports.plots import ACCENT, cut, panels

_NAMED = 12  # of the keywords, at most: as many as fit side by side
_LETTERS = 20


def plot_keywords(names: Sequence[str], images: NDArray[np.int64], width: float) -> Figure:
    """Plot how many images have each keyword, by rank (slide 4 of the talk)."""
    order = np.argsort(-images, kind="stable")
    ranks = np.unique(np.geomspace(1, len(order), 1_000).astype(np.int64))
    figure, (axes,) = panels(1, width, 3.6)
    axes.loglog(ranks, images[order[ranks - 1]], color=ACCENT, linewidth=2)
    named = min(_NAMED, round(1.5 * width))
    for rank in np.unique(np.geomspace(1, len(order), named).astype(np.int64)).tolist():
        word = order[rank - 1]
        axes.plot(rank, images[word], "o", color=ACCENT, markersize=4)
        axes.annotate(
            cut(names[word], _LETTERS),
            (rank, images[word]),
            xytext=(3, 5),
            textcoords="offset points",
            fontsize=9,
            rotation=25,
            parse_math=False,
        )
    axes.set(xlabel="rank of the keyword", ylabel="images")
    axes.margins(x=0.06, y=0.16)
    return figure
