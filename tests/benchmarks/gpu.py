"""All that a GPU does here, in one run of at most eight minutes, without a download.

    python -m tests.benchmarks.gpu [--output FIGURES.json]
    python -m tests.benchmarks.gpu --tiny    # tries the benchmark itself, on the CPU

A table in Markdown, each row as it comes:

- whether trainings on the GPU resume as if nothing had happened, and agree with the CPU's;
- how many crops the loader makes of drawn photographs that ingest has stored at 256 pixels;
- labelling by a random network of the paper's, and embedding by a random one of MiniLM's size;
- training steps of the paper's backbones over 5,000 classes: ours, and timm's as its `train.py`
  takes them in its recommended setting (AMP in bf16; `--channels-last`, and without it).

A ratio is how many times as long timm's takes, in the better of its memory formats. What fails,
needs too much memory or time says so in its row. The exit code is 1 if a check fails.
"""

import argparse
import json
import logging
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data.loader import PrefetchLoader

from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.stage.parallel import cores
from components.shared.training import models
from components.shared.training.inference import Classifier, most_probable, probabilities, scored
from components.shared.training.loop import _TrainingImages
from components.shared.training.models import Record
from components.shared.training.sampling import Plan
from components.shared.training.settings import TrainingSettings
from components.shared.training.transforms import batches, device, num_workers
from components.shared.training.views import Crop
from tests.benchmarks import gpu_checks, train_steps
from tests.benchmarks.bounded import in_process
from tests.benchmarks.rounds import Contestant, Row, in_turns, machine, print_table, ratio
from tests.benchmarks.train_steps import COMPILED, EAGER, FORMATS, NUM_CLASSES, TARGETS, Step
from tests.synthetic import image_set, targets

TOP_K, WORDS = 5, 5_000
VIEWS: Sequence[Any] = ("one", "multi")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes:
        backbones: Whose steps; the first one labels, and is compiled first.
        batch_sizes: Large, as suits a GPU, and that of the paper's micro-batches.
        image_size: Side of the crops, in pixels.
        photographs: How many are drawn.
        layers: Of the network that embeds.
        seconds: For what has no end.
        round_seconds: For a contestant's turn.
        minutes: For all.
        group_minutes: At most for one group of rows.
    """

    backbones: Sequence[str] = (
        "resnest101e",
        "resnext101_32x8d",
        "efficientnet_b4",
        "resnest200e",
    )
    batch_sizes: tuple[int, int] = (128, 32)
    image_size: int = 224
    photographs: int = 64
    layers: int = 6
    seconds: float = 6.0
    round_seconds: float = 1.0
    minutes: float = 8.0
    group_minutes: float = 1.5

    def settings(self, backbone: str, batch_size: int) -> TrainingSettings:
        """Return how a backbone is trained, in steps of one micro-batch."""
        return TrainingSettings(
            backbone=backbone,
            image_size=self.image_size,
            batch_size=batch_size,
            accumulation_steps=1,
        )


TINY = Sizes(
    backbones=("resnet10t",),
    batch_sizes=(4, 2),
    image_size=32,
    photographs=2,
    layers=1,
    seconds=0.1,
    round_seconds=0.01,
    minutes=60.0,
    group_minutes=15.0,
)


def draw(folder: Path, number: int) -> None:
    """Write photographs of 341 × 256 pixels, eight times each, and five keywords of each.

    As in nature, each octave of their spectrum is as strong as any other.
    """
    random = np.random.default_rng(0)

    def octave(width: int) -> NDArray[np.uint8]:
        noise = Image.fromarray(random.integers(0, 256, (3 * width // 4, width, 3), np.uint8))
        return np.asarray(noise.resize((341, 256), Image.Resampling.BICUBIC))

    photographs = [
        Image.fromarray(np.mean([octave(2**n) for n in range(2, 9)], axis=0).astype(np.uint8))
        for _ in range(number)
    ]
    images = image_set(folder, 8 * photographs, image_side=256)
    classes = [str(number) for number in range(NUM_CLASSES)]
    keywords = [
        [((image + k) % NUM_CLASSES, 1.0) for k in range(TARGETS)] for image in range(len(images))
    ]
    targets(folder / "keywords", images.identity, keywords, classes)


def per_second(items: Iterator[Any], batch_size: int, seconds: float) -> float:
    """Return how many items are in the batches that come per second."""
    number, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        next(items)
        number += batch_size
    if device().type == "cuda":
        torch.cuda.synchronize()
    return number / (time.perf_counter() - start)


def loading(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Yield what the loader makes, as training has it."""
    images, keywords = ImageSet.load(folder / "images"), Targets.load(folder / "keywords")
    settings = sizes.settings(sizes.backbones[0], sizes.batch_sizes[0])
    plan = Plan(keywords, balance=0.0, balance_on="any", max_repeats=20, seed=0)
    order = plan.micro_batches(settings.batch_size)
    loader = batches(_TrainingImages(images, keywords, settings), order)
    # What workers make while there is nobody to take it does not count.
    deque(islice(loader, 1 + 3 * num_workers()), maxlen=0)
    rate = per_second(loader, settings.batch_size, sizes.seconds)
    size = images.index["length"].mean() / 1e3
    remark = f"{num_workers() or 'no'} workers, {cores()} cores, {size:.0f} kB a photograph"
    yield Row("loader", rate, remark=remark)


