"""How long the reports of tagging and weighting take, and what they weigh, at full size.

    python -m tests.benchmarks.text_reports [images]

35,000 keywords of 7 M distinct words, 5,000 concepts, a million images unless told otherwise.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.shared.data.targets import Targets
from components.shared.data.texts import Texts
from components.tagging.report import write_report
from components.tagging.vocabulary import select
from components.weighting.report import draw
from components.weighting.tally import Tally
from components.weighting.weights import Weights
from tests.benchmarks.at_scale_inputs import KEYWORDS, NUM_CLASSES, NUM_KEYWORDS, texts_and_labels
from tests.benchmarks.plan import long_tailed

logger = logging.getLogger("text_reports")
_WORDS, _TEXTS = 7_000_000, 10_000


def draw_both(folder: Path, num_images: int) -> None:
    """Draw both reports twice, for the first time pays for loading Matplotlib's fonts."""
    texts_and_labels(folder, _TEXTS)  # reports look at the first texts only
    texts, labels = Texts(folder / "texts.parquet"), Targets.load(folder / "labels")
    keywords = long_tailed(folder / "keywords", num_images, NUM_KEYWORDS, pairs=KEYWORDS)
    weights = long_tailed(folder / "weights", num_images, NUM_CLASSES, pairs=KEYWORDS)
    images = num_images // np.arange(1, 1 + _WORDS) + 1
    counts = pa.table({"word": [f"word{i}" for i in range(_WORDS)], "images": images})
    vocabulary = select(
        counts, num_images, vocabulary_size=NUM_KEYWORDS, min_images=1, max_share=0.05
    )
    first = slice(_TEXTS * KEYWORDS)
    tally = Tally(KEYWORDS)
    classes = weights.classes[first].astype(np.int64)
    part = Weights(np.full(_TEXTS, KEYWORDS), classes, weights.weights[first], 0)
    tally.add(part, labels.classes[:_TEXTS])
    near = [np.arange(5) for _ in range(NUM_CLASSES)]
    for _ in range(2):
        with timed(folder / "tagging.html") as path:
            write_report(path, texts, keywords, counts, vocabulary, "none")
        with timed(folder / "weighting.html") as path:
            draw(path, texts, labels, weights, near, tally)


@contextmanager
def timed(path: Path) -> Iterator[Path]:
    """Log what the report takes that the block writes to a path."""
    start = time.perf_counter()
    yield path
    seconds, size = time.perf_counter() - start, path.stat().st_size
    logger.info("%s: %.2f s, %.0f kB", path.stem, seconds, size / 1e3)


if __name__ == "__main__":
    logging.basicConfig(level="INFO", format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("images", type=int, nargs="?", default=1_000_000)
    with tempfile.TemporaryDirectory() as temporary:
        draw_both(Path(temporary), parser.parse_args().images)
