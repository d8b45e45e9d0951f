"""Wrong labels that the audit finds: `python -m tests.benchmarks.audit FOLDER PHOTOGRAPHS`.

Three data sets, each with recipe and WT model of its kind, of one seed:

    drawn         the demo's, a third of whose labels are wrong: what it draws is known
    validation    the validation photographs of PHOTOGRAPHS, a folder in the layout of WebVision,
                  clean, with a fifth of the labels put to another class; they have no texts
    photographs   the training photographs, with a fifth likewise, and texts; their own wrong
                  labels, which are not known, come on top, and count as right here

The stage runs with several seeds of flips and training. Beside it cleanlab's `find_label_issues`
gets the same probabilities: the models' q, and with texts the p of `scoring`. (cleanlab is no
dependency of the project: without it, its rows are missing.) What was made in FOLDER is not made
again.
"""

import argparse
import importlib.util
import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.audit.selection import select
from components.audit.tables import PredictionsWriter
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import CONCEPTS, Targets, TargetsWriter
from components.shared.stage.interface import call
from components.shared.training.evidence import Texts
from components.shared.training.inference import ShardPredictions
from pipelines.demo import webvision
from pipelines.demo.settings import DataSettings
from pipelines.recipe import load
from pipelines.steps import STEPS
from tests.benchmarks.rounds import machine, print_table

FLIPPED, TEXT_FLOOR = 0.2, 0.1
FILTERS = ("prune_by_noise_rate", "confident_learning", "both", "low_normalized_margin")
Found = tuple[NDArray[np.int64], NDArray[np.int64]]  # all images or suspects, ranked; the suspects


@dataclass(frozen=True, slots=True)
class Audited:
    """What the audit is given, and which labels are wrong."""

    images: Path
    labels: Path
    weights: Path | None
    wrong: NDArray[np.bool_]


def run(recipe: str, step: str, **given: object) -> None:
    """Run a stage with a recipe's values."""
    read = load(recipe)
    candidate, values = read.candidates[0], dict[str, Any]()
    for name in STEPS[step].arguments():
        values[name] = read.resolve(step, name, {}, candidate)
    values |= {"backbone": candidate.backbone, "backbone_args": candidate.backbone_args}
    component = STEPS[step].component
    assert component is not None
    call(component.stage, values | given)


def prepare(folder: Path, recipe: str, data: Path, **tagging: object) -> None:
    """Make what the audit reads."""
    os.environ["WEBLY_STORE"], os.environ["WEBLY_CHECKPOINTS"] = f"{folder}/store", f"{folder}/kept"
    if (folder / "wt").exists():
        return
    made = {name: folder / name for name in ("images", "texts", "labels", "evaluation")}
    run(recipe, "ingest", dataset=str(data), **made, report=folder / "ingest.html")
    keywords, texts = folder / "keywords", folder / "texts"
    run(recipe, "tagging", texts=texts, keywords=keywords, report=folder / "t.html", **tagging)
    weigh(folder, recipe, folder / "labels", folder / "weights")
    report = folder / "wt.html"
    images, model = folder / "images", folder / "wt"
    run(recipe, "wt_pretrain", images=images, keywords=keywords, model=model, report=report)


def weigh(folder: Path, recipe: str, labels: Path, weights: Path) -> None:
    """Weight the concepts near given labels."""
    report = folder / "weighting.html"
    run(recipe, "weighting", texts=folder / "texts", labels=labels, weights=weights, report=report)


def drawn(folder: Path) -> Audited:
    """Return the drawn set, with what it really shows."""
    found = webvision.find(DataSettings())
    right = {image.path: image.shown == image.label for image in found}
    ids = ImageSet.load(folder / "images").ids()
    wrong = np.array([not right[id] for id in ids])
    return Audited(folder / "images", folder / "labels", folder / "weights", wrong)


def flipped(labels: Path, folder: Path, seed: int) -> NDArray[np.bool_]:
    """Write labels of which some are put to another class; return which."""
    given, random = Targets.load(labels), np.random.default_rng(seed)
    wrong = random.random(len(given)) < FLIPPED
    others = given.classes + random.integers(1, len(given.names), len(given))
    classes = np.where(wrong, others % len(given.names), given.classes)
    with TargetsWriter(folder, given.names, given.titles, given.identity) as writer:
        writer.append(np.ones(len(given)), classes, np.ones(len(given)))
    if (labels / CONCEPTS).exists():
        shutil.copy(labels / CONCEPTS, folder)
    return wrong


def predicted(folder: Path, recipe: str, given: Audited, out: Path, seed: int) -> ShardPredictions:
    """Return the models' probabilities of all classes, in the order of the images."""
    if not (out / "predictions").exists():
        optional = {} if given.weights is None else {"weights": given.weights}
        run(
            recipe,
            "audit",
            images=given.images,
            labels=given.labels,
            evaluation=folder / "evaluation",
            initial_model=folder / "wt",
            suspects=out / "suspects",
            predictions=out / "predictions",
            report=out / "report.html",
            seed=seed,
            top_k=100,
            **optional,
        )
    table, labels = pq.read_table(out / "predictions"), Targets.load(given.labels)
    numbers = {name: number for number, name in enumerate(labels.names)}
    shape = len(labels), len(labels.names)
    named = table["concepts"].combine_chunks().flatten().to_pylist()
    classes = np.array([numbers[name] for name in named], np.int32).reshape(shape)
    q = table["probabilities"].combine_chunks().flatten().to_numpy().reshape(shape)
    return ShardPredictions(np.arange(len(labels)), classes[None], q[None])


