"""The confusion matrix: of the classes most often confused, for KFP's UI and for the report."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.shared.storage import filesystem

# KFP's UI gives each of up to eight rows 79 pixels, and takes 700 for more. Four rows fit the
# panel that it opens in a window of 1,400 pixels, with names of this many letters.
_ROWS, _LETTERS = 4, 12


def confusion(
    labels: NDArray[np.int64], predicted: NDArray[np.int32], num_classes: int, rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the images by true class (row) and predicted class (column).

    If there are more classes than rows, the last row and column are all other classes together.
    Images of others that are predicted as others are left out: they would outnumber the rest.

    Args:
        labels: (N,) The images' true classes.
        predicted: (N,) Their predicted classes.
        num_classes: Number of classes.
        rows: Number of rows, at most.

    Returns:
        The classes shown, in their order: those of the most frequent confusions; and the matrix,
        which has a row more if there are others.
    """
    shown = np.arange(num_classes)
    if num_classes > rows:
        wrong = labels != predicted
        pairs = np.sort(np.stack([labels[wrong], predicted[wrong]], axis=1), axis=1)
        unique, counts = np.unique(pairs, axis=0, return_counts=True)
        ordered = unique[np.argsort(-counts, kind="stable")].ravel().tolist()
        shown = np.sort(list(dict.fromkeys([*ordered, *range(rows)]))[: rows - 1])
    position = np.full(num_classes, len(shown))
    position[shown] = np.arange(len(shown))
    matrix = np.zeros((len(shown) + 1, len(shown) + 1), np.int64)
    np.add.at(matrix, (position[labels], position[predicted]), 1)
    matrix[-1, -1] = 0
    size = min(num_classes, rows)
    return shown, matrix[:size, :size]


def write_confusion(
    path: Path, labels: NDArray[np.int64], predicted: NDArray[np.int32], titles: Sequence[str]
) -> None:
    """Write a matrix that fits KFP's UI, in the form of `log_confusion_matrix` in KFP's SDK."""
    shown, matrix = confusion(labels, predicted, len(titles), _ROWS)
    names = _short_names(titles, shown.tolist())
    if len(matrix) > len(shown):
        names.append("other")
    content = {
        "confusionMatrix": {
            "annotationSpecs": [{"displayName": name} for name in names],
            "rows": [{"row": row} for row in matrix.tolist()],
        }
    }
    with filesystem.complete(path) as temporary:
        temporary.write_text(json.dumps(content))


def _short_names(titles: Sequence[str], shown: Sequence[int]) -> list[str]:
    """Return the titles cut; those that are the same then end in the number of their class.

    Two concepts may share a title: the bird and the machine are both a crane.
    """
    short = {i: _cut(titles[i], _LETTERS) for i in shown}
    counts = Counter(short.values())
    return [
        f"{_cut(titles[i], _LETTERS - 1 - len(str(i)))} {i}" if counts[name] > 1 else name
        for i, name in short.items()
    ]


def _cut(title: str, length: int) -> str:
    return title if len(title) <= length else f"{title[: length - 1].rstrip()}…"
