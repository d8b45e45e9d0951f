"""The stages as `at_scale.py` measures them: what is made beforehand, and what is run.

    python -m tests.benchmarks.at_scale_stages STAGE FOLDER     # run; writes FOLDER/usage.json

The real stage functions run, on the CPU. Of those with networks, the network and the decoding of
pictures are left out: the rest is what a rank does with the data.
"""

import json
import logging
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from components.shared.stage.parallel import cores
from tests.benchmarks import at_scale_inputs as inputs

SCALE = 16_000_000
_LOADER_WORKERS = 2
_TEACHERS, _MEMBERS = 2, 4
_SOME_CLASSES = 8  # of which the networks that are left out would speak
# An image takes 1.1 kB of a shard in place of 40 kB: so a shard has as many as one of 256 MB.
_SHARD_MEGABYTES = 7


class Stage(NamedTuple):
    """What to measure.

    Attributes:
        prepare: Writes the inputs for so many images to a folder.
        run: Runs the stage in that folder; its outputs go to `out`.
        full_from: So many images, and units of work are as large as at full size.
        images: How many it has at full size.
        spread: Whether its work is spread over the cores, a process on each. Else it is a rank's,
            whose other processes prepare batches.
    """

    prepare: Callable[[Path, int], None]
    run: Callable[[Path], None]
    full_from: int
    images: int = SCALE
    spread: bool = True


def _prepare_ingest(folder: Path, rows: int) -> None:
    inputs.webvision(folder / "in", rows)


def _ingest(folder: Path) -> None:
    from components.ingest.stage import ingest

    ingest(
        *_outputs(folder, "images", "texts.parquet", "labels", "evaluation"),
        dataset=str(folder / "in"),
        shard_megabytes=_SHARD_MEGABYTES,
    )


def _prepare_texts(folder: Path, rows: int) -> None:
    inputs.texts_and_labels(folder / "in", rows)


def _tagging(folder: Path) -> None:
    from components.tagging.stage import tagging

    # So that there are 35,000 keywords at any size.
    tagging(folder / "in" / "texts.parquet", *_outputs(folder, "keywords"), min_images=2)


def _weighting(folder: Path) -> None:
    from components.weighting.settings import SimilaritySettings
    from components.weighting.stage import weighting

    paths = [folder / "in" / name for name in ("texts.parquet", "labels")]
    weighting(*paths, *_outputs(folder, "weights"), comparing=SimilaritySettings())


def _prepare_wt_pretrain(folder: Path, rows: int) -> None:
    from tests.benchmarks.plan import long_tailed

    inputs.image_set(folder / "in" / "images", rows)
    long_tailed(folder / "in" / "keywords", rows, inputs.NUM_KEYWORDS, pairs=inputs.KEYWORDS)


def _wt_pretrain(folder: Path) -> None:
    """Train for a pass, without pictures and network."""
    import torch

    from components.shared.training import loop, transforms, validation
    from components.shared.training.schedule import Division
    from components.shared.training.settings import TrainingSettings
    from components.wt_pretrain.stage import wt_pretrain
    from tests.synthetic import TRAINING

    def taken(
        model: Any, examples: Iterator[Any], loss: Any, division: Division, *rest: Any
    ) -> torch.Tensor:
        for _ in islice(examples, division.micro_batches):
            pass
        return torch.zeros(())

    shard = json.loads((folder / "in" / "images" / "manifest.json").read_text())["shards"][0]
    settings = TrainingSettings(
        backbone=TRAINING.backbone,
        backbone_args=TRAINING.backbone_args,
        image_size=TRAINING.image_size,
        epochs=1,
        epoch_images=0,
        window_gigabytes=(inputs.WINDOW_SHARDS + 0.5) * shard["bytes"] / 1e9,
    )
    replaced = {
        (transforms, "decoded"): lambda encoded: None,
        (loop, "training_crop"): lambda *arguments: 0,
        (loop, "_gradients"): taken,
        (validation, "_logits"): lambda *arguments: iter(()),
        (transforms, "num_workers"): lambda: _LOADER_WORKERS,
    }
    with _replacing(replaced):
        wt_pretrain(
            folder / "in" / "images",
            folder / "in" / "keywords",
            *_outputs(folder, "model"),
            training=settings,
        )


def _prepare_pseudo_label(folder: Path, rows: int) -> None:
    from tests import tiny_models
    from tests.benchmarks.plan import long_tailed

    inputs.image_set(folder / "in" / "images", rows)
    # Teachers are asked for the given classes.
    labels = long_tailed(folder / "in" / "labels", rows, _SOME_CLASSES, pairs=1)
    for seed in range(_TEACHERS):
        tiny_models.save(folder / "in" / f"model{seed}", labels.names, seed=seed)


