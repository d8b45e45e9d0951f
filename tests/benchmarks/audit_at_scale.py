"""Time and memory of the audit's passes at full size: `python -m tests.benchmarks.audit_at_scale`.

Near-duplicates among 16 M random hashes; and the selection of suspects among a million images of
5,000 classes, from predictions that are there. Each in a process of its own, on one core.
"""

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.audit.duplicates import Pairs
from components.audit.selection import select
from components.audit.tables import PredictionsWriter
from components.shared.data.identity import Identity
from components.shared.data.image_set import INDEX, ImageSet
from components.shared.data.targets import Targets
from components.shared.storage.shard_cache import Shard
from components.shared.training.evidence import Texts
from components.shared.training.inference import ShardPredictions
from tests.benchmarks.rounds import on_one_core

HASHES, IMAGES, CLASSES, TOP_K, SHARD = 16_000_000, 1_000_000, 5_000, 5, 8_000


def duplicates() -> None:
    """Find near-duplicates."""
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, (HASHES, 2), np.uint64)
    Pairs.found(hashes, random.integers(0, CLASSES, HASHES))


def suspects() -> None:
    """Select suspects; three in ten labels are random."""
    random = np.random.default_rng(0)
    ids = pa.chunked_array([[f"google/q{i // 300:05}/{i:014}.jpg" for i in range(IMAGES)]])
    names = [f"n{number:08}" for number in range(CLASSES)]
    identity = Identity(IMAGES, "")
    true = random.integers(0, CLASSES, IMAGES)
    labels = np.where(random.random(IMAGES) < 0.7, true, random.integers(0, CLASSES, IMAGES))
    offsets, ones = np.arange(IMAGES + 1), np.ones(IMAGES, np.float32)
    given = Targets(offsets, labels.astype(np.int32), ones, names, names, identity)
    weights = Targets(offsets, true.astype(np.int32), ones, names, names, identity)
    texts = Texts(weights, given, 0.5)

    def parts() -> Iterator[ShardPredictions]:
        for start in range(0, IMAGES, SHARD):
            numbers = np.arange(start, start + SHARD)
            classes = (true[numbers][:, None] + np.arange(TOP_K)) % CLASSES
            q = np.tile(np.array([0.6, 0.1, 0.05, 0.02, 0.01], np.float32), (SHARD, 1))
            asked = np.stack([np.where(labels[numbers] == true[numbers], 0.6, 1e-4), q[:, 0]], 1)
            yield ShardPredictions(
                numbers, classes[None].astype(np.int32), q[None], asked.astype(np.float32)
            )

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shard = Shard(uri="gone.tar", bytes=1, images=IMAGES, sha256="")
        index = np.zeros(IMAGES, INDEX)
        ImageSet.save(folder / "images", [shard], index, ids, image_side=1, counts={})
        images, path = ImageSet.load(folder / "images"), folder / "predictions"
        with PredictionsWriter(path, images, given, np.zeros(IMAGES, np.int32)) as writer:
            found = select(parts, texts, 0.05, CLASSES, writer)
        size = path.stat().st_size / 1e6
        print(f"{len(found.suspects.numbers):,} suspects, {size:.0f} MB of predictions")


def measured(work: Callable[[], None]) -> None:
    """Print how long a process takes, and its largest size."""
    on_one_core()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    work()
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{work.__name__}: {seconds:.0f} s, {peak / 1e6:.2f} GB ({before / 1e6:.2f} before)")


if __name__ == "__main__":
    for each in (duplicates, suspects):
        process = multiprocessing.get_context("spawn").Process(target=measured, args=(each,))
        process.start()
        process.join()
