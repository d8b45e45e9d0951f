"""Predictions of made-up classifiers, which have the label of a given share of the images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.compare.stage import compare
from components.shared.data import halves, predictions
from components.shared.data.evaluation import LABELS
from components.shared.data.identity import Identity
from components.shared.data.image_set import ImageSet
from components.shared.data.predictions import History, Predicted, Predictions, Training
from components.shared.data.targets import Targets
from pipelines.tasks import Task, described
from tests.candidates import named
from tests.synthetic import targets

CLASSES = ["red fox", "kit fox", "grey fox", "<script>alert(1)</script>", "fennec", "corsac"]


class Images:
    """Validation images of which only the ids matter."""

    def __init__(
        self,
        folder: Path,
        labels: NDArray[np.int64],
        classes: Sequence[str] = CLASSES,
        *,
        at: str = LABELS,
    ) -> None:
        self._ids = [f"val{number:06}.jpg" for number in range(len(labels))]
        self.identity = Identity.of(self._ids)
        self.labels = targets(
            folder / at, self.identity, [[(int(label), 1.0)] for label in labels], classes
        )

    def ids(self) -> list[str]:
        return self._ids


def write(
    path: Path,
    images: Images | ImageSet,
    labels: Targets,
    right: NDArray[np.bool_],
    *,
    pretrained: bool = False,
    points: int = 4,
    chosen: Sequence[str] = (),
    external: tuple["Images", NDArray[np.bool_]] | None = None,
) -> Path:
    """Write predictions that are right of some images (N,), and of none in the second place.

    With `external`, also those for other images, and of which of these they are right.
    """
    found = _found(labels, right)
    reports = ~halves.choosing(images.ids())
    top1, reported = right.mean(), right[reports].mean() if reports.any() else 0
    curve = [
        {
            "images": 100 * k,
            "top1": float(top1 * k / points),
            "top5": float(top1),
            halves.REPORTED: float(reported * k / points),
        }
        for k in range(1, points + 1)
    ]
    before = [Training("wt_pretrain 28 px", 1000, 10.0)] if pretrained else []
    lineage = [*before, Training("finetune on given labels 28 px", 100 * points, 4.0)]
    # Of the images, only ids and identity are written.
    history = History(lineage, curve, tuple(chosen))
    outside = None
    if external:
        others, right = external
        outside = Predicted(others, others.labels, _found(others.labels, right))  # type: ignore[arg-type]
    predictions.write(path, images, labels, found, history, outside)  # type: ignore[arg-type]
    return path


def _found(labels: Targets, right: NDArray[np.bool_]) -> Predictions:
    truth = np.asarray(labels.classes)
    first = np.where(right, truth, (truth + 1) % len(labels.names))
    classes = np.stack([first, *((truth + k) % len(labels.names) for k in (2, 3, 4, 5))], axis=1)
    return Predictions(
        classes.astype(np.int32),
        np.tile(np.array([0.6, 0.1, 0.1, 0.1, 0.1], np.float32), (len(truth), 1)),
    )


def run(
    folder: Path,
    images: Images,
    right: Mapping[tuple[str, str], NDArray[np.bool_]],
    *,
    chosen: Mapping[str, Sequence[str]] = {},
    external: Mapping[str, tuple[Images, NDArray[np.bool_]]] | None = None,
    **values: Any,
) -> None:
    """Compare classifiers by which images they are right of, by step and candidate.

    What one half of the images has chosen of them is given by step; `external` has images of
    another data set by candidate, and which of these it is right of.
    """
    paths = [
        write(
            folder / f"{step}-{candidate}.parquet",
            images,
            images.labels,
            each,
            pretrained="-wt" in candidate or "-lw" in candidate,
            chosen=chosen.get(step, ()),
            external=(external or {}).get(candidate),
        )
        for (step, candidate), each in right.items()
    ]
    tasks = [Task(step, named(candidate), {}, {}) for step, candidate in right]
    outputs = ("comparison.json", "summary.md", "report.html", "metrics.json")
    compare(
        paths,
        folder,
        *(folder / name for name in outputs),
        **{"names": described(tasks), **values},
    )