def _pseudo_label(folder: Path) -> None:
    from components.pseudo_label.stage import pseudo_label

    with _without_networks():
        pseudo_label(
            folder / "in" / "images",
            folder / "in" / "labels",
            [folder / "in" / f"model{seed}" for seed in range(_TEACHERS)],
            *_outputs(folder, "pseudo_labels"),
        )


def _prepare_ensemble(folder: Path, rows: int) -> None:
    from components.shared.data.evaluation import LABELS, TEST, VALIDATION
    from tests import tiny_models
    from tests.benchmarks.plan import long_tailed

    inputs.image_set(folder / "in" / VALIDATION, rows // 2, "val")
    inputs.image_set(folder / "in" / TEST, rows - rows // 2, "test")
    labels = long_tailed(folder / "in" / LABELS, rows // 2, inputs.NUM_CLASSES, pairs=1)
    for seed in range(_MEMBERS):
        tiny_models.save(folder / "in" / f"model{seed}", labels.names, seed=seed)


def _ensemble(folder: Path) -> None:
    from components.ensemble.stage import ensemble

    with _without_networks():
        ensemble(
            folder / "in",
            [folder / "in" / f"model{seed}" for seed in range(_MEMBERS)],
            *_outputs(folder, "predictions.parquet", "submission.zip", "confusion.json"),
        )


def _outputs(folder: Path, *artifacts: str) -> list[Path]:
    return [folder / "out" / name for name in (*artifacts, "report.html")]


@contextmanager
def _without_networks() -> Iterator[None]:
    """Have classifiers say something random of a few classes, of pictures that are not decoded."""
    import torch

    from components.shared.training import inference, transforms

    said = torch.rand(256, _SOME_CLASSES).mul(4).softmax(dim=1)
    replaced = {
        (transforms, "decoded"): lambda encoded: None,
        (transforms, "evaluation_crop"): lambda *arguments: 0,
        (transforms, "normalized"): lambda crops, device: crops,
        (transforms, "num_workers"): lambda: _LOADER_WORKERS,
        (inference, "softmax"): lambda model, pixels: said[: len(pixels)],
    }
    with _replacing(replaced):
        yield


@contextmanager
def _replacing(replaced: dict[tuple[Any, str], Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for (module, name), value in replaced.items():
            stack.enter_context(mock.patch.object(module, name, value))
        yield


# The parent of `parallel.ordered` keeps three results a core, besides the one at hand.
_WAITING = 3 * cores() + 1
# A tagging worker remembers 2^17 words; of its images' words, 0.4 an image are new.
_REMEMBERED = 2**17 * 5 // 2
STAGES = {
    "ingest": Stage(_prepare_ingest, _ingest, full_from=64 * 6_400),
    "tagging": Stage(_prepare_texts, _tagging, full_from=cores() * _REMEMBERED),
    "weighting": Stage(_prepare_texts, _weighting, full_from=_WAITING * 65_536),
    "wt_pretrain": Stage(
        _prepare_wt_pretrain,
        _wt_pretrain,
        full_from=inputs.WINDOW_SHARDS * inputs.IMAGES_PER_SHARD,
        spread=False,
    ),
    "pseudo_label": Stage(
        _prepare_pseudo_label,
        _pseudo_label,
        full_from=inputs.IMAGES_PER_SHARD,
        spread=False,
    ),
    "ensemble": Stage(
        _prepare_ensemble,
        _ensemble,
        full_from=2 * inputs.IMAGES_PER_SHARD,
        images=600_000,  # for validation and for the test, half each
        spread=False,
    ),
}


def main(name: str, folder: Path) -> None:
    """Run a stage in its folder, and write how long it took."""

    def times() -> list[float]:
        own, others = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        cpu = [each.ru_utime + each.ru_stime for each in (own, others)]
        return [time.monotonic(), *cpu]

    logging.basicConfig(level="WARNING", format=f"%(asctime)s {name}: %(message)s")
    logging.getLogger("components.shared.stage.progress").setLevel("INFO")
    before = times()
    STAGES[name].run(folder)
    taken = [after - begin for after, begin in zip(times(), before, strict=True)]
    usage = dict(zip(("seconds", "parent_cpu", "workers_cpu"), taken, strict=True))
    (folder / "usage.json").write_text(json.dumps(usage))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
