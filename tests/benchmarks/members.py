"""What views, and members' shares, gain: `python -m tests.benchmarks.members RUN`.

Predicts the validation images of a finished run with all of its finetuned models, seen in one view
or in several. Then divides them at random again and again: shares and the best model are chosen on
one half, or on a few images of it, and measured on the other. Prints points of balanced top-1
accuracy: means over the divisions and, after ±, their deviation.
"""

import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from components.ensemble.opinions import Opinions
from components.ensemble.selection import Weights, parts
from components.shared.data.evaluation import Evaluation
from components.shared.training.inference import Inference
from components.shared.training.models import read_record
from components.shared.training.views import Views

logger = logging.getLogger("members")
DIVISIONS = 40
KEPT = 20
FEW = 50


def main(run: Path) -> None:
    """Measure, and print."""
    os.environ["WEBLY_STORE"] = str(run / "store")
    (evaluation,) = run.glob("artifacts/ingest/*/evaluation")
    images, targets, *_ = Evaluation.load(evaluation)
    labels = np.asarray(targets.classes, np.int64)
    folders = sorted(run.glob("artifacts/finetune*/*/model"))
    for views in get_args(Views):
        with tempfile.TemporaryDirectory() as uri:
            found = Inference(
                uri=uri,
                images=images,
                folders=folders,
                top_k=KEPT,
                batch_size=256,
                each=True,
                views=views,
            )
            found.run(views)
            shards = list(found)
        classes = np.concatenate([each.classes[:-1] for each in shards], axis=1)
        shares = np.concatenate([each.probabilities[:-1] for each in shards], axis=1)
        for folder, each in zip(folders, classes, strict=True):
            top1 = balanced(each[:, 0], labels)
            logger.info("%s %5.1f %s", views, top1, read_record(folder).title)
        of_last = np.array(["again-large" in str(folder) for folder in folders])
        for what, members in (("all", np.ones_like(of_last)), ("last round", of_last)):
            for count in (len(labels), FEW):
                if members.any():
                    title = f"{views}, {what}, {'half' if count > FEW else FEW} choose"
                    compare(title, classes[members], shares[members], labels, count)


def balanced(predicted: NDArray[np.int32], labels: NDArray[np.int64]) -> float:
    """Return the accuracy in percent, per class and then averaged."""
    right = predicted == labels
    return 100 * float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def compare(
    what: str,
    classes: NDArray[np.int32],
    shares: NDArray[np.float32],
    labels: NDArray[np.int64],
    most: int,
) -> None:
    """Print how an ensemble by each kind of shares compares with the best model.

    Args:
        what: What is printed with it.
        classes: (M, N, K) The models' most probable classes.
        shares: Their probabilities.
        labels: (N,) The images' classes.
        most: How many images choose, at most.
    """
    models, ways = len(classes), ["equal", *get_args(Weights)]
    found = []
    for division in range(DIVISIONS):
        half = np.random.default_rng(division).permutation(len(labels))
        chooses, reports = np.split(half, [len(labels) // 2])
        chooses = chooses[:most]
        choosing = Opinions.of(classes[:, chooses], shares[:, chooses])
        reported, truth = Opinions.of(classes[:, reports], shares[:, reports]), labels[reports]
        row = []
        for way in ways:
            taken: NDArray[Any] = np.ones(models)
            if way != "equal":
                taken = parts(way, [(choosing, labels[chooses])], models)
            row.append(balanced(reported.mean(taken / taken.sum()).classes[:, 0], truth))
        firsts = classes[:, :, 0]
        best = max(range(models), key=lambda i: balanced(firsts[i, chooses], labels[chooses]))
        found.append([*row, balanced(firsts[best, reports], truth)])
    *ensembles, alone = np.array(found).T
    for way, accuracies in zip(ways, ensembles, strict=True):
        figures = [f for other in (ensembles[0], alone) for f in _spread(accuracies - other)]
        logger.info(
            "%s: %-8s %.1f; - equal %+.2f ± %.2f, - best model %+.2f ± %.2f",
            *(what, way, accuracies.mean(), *figures),
        )
    logger.info("%s: best model %.1f", what, alone.mean())


def _spread(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.mean()), float(values.std())


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    main(Path(sys.argv[1]).resolve())