def labelling(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Yield how fast a network labels: crops in memory, beside timm's, and images from shards."""
    torch.backends.cudnn.benchmark = True
    settings = sizes.settings(sizes.backbones[0], sizes.batch_sizes[0])
    ours = "crops in memory"
    making = {f"timm, {where}": partial(timms_labels, settings, where) for where in FORMATS}
    there = {name: Contestant(make) for name, make in making.items()}
    there[ours] = Contestant(partial(our_labels, settings))
    seconds = in_turns(there, sizes.round_seconds)
    peer = min(making, key=lambda name: statistics.mean(seconds[name]))
    for name, contestant in there.items():
        rate = settings.batch_size / statistics.mean(seconds[name])
        times = ratio(seconds, name, peer) if name == ours else None
        yield Row(name, rate, times, contestant.gibibytes)
    images, teachers = ImageSet.load(folder / "images"), [classifier(settings)]
    for views in VIEWS:
        passes = list(repeat(range(len(images)), 10_000))
        found = probabilities(images, passes, teachers, settings.batch_size, views)
        deque(islice(found, 1 + 3 * num_workers()), maxlen=0)
        rate = per_second(found, settings.batch_size, sizes.seconds)
        yield Row(f"from shards, views={views}", rate)


def classifier(settings: TrainingSettings) -> Classifier:
    """Return a random one."""
    record = Record(
        stage="finetune",
        backbone=settings.backbone,
        image_size=settings.image_size,
        names=[],
        titles=[],
        score=0.0,
        metrics={},
        last_learning_rate=0.0,
        curve=[],
        settings={},
        lineage=[],
    )
    model = models.create(settings, NUM_CLASSES).eval()
    return Classifier(models.to_device(model, settings.backbone), record)


def our_labels(settings: TrainingSettings) -> Step:
    """Return what finds the most probable classes of a batch, as `pseudo_label` does."""
    teachers = [classifier(settings)]
    crops = {Crop(settings.image_size): train_steps.pinned(train_steps.random_crops(settings))}

    @torch.inference_mode()
    def step() -> None:
        most_probable(scored(teachers, crops, "one"), TOP_K)

    return step


def timms_labels(settings: TrainingSettings, where: str) -> Step:
    """Return what does so as timm's `validate.py`, with `--amp` and perhaps `--channels-last`."""
    model = models.create(settings, NUM_CLASSES).eval().to(device())
    model = model.to(memory_format=FORMATS[where])
    crops = train_steps.pinned(train_steps.random_crops(settings).contiguous())
    batch = crops, torch.zeros(settings.batch_size, dtype=torch.int64)
    stream = iter(PrefetchLoader(repeat(batch), device=device()))

    @torch.inference_mode()
    def step() -> None:
        images, _ = next(stream)
        with models.autocast():
            logits = model(images.contiguous(memory_format=FORMATS[where]))
        logits.float().topk(TOP_K)

    return step


def embedding(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Yield how fast texts are embedded by a random network of the size of all-MiniLM-L6."""
    try:
        from sentence_transformers import SentenceTransformer
        from transformers import BertConfig, BertModel, BertTokenizer
    except ImportError as error:
        yield Row("texts of 32 words", remark=f"not run: {error}")
        return
    from components.weighting.embedding import _TEXTS_AT_ONCE, _embedded

    words = [f"word{number}" for number in range(WORDS)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*special, *words]))
    config = BertConfig(
        vocab_size=len(special) + WORDS,
        hidden_size=384,
        num_hidden_layers=sizes.layers,
        num_attention_heads=12,
        intermediate_size=1536,
    )
    BertModel(config).save_pretrained(folder / "bert")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    model = SentenceTransformer(str(folder / "bert"), device=str(device()))
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, 32)) for _ in range(8 * _TEXTS_AT_ONCE)]
    found = (_embedded(model, texts) for _ in repeat(None))
    next(found)
    yield Row("texts of 32 words", per_second(found, len(texts), sizes.seconds))


def told(rows: Iterator[Row], names: Sequence[str]) -> Iterator[Row]:
    """Yield rows as they come, and for each of the names that none has come for, why not."""
    missing, why = list(names), "failed"
    try:
        for row in rows:
            yield row
            missing = [name for name in missing if name != row.what]
    except TimeoutError:
        why = "no time"
    except ChildProcessError:
        pass
    yield from (Row(name, remark=why) for name in missing)


def measured(folder: Path, sizes: Sizes) -> Iterator[tuple[str, Row]]:
    """Yield all rows, each with the title of its group."""
    end = time.monotonic() + 60 * sizes.minutes

    def group(what: Callable[[], Iterator[Row]], names: Sequence[str]) -> Iterator[Row]:
        seconds = min(60 * sizes.group_minutes, end - time.monotonic())
        yield from told(in_process(what, seconds), names)

    for row in told(gpu_checks.rows(folder), gpu_checks.ROWS):
        yield "check", row
    draw(folder, sizes.photographs)
    for name, measure in (("loading", loading), ("labelling", labelling), ("embedding", embedding)):
        for row in group(partial(measure, folder, sizes), []):
            yield name, row
    (large, small), (first, *others) = sizes.batch_sizes, sizes.backbones
    rates = dict[tuple[str, str], float]()  # timm's, by title and memory format
    for backbone, batch_size, variants in (
        *((each, large, EAGER) for each in sizes.backbones),
        (first, large, COMPILED),
        *((each, small, EAGER) for each in sizes.backbones),
        *((each, large, COMPILED) for each in others),
    ):
        title = f"{backbone}, {batch_size} × {sizes.image_size} px"
        eager = variants is EAGER
        best = max(FORMATS, key=lambda where, title=title: rates.get((title, where), 0.0))  # type: ignore[misc]
        formats = list(FORMATS) if eager else [best]
        settings = sizes.settings(backbone, batch_size)
        what = partial(train_steps.rows, settings, formats, variants, sizes.round_seconds)
        names = [f"timm, {where}" for where in formats] if eager else []
        for row in group(what, [*names, *(f"ours, {variant}" for variant in variants)]):
            who, _, where = row.what.partition(", ")
            if who == "ours" or eager:
                yield title, row
            if who == "timm":
                rates[title, where] = row.rate or 0.0


def _machine() -> Iterator[str]:
    yield f"{machine()}, {cores()} cores"


def main() -> None:
    """Print the table; write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="also write the figures, as JSON")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, on the CPU")
    arguments = parser.parse_args()
    logging.basicConfig(level="WARNING")
    sizes = TINY if arguments.tiny else Sizes()
    if arguments.tiny:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    (on,) = in_process(_machine, 60)
    print(f"On {on}:\n")
    found: list[dict[str, Any]] = []

    def cells() -> Iterator[list[str]]:
        for title, row in measured(Path(temporary), sizes):
            found.append({"group": title} | row._asdict())
            figures = (
                "" if figure is None else format(figure, form)
                for figure, form in zip(row[1:4], (",.0f", ".2f", ".1f"), strict=True)
            )
            yield [f"{title}: {row.what}", *figures, row.remark]

    with tempfile.TemporaryDirectory() as temporary:
        print_table(["", "per second", "ratio", "GiB", ""], cells())
    if arguments.output:
        arguments.output.write_text(json.dumps({"machine": on, "rows": found}, indent=1))
    if any(row["remark"].startswith("FAILED") for row in found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
