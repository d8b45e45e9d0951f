"""The confusion matrix, in the form that KFP's UI draws."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.shared.data.targets import Targets
from components.shared.storage import filesystem

# KFP's UI draws up to about 50 classes; 30 are still readable.
_CLASSES = 30


def write_confusion(
    path: Path, labels: NDArray[np.int64], predicted: NDArray[np.int32], classes: Targets
) -> None:
    """Write the confusion matrix of the classes most often confused.

    Rows are true classes, columns predicted ones, in the form of `log_confusion_matrix` in KFP's
    SDK. Images predicted as a class that is not shown are left out.
    """
    num_classes = len(classes.names)
    wrong = labels != predicted
    involved = np.bincount(labels[wrong], minlength=num_classes)
    involved += np.bincount(predicted[wrong], minlength=num_classes)
    shown = np.sort(np.argsort(-involved, kind="stable")[:_CLASSES])
    position = np.full(num_classes, -1)
    position[shown] = np.arange(len(shown))
    rows, columns = position[labels], position[predicted]
    both = (rows >= 0) & (columns >= 0)
    matrix = np.zeros((len(shown), len(shown)), np.int64)
    np.add.at(matrix, (rows[both], columns[both]), 1)
    # Two concepts may share a title: the bird and the machine are both a crane.
    specs = [{"displayName": f"{classes.titles[i]} ({classes.names[i]})"} for i in shown]
    content = {
        "confusionMatrix": {
            "annotationSpecs": specs,
            "rows": [{"row": row} for row in matrix.tolist()],
        }
    }
    with filesystem.complete(path) as temporary:
        temporary.write_text(json.dumps(content))
