"""How much memory ingest's index and plan take: `python -m tests.benchmarks.ingest_memory 2000000`.

Simulates a training list of so many images and archives that hold them in another order, then plans
as ingest does. What a process of this project has before that is measured and left out.
"""

import logging
import resource
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.ingest import lists, plan
from components.ingest.dataset import DataSet, FileList, Files, Text, id_hash
from components.ingest.text_parts import NUM_ROWS

NUM_CLASSES, FILES_PER_ARCHIVE = 5_000, 500_000


class _NoTexts:
    def __call__(self, id: str, record: str) -> Text:
        return Text()


def _no_ids(container: str) -> Iterator[str]:
    return iter(())


def _id(number: int) -> str:
    return f"google/q{number % 12_597:05d}/{number:012x}M.jpg"


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(num_images: int) -> None:
    """Print the peak of memory, per image, after each step."""
    logging.basicConfig(level="INFO", format="%(message)s")
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "train_filelist_google.txt"
        with path.open("w") as file:
            file.writelines(f"{_id(i)} {i % NUM_CLASSES}\n" for i in range(num_images))
        before, start, files = _peak(), time.monotonic(), Files()

        def report(step: str) -> None:
            used, seconds = _peak() - before, time.monotonic() - start
            logging.info("%-8s %5.1f bytes an image, %6.1f s", step, used / num_images, seconds)

        # An archive takes every so-many-th image, so that the two orders differ.
        archives = -(-num_images // FILES_PER_ARCHIVE)
        for archive in range(archives):
            hashes = array("Q", (id_hash(_id(i)) for i in range(archive, num_images, archives)))
            columns = array("I", np.arange(len(hashes), dtype=np.uint32).tobytes())
            files.add(f"{archive}.tar", hashes, columns, columns)
        report("archives")
        names = [f"n{label:08d}" for label in range(NUM_CLASSES)]
        found = [FileList(path, "train", "google")]
        data = DataSet(names, None, found, files, _no_ids, _NoTexts(), [], "", "")
        blocks = lists.blocks(found, NUM_ROWS)
        planned = plan.make(data, blocks, limit=0, validation_share=0.05, seed=0)
        assert len(planned.files) == num_images
        report("plan")
        planned.digest()


if __name__ == "__main__":
    main(int(sys.argv[1]))
