"""What weights know of the truth, by their parameters: `python -m tests.benchmarks.weights`.

Nothing is trained. Where texts are made here, what the image shows is known, and so, in this order
and in percent:

    falling back      share of the images whose text says nothing of their label's candidates
    on the truth      share of all weight that is on what its image shows
    strongest right   share of the images with a concept, clutter aside, whose strongest is right
    right : wrong     what an image with the right label weighs, to one with a wrong label
"""

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.weighting.candidates import Candidates
from components.weighting.documents import Documents
from components.weighting.names import Names
from components.weighting.neighbors import nearest
from components.weighting.tf_idf import TfIdfSimilarity
from components.weighting.weights import Weigher, Weights
from tests.benchmarks import weights_data
from tests.benchmarks.rounds import print_table
from tests.benchmarks.weights_data import CLUTTER, Known

TODAY: Mapping[str, Any] = {
    "neighbors": 5,
    "top_k": 5,
    "fallback_weight": 0.5,
    "label_weight": 0,
    "sharpness": 1,
    "naming": False,
}
ALONE: Mapping[str, Iterable[Any]] = {
    "fallback_weight": (0.25, 0.1, 0),
    "label_weight": (0.05, 0.1, 0.2),
    "sharpness": (2, 3, 5),
    "naming": (True,),
    "neighbors": (3, 9),
}
TOGETHER: Iterable[Mapping[str, Any]] = (
    {"fallback_weight": 0.1, "sharpness": 3},
    {"fallback_weight": 0.1, "label_weight": 0.1, "sharpness": 3},
    {"fallback_weight": 0.1, "label_weight": 0.1, "sharpness": 3, "naming": True},
    {"fallback_weight": 0, "label_weight": 0.1, "sharpness": 3, "naming": True},
    {"fallback_weight": 0, "label_weight": 0.1, "sharpness": 5, "naming": True},
    {"neighbors": 9, "fallback_weight": 0, "label_weight": 0.1, "sharpness": 3, "naming": True},
)


def options() -> list[Mapping[str, Any]]:
    """Return what is changed of today's values, in the order of the table."""
    alone = [{name: value} for name, values in ALONE.items() for value in values]
    return [{}, *alone, *TOGETHER]


class Weighing:
    """Weights the images of a set, and makes what several options share once."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self._names = Names.of(known.concepts)
        self._similarities: dict[tuple[int, bool], TfIdfSimilarity] = {}

    def __call__(self, options: Mapping[str, Any]) -> Weights:
        """Return the weights of all images."""
        values = {**TODAY, **options}
        similarity = self._similarity(values.pop("neighbors"), values.pop("naming"))
        weigh = Weigher(similarity=similarity, **values)
        return weigh(self.known.texts, self.known.labels)

    def _similarity(self, neighbors: int, naming: bool) -> TfIdfSimilarity:
        key = neighbors, naming
        if key not in self._similarities:
            concepts = self.known.concepts
            documents = Documents.of(concepts, self._names if naming else None)
            near = nearest(concepts, documents.vectors, neighbors)
            self._similarities[key] = TfIdfSimilarity.of(documents, Candidates.of(concepts, near))
        return self._similarities[key]


def measured(known: Known, found: Weights) -> tuple[float, ...]:
    """Return the figures of a row."""
    images = np.repeat(np.arange(len(known.labels)), found.counts)
    sums = np.bincount(images, found.weights, len(known.labels))
    on_truth = found.weights[found.classes == known.truth[images]].sum(dtype=np.float64)
    has = found.counts > 0
    strongest = np.full(len(has), CLUTTER - 1)
    strongest[has] = found.classes[(np.cumsum(found.counts) - found.counts)[has]]
    shown = has & (known.truth != CLUTTER)
    right = known.labels == known.truth
    return (
        found.fallbacks / len(has),
        on_truth / sums.sum(),
        _share(strongest == known.truth, shown),
        sums[right].mean() / sums[~right].mean(),
    )


def _share(true: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(true[among].mean())


def main() -> None:
    """Measure, and print a table."""
    argparse.ArgumentParser(description=__doc__, allow_abbrev=False).parse_args()
    rows, header = [[named(changed)] for changed in options()], ["parameters"]
    for make in (weights_data.drawn, weights_data.fine, weights_data.kinds, weights_data.siblings):
        known = make()
        weigh, right = Weighing(known), known.labels == known.truth
        said = weigh({"fallback_weight": 0})
        print(
            f"{make.__name__}: {len(right):,} images of {known.labels.max() + 1} classes;",
            f"of {right.mean():.1%} the given label is right,",
            f"clutter aside of {_share(right, known.truth != CLUTTER):.1%};",
            "where a text says something, an image weighs",
            f"{said.weights.sum() / np.count_nonzero(said.counts):.2f}",
        )
        header.append(make.__name__)
        for row, changed in zip(rows, options(), strict=True):
            *shares, ratio = measured(known, weigh(changed))
            row.append(" · ".join([*(f"{100 * share:.1f}" for share in shares), f"{ratio:.2f}"]))
    print()
    print_table(header, rows)


def named(changed: Mapping[str, Any]) -> str:
    """Return the parameters of a row."""
    return ", ".join(f"{key}={value}" for key, value in changed.items()).lower() or "as is"


if __name__ == "__main__":
    main()
