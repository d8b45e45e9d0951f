"""What pseudo labels know of the truth: `python -m tests.benchmarks.pseudo_labels RUN`.

Takes the teachers of a finished run of the demo, whose images' truth is known, as the stage does,
and trains nothing. The first table has, in percent,

    on the truth      the labels' weight that is on what the image shows
    strongest right   the images, clutter aside, whose strongest class is what they show
    repaired          those of them whose given label is wrong and whose strongest class is right
    lost              those whose given label is right and whose strongest class is wrong

and the second one, of the images that are kept, those whose strongest class is what they show, and
clutter; and the share that is kept of the class that keeps least, by strongest class.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.pseudo_label.labelling import Labelling, Labels, best, most_confident
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.training.evidence import Evidence, Texts
from components.shared.training.inference import Inference, ShardPredictions, read_records
from pipelines.demo import webvision
from pipelines.demo.settings import DataSettings
from tests.benchmarks.rounds import print_table
from tests.benchmarks.weights_data import CLUTTER, shown

TEACHERS, TOP_K, SILENT = 2, 5, 0.5
KINDS: Mapping[str, Mapping[str, Any]] = {
    "q": {},
    "hard": {"top_k": 1},
    "q²": {"sharpness": 2},
    "q³": {"sharpness": 3},
    "q (w + 0.2)": {"text_floor": 0.2},
    "q (w + 0.1)": {"text_floor": 0.1},
    "q (w + 0.05)": {"text_floor": 0.05},
    "q (w + 0.02)": {"text_floor": 0.02},
    "(q (w + 0.2))²": {"sharpness": 2, "text_floor": 0.2},
    "(q (w + 0.1))²": {"sharpness": 2, "text_floor": 0.1},
    "(q (w + 0.05))²": {"sharpness": 2, "text_floor": 0.05},
    "0.9 q² + 0.1 given": {"sharpness": 2, "label_share": 0.1},
    "0.65 q² + 0.35 given": {"sharpness": 2, "label_share": 0.35},
    "0.9 (q (w + 0.05))² + 0.1 given": {"sharpness": 2, "text_floor": 0.05, "label_share": 0.1},
}
SHARES = (0.95, 0.9, 0.8, 0.6)


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("run", type=Path, metavar="RUN")
    run = parser.parse_args().run.resolve()
    os.environ["WEBLY_STORE"] = str(run / "store")
    (ingest,) = run.glob("artifacts/ingest/*/")
    images, given = ImageSet.load(ingest / "images"), Targets.load(ingest / "labels")
    (weights,) = run.glob("artifacts/weighting/*/weights")
    said = Targets.load(weights)
    texts = Texts(said, given, SILENT)
    models = sorted(run.glob("artifacts/finetune-large-*/*/model"))
    records = read_records(models, given.names)
    teachers = best(records, TEACHERS)
    print("teachers:", "; ".join(records[i].title for i in teachers))
    with tempfile.TemporaryDirectory() as uri:
        inference = Inference(
            uri=uri,
            images=images,
            folders=[models[i] for i in teachers],
            top_k=TOP_K,
            batch_size=256,
            asked=texts.asked,
        )
        inference.run("pseudo labels")
        part = joined(list(inference))
    depicted = {image.path: shown(image) for image in webvision.find(DataSettings())}
    truth, labels = np.array([depicted[id] for id in images.ids()]), np.asarray(given.classes)
    evidence = texts.evidence(part)
    rows = [[what, *measured(each, labels, truth)] for what, each in kinds(given, said, evidence)]
    print_table(["targets", "on the truth", "strongest right", "repaired", "lost"], rows)
    print()
    made = Labelling(top_k=TOP_K, sharpness=2, text_floor=0.05)(evidence)
    print_table(["kept", "strongest right", "clutter", "least of a class"], kept(part, made, truth))


def joined(parts: list[ShardPredictions]) -> ShardPredictions:
    """Return the predictions for all shards as if they were one."""
    return ShardPredictions(
        numbers=np.concatenate([part.numbers for part in parts]),
        classes=np.concatenate([part.classes for part in parts], axis=1),
        probabilities=np.concatenate([part.probabilities for part in parts], axis=1),
        asked=np.concatenate([part.asked for part in parts if part.asked is not None]),
    )


def kinds(given: Targets, said: Targets, evidence: Evidence) -> Iterator[tuple[str, Labels]]:
    """Yield what targets are made of, and the targets."""
    for what, targets in (("given labels", given), ("w: the weights of LW", said)):
        classes, weights = targets.padded(np.arange(len(targets)))
        yield what, Labels(classes.astype(np.int32), weights)
    for what, options in KINDS.items():
        yield what, Labelling(**{"top_k": TOP_K, **options})(evidence)


def measured(labels: Labels, given: NDArray[np.int32], truth: NDArray[np.int64]) -> Iterator[str]:
    """Yield the figures of a row."""
    on_truth = labels.weights[labels.classes == truth[:, None]].sum(dtype=np.float64)
    yield percent(on_truth / labels.weights.sum(dtype=np.float64))
    strongest = np.where(labels.weights[:, 0] > 0, labels.classes[:, 0], CLUTTER - 1)
    something = truth != CLUTTER
    yield percent((strongest == truth)[something].mean())
    yield percent(((given != truth) & (strongest == truth))[something].mean())
    yield percent(((given == truth) & (strongest != truth))[something].mean())


def kept(part: ShardPredictions, labels: Labels, truth: NDArray[np.int64]) -> Iterator[list[str]]:
    """Yield a row for each share that is kept, of each class or of all images, by each measure."""
    strongest, q = labels.classes[:, 0], part.probabilities[0]
    measures = {
        "teachers' first": q[:, 0],
        "teachers' margin": q[:, 0] - q[:, 1],
        "label's first": labels.weights[:, 0],
    }
    for share in (1.0, *SHARES):
        for what, confidence in measures.items():
            for among, classes in (("each class", strongest), ("all", np.zeros_like(strongest))):
                keeps = most_confident(classes, confidence, share)
                least = min(keeps[strongest == c].mean() for c in np.unique(strongest))
                yield [
                    f"{share:.0%} of {among}, {what}",
                    percent((strongest == truth)[keeps].mean()),
                    percent((truth == CLUTTER)[keeps].mean()),
                    percent(least),
                ]


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.1f}"


if __name__ == "__main__":
    main()
