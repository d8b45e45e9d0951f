"""Time and memory of a plan at full size: `python -m tests.benchmarks.plan [images]`.

Draws a pass over 16 M images with five of 35,000 keywords each, on a long tail.
"""

import argparse
import logging
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np

from components.shared.data.identity import Identity
from components.shared.data.targets import Targets, TargetsWriter
from components.shared.training.sampling import Plan

logger = logging.getLogger("plan")


def long_tailed(folder: Path, num_images: int, num_classes: int, pairs: int) -> Targets:
    """Write Targets whose classes follow Zipf's law."""
    names = [f"keyword{i}" for i in range(num_classes)]
    shares = np.cumsum(1 / np.arange(1, num_classes + 1))
    random = np.random.default_rng(0)
    with TargetsWriter(folder, names, names, Identity(num_images, "")) as writer:
        for start in range(0, num_images, 1 << 20):
            rows = min(1 << 20, num_images - start)
            classes = np.searchsorted(shares, random.random(rows * pairs) * shares[-1])
            writer.append(np.full(rows, pairs), classes, np.ones(rows * pairs, np.float32))
    return Targets.load(folder)


def measure(targets: Targets, balance_on: str, max_repeats: int) -> None:
    """Log the time to draw a pass and the most memory allocated meanwhile."""
    tracemalloc.start()
    start = time.monotonic()
    plan = Plan(
        targets,
        balance=0.0,
        balance_on=balance_on,  # type: ignore[arg-type]
        max_repeats=max_repeats,
        seed=0,
        shard_images=[10_000] * (len(targets) // 10_000),
        window_shards=125,
    )
    counted = time.monotonic()
    order = plan.order(0)
    drawn = time.monotonic()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    logger.info(
        "balanced on %s: counted in %.1f s, a pass of %s drawn in %.1f s, %.2f GiB, "
        "%.0f %% of the images drawn",
        balance_on,
        counted - start,
        f"{len(order):,}",
        drawn - counted,
        peak / 2**30,
        100 * len(np.unique(order)) / len(order),
    )


if __name__ == "__main__":
    logging.basicConfig(level="INFO", format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=int, nargs="?", default=16_000_000)
    with tempfile.TemporaryDirectory() as temporary:
        targets = long_tailed(Path(temporary) / "t", parser.parse_args().images, 35_000, pairs=5)
        measure(targets, "any", max_repeats=20)
        measure(targets, "strongest", max_repeats=20)
