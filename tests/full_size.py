"""The results of a run at the challenge's size, made up in seconds, and the pages drawn of them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image

from components.audit import report as audit_report
from components.audit.duplicates import Duplicates, Pairs
from components.audit.scoring import NONE, Scores
from components.audit.selection import Selection
from components.audit.sources import Sources
from components.compare.stage import compare
from components.ensemble import report as ensemble_report
from components.ensemble.averaging import Validation
from components.ingest import report as ingest_report
from components.ingest.dataset import REJECTS, Reject
from components.pseudo_label import report as pseudo_label_report
from components.pseudo_label.comparison import Comparison
from components.pseudo_label.labelling import Labels
from components.shared.data import predictions, texts
from components.shared.data.halves import CHOOSING
from components.shared.data.identity import Identity
from components.shared.data.image_set import ImageSet
from components.shared.data.predictions import History, Predictions, Training
from components.shared.data.targets import Targets, TargetsWriter
from components.shared.data.texts import Texts
from components.shared.training import report as training_report
from components.shared.training.models import Record
from components.shared.training.settings import TrainingSettings
from components.tagging import report as tagging_report
from components.tagging.vocabulary import select
from components.weighting import report as weighting_report
from components.weighting.tally import Tally
from components.weighting.weights import Weights
from pipelines.run.record import RunRecord, TaskRecord
from pipelines.tasks import Task, described
from tests.candidates import named
from tests.synthetic import image_set

CLASSES, KEYWORDS = 5_000, 35_000
IMAGES, VALIDATION_IMAGES = 100_000, 50_000
WORDS = 300_000
PER_IMAGE = 5  # keywords, and weighted concepts
EPOCHS = 180
SEEDS = range(5)
STEPS = ("finetune", "finetune_large", "finetune_again", "finetune_again_large")
# Balanced top-1 accuracy after the first step, by pretraining.
PRETRAININGS = {"wt": 0.56, "lw": 0.54, "none": 0.5}
_PICTURES = 64
_SYLLABLES = ("ba", "den", "fi", "gor", "hu", "lim", "no", "par", "ri", "sto", "tel", "wren")


def words(count: int) -> list[str]:
    """Return so many words, the frequent ones short."""
    base = len(_SYLLABLES)

    def word(number: int) -> str:
        return (word(number // base - 1) if number >= base else "") + _SYLLABLES[number % base]

    return [word(number) for number in range(count)]


@dataclass(frozen=True)
class Inputs:
    """What ingest and the stages of the texts leave."""

    folder: Path
    images: ImageSet
    labels: Targets
    texts: Texts
    keywords: Targets
    weights: Targets
    pseudo_labels: Targets
    validation_images: ImageSet
    validation_labels: Targets

    @classmethod
    def write(cls, folder: Path) -> "Inputs":
        """Make them up."""
        random, images = np.random.default_rng(0), _images(folder / "train", IMAGES)
        validation = _images(folder / "validation", VALIDATION_IMAGES)
        names = words(KEYWORDS)
        titles = [f"{names[i]} {names[-i]}, {names[-2 * i]} of {names[2 * i]}" for i in range(5000)]
        given = _long_tailed(random, IMAGES, CLASSES)
        # For each image its label, mostly, and others.
        concepts = np.column_stack(
            [given, *(_long_tailed(random, IMAGES, CLASSES) for _ in range(PER_IMAGE - 1))]
        )
        shares = np.sort(random.dirichlet(np.full(PER_IMAGE, 0.5), IMAGES))[:, ::-1]
        doubted = random.random(IMAGES) < 0.3
        concepts[doubted, :2] = concepts[doubted, 1::-1]
        found = np.stack([_long_tailed(random, IMAGES, KEYWORDS) for _ in range(PER_IMAGE)], axis=1)
        truth = np.arange(VALIDATION_IMAGES) % CLASSES
        _write_texts(folder / "texts", images.identity, found, names)

        def targets(name: str, classes: Sequence[str], *pairs: NDArray[np.generic]) -> Targets:
            return _targets(folder / name, images.identity, classes, *pairs)

        return cls(
            folder=folder,
            images=images,
            labels=targets("labels", titles, given[:, None]),
            texts=Texts(folder / "texts"),
            keywords=targets("keywords", names, found),
            weights=targets("weights", titles, concepts, shares),
            pseudo_labels=targets("pseudo_labels", titles, concepts, shares),
            validation_images=validation,
            validation_labels=_targets(
                folder / "validation_labels", validation.identity, titles, truth[:, None]
            ),
        )


def write_pages(folder: Path, inputs: Inputs) -> dict[str, Path]:
    """Write the page of each stage into a folder; return them by stage."""
    random, labels = np.random.default_rng(1), inputs.labels
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        stage: folder / f"{stage}.html"
        for stage in ("ingest", "tagging", "weighting", "wt_pretrain", "lw_pretrain")
        + ("finetune", "audit", "pseudo_label", "ensemble", "compare")
    }
    ingest_report.write_report(
        pages["ingest"],
        inputs.images.folder,
        inputs.folder / "texts",
        inputs.folder / "labels",
        {"train": IMAGES, "val": VALIDATION_IMAGES, "test": 0},
        {"truncated image": 1_234, "no text": 56_789, "unknown class": 3},
    )
    counts = pa.table(
        {"word": words(WORDS), "images": (16e6 / np.arange(1, 1 + WORDS)).astype(np.int64) + 1}
    )
    vocabulary = select(counts, 16_000_000, vocabulary_size=KEYWORDS, min_images=1, max_share=0.05)
    tagging_report.write_report(
        pages["tagging"], inputs.texts, inputs.keywords, counts, vocabulary, "WordNet"
    )
    weights, tally = inputs.weights, Tally(PER_IMAGE)
    counted = np.full(IMAGES, PER_IMAGE)
    given = np.asarray(labels.classes)
    tally.add(Weights(counted, np.asarray(weights.classes), weights.weights, 1_234), given)
    near = [random.integers(0, CLASSES, 8) for _ in range(CLASSES)]
    weighting_report.draw(pages["weighting"], inputs.texts, labels, weights, near, tally)

    records = list(_records(labels.titles))
    for stage, names, score in (
        ("wt_pretrain", inputs.keywords.names, "recall5"),
        ("lw_pretrain", labels.titles, "top1"),
        ("finetune", labels.titles, "top1"),
    ):
        record = replace(records[0], stage=stage, names=names, titles=names)
        per_class = random.random(CLASSES) if score == "top1" else None
        training_report.page(record, _Measured(score, per_class)).write(pages[stage])

    _audit(np.random.default_rng(2), inputs, pages["audit"])
    comparison = Comparison(labels)
    classes, shares = inputs.pseudo_labels.padded(np.arange(IMAGES))
    made = Labels(classes.astype(np.int32), shares)
    comparison.update(np.arange(IMAGES), shares[:, 0], made, made, shares[:, 0] >= 0.3)
    arguments = (comparison, records, [0, 1], inputs.images, labels)
    pseudo_label_report.draw(pages["pseudo_label"], *arguments)

    truth = np.asarray(inputs.validation_labels.classes, np.int64)
    found = _predictions(random, truth, 0.6)
    right = found.classes == truth[:, None]
    hits = np.stack([np.stack([right[:, 0], right.any(axis=1)])] * (len(records) + 4))
    ensemble_report.draw(
        pages["ensemble"],
        Validation(truth, found, hits, np.ones(len(truth), np.bool_), None),
        records,
        inputs.validation_images,
        inputs.validation_labels,
    )
    _compare(random, folder, inputs, pages["compare"])
    return pages


def _audit(random: np.random.Generator, inputs: Inputs, path: Path) -> None:
    labels = np.asarray(inputs.labels.classes, np.int64)
    numbers = random.permutation(IMAGES)[:20_000]
    given, rows = labels[numbers], len(numbers)
    classes = (given[:, None] + random.integers(1, 4, (rows, 1)) + np.arange(PER_IMAGE)) % CLASSES
    shares = -np.sort(-random.dirichlet(np.full(PER_IMAGE, 0.5), rows)).astype(np.float32)
    best, least = shares[:, 0], shares[:, -1]
    said = np.where(random.random(rows) < 0.5, NONE, classes[:, 0])
    suspects = Scores(
        numbers, given, least, classes, shares, classes[:, 0], best, least, said, best
    )
    both = np.sort(random.integers(0, IMAGES + VALIDATION_IMAGES, (200, 2)), axis=1)
    pairs = Pairs(both[:, 0], both[:, 1], np.sort(random.integers(0, 5, 200)))
    near = Duplicates(pairs, np.concatenate([labels, inputs.validation_labels.classes]), IMAGES)
    audit_report.draw(
        path,
        Selection(suspects, np.bincount(labels, minlength=CLASSES), 70_000),
        near,
        Sources("resnest101e: wt_pretrain 224 px", [0.55, 0.54], texts=True),
        inputs.images,
        inputs.validation_images,
        inputs.labels,
    )


def write_run(folder: Path, inputs: Inputs, pages: dict[str, Path]) -> RunRecord:
    """Write the record of a run whose candidates are trained with several seeds each."""
    files = {
        "ingest": {"images": inputs.images.folder, "labels": inputs.folder / "labels"},
        "tagging": {"keywords": inputs.folder / "keywords"},
        "weighting": {"weights": inputs.folder / "weights"},
        "pseudo_label": {"pseudo_labels": inputs.folder / "pseudo_labels"},
        "compare": {"comparison": pages["compare"].parent / "comparison.json"},
    }
    rejects = [
        Reject("train", "truncated image", "google", f"{i}.jpg", "ends early")._asdict()
        for i in range(50_000)
    ]
    table = pa.Table.from_pylist(rejects, schema=REJECTS)
    pq.write_table(table, inputs.images.folder / "rejects.parquet")
    folder.mkdir(parents=True, exist_ok=True)
    tasks: list[TaskRecord] = []

    def add(step: str, candidate: str, *before: str) -> str:
        stage = "finetune" if step.startswith("finetune") else step
        name = "-".join(filter(None, [step.replace("_", "-"), candidate]))
        outputs = {"report": pages[stage], **files.get(stage, {})}
        tasks.append(
            TaskRecord(
                name=name,
                stage=stage,
                step=step,
                candidate=named(candidate),
                dependencies=list(before),
                parameters=asdict(TrainingSettings()),
                status="ran",
                key="0123456789abcdef",
                outputs={each: str(path) for each, path in outputs.items()},
                seconds=86_400.0,
                peak_bytes=48 << 30,
            )
        )
        return name

    add("ingest", "")
    texts = {"wt": add("tagging", "", "ingest"), "lw": add("weighting", "", "ingest")}
    last: list[str] = []
    for seed in SEEDS:
        started = {
            each: [add(f"{each}_pretrain", f"resnest101e-seed{seed}", "ingest", texts[each])]
            for each in texts
        }
        for number in (0, 2):
            models = []
            targets = [add("pseudo_label", f"seed{seed}", "ingest", *last)] if number else []
            for each in PRETRAININGS:
                name = f"resnest101e-{each}-seed{seed}"
                model = add(STEPS[number], name, "ingest", *targets, *started.get(each, []))
                models.append(add(STEPS[number + 1], name, "ingest", *targets, model))
            last = models
        add("ensemble", f"seed{seed}", "ingest", *last)
    add("compare", "", *(task.name for task in tasks if task.stage in ("finetune", "ensemble")))
    run = RunRecord(
        pipeline="webly-paper",
        recipe="paper",
        parameters={"dataset": "s3://webly/webvision", "ingest_limit": 0},
        started=1.6e9,
        ended=1.6e9 + 1e6,
        tasks=tasks,
    )
    run.write(folder)
    return run


class _Measured:
    """Stands in for the validation of a model that nobody trained."""

    def __init__(self, score: str, per_class: NDArray[np.float64] | None) -> None:
        self.score, self.per_class = score, per_class

    def __call__(self, model: torch.nn.Module) -> dict[str, float]:
        raise NotImplementedError


def _long_tailed(random: np.random.Generator, images: int, classes: int) -> NDArray[np.int64]:
    shares = np.cumsum(1 / np.arange(1, classes + 1))
    return np.searchsorted(shares, random.random(images) * shares[-1])


def _images(folder: Path, count: int) -> ImageSet:
    """Write images of the size and weight of photographs, a few pictures again and again."""
    random, pictures = np.random.default_rng(2), []
    for _ in range(_PICTURES):
        small = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
        smooth = np.asarray(small.resize((427, 320), Image.Resampling.BICUBIC), np.int16)
        noisy = smooth + random.normal(0, 12, smooth.shape)
        pictures.append(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))
    few = image_set(folder, pictures, image_side=320)
    index = np.resize(few.index, count)
    shards = [replace(few.shards[0], images=count)]
    ids = pa.chunked_array([pa.array([f"google/{i:08d}.jpg" for i in range(count)])])
    ImageSet.save(folder / "many", shards, index, ids, image_side=320, counts={})
    return ImageSet.load(folder / "many")


def _targets(
    folder: Path,
    identity: Identity,
    titles: Sequence[str],
    classes: NDArray[np.generic],
    weights: NDArray[np.generic] | None = None,
) -> Targets:
    """Write Targets with as many classes (N, K) for every image."""
    if weights is None:
        weights = np.ones(classes.shape)
    with TargetsWriter(folder, titles, titles, identity) as writer:
        writer.append(np.full(len(classes), classes.shape[1]), classes.ravel(), weights.ravel())
    return Targets.load(folder)


def _write_texts(
    path: Path, identity: Identity, keywords: NDArray[np.int64], names: Sequence[str]
) -> None:
    named = np.array(names, object)[keywords]
    columns = [
        [f"google/{i:08d}.jpg" for i in range(len(named))],
        named[:, 0],
        [" ".join(row) for row in np.repeat(named, 12, axis=1)],
        [" ".join(row) for row in named],
        ["google"] * len(named),
        ["a query"] * len(named),
        np.ones(len(named), np.int32),
    ]
    arrays = [pa.array(each, field.type) for each, field in zip(columns, texts.SCHEMA, strict=True)]
    texts.write(path, identity, [pa.table(arrays, schema=texts.SCHEMA)])


def _curve() -> list[dict[str, float]]:
    epochs = np.arange(1, EPOCHS + 1)
    return [
        {
            "epoch": int(epoch),
            "images": int(1_281_167 * epoch),
            "learning_rate": 0.01 * 0.1 ** (epoch // 90),
            "loss": 2 + 6.5 / epoch**0.5,
            "top1": 0.6 - 0.59 / epoch,
            "top5": 0.85 - 0.8 / epoch,
            "recall5": 0.4 - 0.39 / epoch,
            "seconds": 500.0 * epoch,
        }
        for epoch in epochs.tolist()
    ]


def _records(titles: Sequence[str]) -> Iterator[Record]:
    curve = _curve()
    for backbone in ("resnest101e", "resnest200e", "resnext101_32x8d", "efficientnet_b4"):
        for lineage in (["wt_pretrain"], ["lw_pretrain"], []):
            trainings = [*lineage, "finetune on given labels", "finetune on pseudo labels"]
            yield Record(
                stage="finetune",
                backbone=backbone,
                image_size=320,
                names=list(titles),
                titles=list(titles),
                score=0.59,
                metrics={
                    CHOOSING: 0.58,
                    "images_seen": 2.3e8,
                    "seconds": 9e4,
                    "images_per_second": 2_500.0,
                },
                last_learning_rate=1e-4,
                curve=curve,
                settings=asdict(TrainingSettings(backbone=backbone)),
                lineage=[Training(f"{each} 224 px", 230_000_000, 9e4) for each in trainings],
            )


def _predictions(random: np.random.Generator, truth: NDArray[np.int64], top1: float) -> Predictions:
    classes = random.integers(0, CLASSES, (len(truth), 5)).astype(np.int32)
    positions = random.geometric(top1, len(truth)) - 1
    known = np.flatnonzero(positions < 5)
    classes[known, positions[known]] = truth[known]
    shares = np.sort(random.dirichlet(np.full(6, 0.4), len(truth)))[:, :0:-1]
    return Predictions(classes, shares.astype(np.float32))


def _compare(random: np.random.Generator, folder: Path, inputs: Inputs, page: Path) -> None:
    """Let the stage compare the candidates after the first two steps, with two seeds each."""
    compared, paths = [], []
    truth = np.asarray(inputs.validation_labels.classes, np.int64)
    for number, step in enumerate(STEPS[:2]):
        for pretraining, top1 in PRETRAININGS.items():
            for seed in SEEDS[:2]:
                compared.append((step, f"resnest101e-{pretraining}-seed{seed}"))
                paths.append(folder / "-".join(compared[-1]))
                predictions.write(
                    paths[-1],
                    inputs.validation_images,
                    inputs.validation_labels,
                    _predictions(random, truth, top1 + 0.02 * number),
                    History([Training(f"{step} 224 px", 230_000_000, 9e4)], _curve()),
                )
    compare(
        paths,
        inputs.folder,
        folder / "comparison.json",
        folder / "summary.md",
        page,
        folder / "metrics.json",
        names=described([Task(step, named(candidate), {}, {}) for step, candidate in compared]),
    )