def contestants(
    part: ShardPredictions, given: Audited, weights: Path | None, out: Path
) -> Iterator[tuple[str, Found]]:
    """Yield what each way to rank finds."""
    images, labels = ImageSet.load(given.images), Targets.load(given.labels)
    texts = Texts(None if weights is None else Targets.load(weights), labels, 0.5)
    dense = np.empty_like(part.probabilities[0])
    np.put_along_axis(dense, part.classes[0].astype(np.int64), part.probabilities[0], axis=1)
    asked = np.take_along_axis(dense, texts.asked(part.numbers), axis=1)
    part = ShardPredictions(part.numbers, part.classes, part.probabilities, asked)
    path, folds = out / "scores", np.zeros(len(labels), np.int32)
    with PredictionsWriter(path, images, labels, folds) as writer:
        selection = select(lambda: [part], texts, TEXT_FLOOR, len(labels.names), writer)
    score = pq.read_table(path)["score"].to_numpy()
    yield "this stage", (np.argsort(score, kind="stable"), selection.suspects.numbers)
    if importlib.util.find_spec("cleanlab") is None:
        return
    from cleanlab.filter import find_label_issues

    said, p = texts(part.numbers), dense + 0.0
    factors = np.full_like(p, TEXT_FLOOR)
    for column in range(said.classes.shape[1]):
        rows = np.flatnonzero(said.weights[:, column])
        factors[rows, said.classes[rows, column]] += said.weights[rows, column]
    p *= factors
    p /= p.sum(axis=1, keepdims=True)
    for by in FILTERS:
        issues = find_label_issues(
            np.asarray(labels.classes), p, filter_by=by, return_indices_ranked_by="self_confidence"
        )
        yield f"cleanlab, {by}", (issues, issues)


def measured(found: Found, wrong: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Return recall at the number of wrong labels; suspects, their precision and their recall."""
    ranked, suspects = found
    number = int(wrong.sum())
    at_number = wrong[ranked[:number]].sum() / number
    return at_number, len(suspects), wrong[suspects].mean(), wrong[suspects].sum() / number


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    logging.basicConfig(level="INFO")
    webvision.write(given.folder / "data", DataSettings())
    rows = defaultdict[tuple[str, str, str], list[tuple[float, ...]]](list)
    for seed in range(given.seeds):
        for name, audited, folder, recipe in audits(given.folder, given.photographs, seed):
            out = given.folder / f"{name}-{seed}"
            out.mkdir(exist_ok=True)
            part = predicted(folder, recipe, audited, out, seed)
            used: Mapping[str, Path | None] = {"models": None, "models and texts": audited.weights}
            for what, weights in used.items():
                if what == "models" or weights is not None:
                    for way, found in contestants(part, audited, weights, out):
                        figures = measured(found, audited.wrong)
                        rows[name, what, way].append((int(audited.wrong.sum()), *figures))
    print(machine())
    print_table(
        ("data set, probabilities", "wrong", "found at that number", "suspects", "right", "found"),
        [
            (f"{name}, {what}: {way}", *formatted(np.mean(figures, axis=0)))
            for (name, what, way), figures in rows.items()
        ],
    )


def audits(folder: Path, photographs: Path, seed: int) -> Iterator[tuple[str, Audited, Path, str]]:
    """Yield each data set's name, what is audited, its folder and its recipe."""
    mine = folder / "drawn"
    prepare(mine, "demo", folder / "data", tagger=str(folder / "data" / "tagger"))
    yield "drawn", drawn(mine), mine, "demo"
    mine = folder / "photographs"
    prepare(mine, "sample", photographs)
    evaluation, labels = mine / "evaluation", folder / f"validation-labels-{seed}"
    wrong = flipped(evaluation / "validation_labels", labels, seed)
    yield "validation", Audited(evaluation / "validation", labels, None, wrong), mine, "sample"
    labels, weights = folder / f"labels-{seed}", folder / f"weights-{seed}"
    wrong = flipped(mine / "labels", labels, seed)
    weigh(mine, "sample", labels, weights)
    yield "photographs", Audited(mine / "images", labels, weights, wrong), mine, "sample"


def formatted(figures: NDArray[np.float64]) -> tuple[str, ...]:
    """Return counts as counts, and shares in percent."""
    wrong, at_number, suspects, precision, recall = figures
    shares = (f"{100 * share:.1f}" for share in (at_number, precision, recall))
    first, second, third = shares
    return f"{wrong:.0f}", first, f"{suspects:.0f}", second, third


if __name__ == "__main__":
    main()
