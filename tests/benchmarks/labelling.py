"""Time and private memory of `pseudo_label`: `python -m tests.benchmarks.labelling`.

Labels 10,000 and then 100,000 drawn images with two tiny networks, on one core; then does what the
first process does at the end for 16 M images whose parts are all there.
"""

import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from components.pseudo_label import report  # noqa: F401 (matplotlib's memory is not the images')
from components.pseudo_label.stage import pseudo_label
from components.shared.data.identity import Identity
from components.shared.data.image_set import INDEX
from components.shared.data.targets import TargetsWriter
from components.shared.storage.resume import Parts
from components.shared.storage.resume import folder as folder_of
from tests import tiny_models
from tests.synthetic import COLOURS, coloured_squares, image_set, targets

logger = logging.getLogger("labelling")
SHARDS, IMAGES_PER_SHARD, CLASSES, TOP_K, BATCH_SIZE = 2_000, 8_000, 5_000, 5, 256


@contextmanager
def measured(num_images: int) -> Iterator[None]:
    """Log how long the block takes, and by how much this process's own memory grows meanwhile."""
    ended, before = threading.Event(), private_bytes()
    peak = before

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.02):
            peak = max(peak, private_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    yield
    seconds = time.process_time() - start
    ended.set()
    watcher.join()
    logger.info(
        "%s images: %.0f per second, %.0f MiB",
        f"{num_images:,}",
        num_images / seconds,
        (peak - before) / 2**20,
    )


def private_bytes() -> int:
    """Return this process's memory without what is memory-mapped from files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("RssAnon:")]
    return 1024 * int(line.split()[1])


def run(folder: Path, models: list[Path]) -> None:
    """Label the images of a folder."""
    pseudo_label(
        folder / "images",
        folder / "labels",
        models,
        folder / "pseudo_labels",
        folder / "report.html",
        top_k=TOP_K,
        keep_share=0.9,
        batch_size=BATCH_SIZE,
    )


def drawn(folder: Path, num_images: int, models: list[Path]) -> None:
    """Measure the labelling of drawn images."""
    pictures, colours = coloured_squares(num_images, 32, seed=0)
    images = image_set(folder, pictures, images_per_shard=2_000)
    targets(folder / "labels", images.identity, [[(c, 1.0)] for c in colours], COLOURS)
    del pictures
    with measured(num_images):
        run(folder, models)


def said(shard: int) -> dict[str, NDArray[Any]]:
    """Return what a teacher says of a shard: of the given class, the first, and of no text."""
    random, shape = np.random.default_rng(shard), (1, IMAGES_PER_SHARD, TOP_K)
    classes = random.integers(0, CLASSES, shape, np.int32)
    shares = -np.sort(-random.random(shape, np.float32) / TOP_K, axis=2)
    asked = np.column_stack([shares[0, :, 0], np.zeros(IMAGES_PER_SHARD, np.float32)])
    return {"classes": classes, "probabilities": shares, "asked": asked}


def ended(folder: Path) -> None:
    """Measure the end of a full-size run, from parts that agree with the given labels."""
    names = [f"n{number:08d}" for number in range(CLASSES)]
    model = tiny_models.save(folder / "model", names)
    identity = Identity(SHARDS * IMAGES_PER_SHARD, "")
    (folder / "images").mkdir()
    np.save(folder / "images" / "index.npy", np.zeros(identity.images, INDEX))
    shard = {"uri": "gone.tar", "bytes": 1, "images": IMAGES_PER_SHARD, "sha256": ""}
    manifest = {
        "images": identity.images,
        "digest": identity.digest,
        "preprocessing": {"image_side": 256},
        "shards": [shard] * SHARDS,
    }
    (folder / "images" / "manifest.json").write_text(json.dumps(manifest))
    with TargetsWriter(folder / "labels", names, names, identity) as writer:
        for number in range(SHARDS):
            given = said(number)["classes"][0, :, 0]
            writer.append(np.ones(len(given)), given, np.ones(len(given)))
    inputs = [folder / "images", folder / "labels", None, model]
    settings = {"top_k": TOP_K, "batch_size": BATCH_SIZE, "views": "one"}
    parts = Parts(folder_of("pseudo_label", inputs, **settings))
    for number in range(SHARDS):
        parts.save(number, said(number))
    with measured(identity.images):
        run(folder, [model])


if __name__ == "__main__":
    logging.basicConfig(level="INFO", format="%(message)s")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        os.environ["WEBLY_CHECKPOINTS"] = str(root / "checkpoints")
        teachers = [tiny_models.save(root / str(seed), COLOURS, seed=seed) for seed in (0, 1)]
        for number in (10_000, 100_000):
            drawn(root / f"{number}", number, teachers)
        (root / "full").mkdir()
        ended(root / "full")
