"""What flipped views and chosen members gain: `python -m tests.benchmarks.members RUN`.

Predicts the validation images of a finished run with all of its finetuned models. Then divides them
at random again and again: members and the best model are chosen on one half, measured on the other.
Prints points of balanced top-1 accuracy: means over the divisions and, after ±, their deviation.
"""

import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from components.ensemble.opinions import Opinions
from components.ensemble.selection import greedy
from components.shared.data.evaluation import Evaluation
from components.shared.training.inference import Inference
from components.shared.training.models import read_record
from components.shared.training.views import Views

logger = logging.getLogger("members")
DIVISIONS = 40
KEPT = 20


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
            parts = list(found)
        classes = np.concatenate([part.classes[:-1] for part in parts], axis=1)
        shares = np.concatenate([part.probabilities[:-1] for part in parts], axis=1)
        for folder, each in zip(folders, classes, strict=True):
            top1 = balanced(each[:, 0], labels)
            logger.info("%s %5.1f %s", views, top1, read_record(folder).title)
        compare(f"{views}, all", classes, shares, labels)
        last = ["again-large" in str(folder) for folder in folders]
        if any(last):
            compare(f"{views}, last round", classes[last], shares[last], labels)


def balanced(predicted: NDArray[np.int32], labels: NDArray[np.int64]) -> float:
    """Return the accuracy in percent, per class and then averaged."""
    right = predicted == labels
    return 100 * float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def compare(
    what: str,
    classes: NDArray[np.int32],
    shares: NDArray[np.float32],
    labels: NDArray[np.int64],
) -> None:
    """Print how chosen members compare with equal shares and with the best model."""
    models, rows = len(classes), []
    for division in range(DIVISIONS):
        chooses = np.random.default_rng(division).random(len(labels)) < 0.5
        choosing = Opinions.of(classes[:, chooses], shares[:, chooses])
        taken = greedy([(choosing, labels[chooses])], models)
        firsts = classes[:, :, 0]
        best = max(range(models), key=lambda i: balanced(firsts[i, chooses], labels[chooses]))
        reported, truth = Opinions.of(classes[:, ~chooses], shares[:, ~chooses]), labels[~chooses]
        means = [taken / taken.sum(), np.full(models, 1 / models)]
        both = [balanced(reported.mean(each).classes[:, 0], truth) for each in means]
        rows.append([*both, balanced(firsts[best, ~chooses], truth)])
    chosen, equal, alone = np.array(rows).T
    logger.info(
        "%s: chosen %.1f, equal %.1f, best model %.1f; chosen - equal %+.2f ± %.2f, "
        "chosen - best model %+.2f ± %.2f",
        what,
        *(each.mean() for each in (chosen, equal, alone)),
        *(f for each in (chosen - equal, chosen - alone) for f in (each.mean(), each.std())),
    )


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    main(Path(sys.argv[1]).resolve())
