"""Photographs a core classifies per second, and what of that is decoding: images/s and ratios.

    python -m tests.benchmarks.pictures [photos.tar]

The limit is torchvision's decoder and a crop of 224 pixels, without telling what cannot be decoded.
Ingest's checks decode each image once more. One core, no workers; what counts is processor time.
"""

import argparse
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from components.ingest.encoding import stored
from components.shared.training.transforms import decoded, evaluation_crop
from components.shared.training.views import Crop
from pipelines.prediction import pictures
from pipelines.prediction.classifying import classified
from tests import tiny_models
from tests.benchmarks.rounds import interleaved, machine, on_one_core, print_table, ratio

SIZE = 224
LIMIT = "decoded and cropped"


def contestants(folder: Path, model: Path) -> Mapping[str, Callable[[], object]]:
    """Return what is measured, each for all pictures of a folder."""
    files = pictures.find([folder])

    def crops(content: Callable[[bytes], bytes]) -> None:
        for file in files:
            evaluation_crop(decoded(memoryview(content(file.read_bytes()))), SIZE)

    return {
        LIMIT: lambda: crops(lambda encoded: encoded),
        "with ingest's checks": lambda: crops(lambda encoded: stored(encoded, 1_024)),
        "predict's pictures": lambda: [*pictures.batches(files, [Crop(SIZE)], workers=0)],
        "predict, a tiny network": lambda: [*classified([model], files, 5, 0, "one")],
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="?", default="../shared/data/photos.tar")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    if not arguments.photos.is_file():
        raise SystemExit(f"{arguments.photos}: not there; give a tar of photographs")
    on_one_core()
    with tempfile.TemporaryDirectory() as temporary:
        with tarfile.open(arguments.photos) as tar:
            tar.extractall(Path(temporary, "photos"), filter="data")
        names = [f"class {number}" for number in range(10)]
        model = tiny_models.save(Path(temporary, "model"), names, image_size=SIZE)
        folder = Path(temporary, "photos")
        count = len(pictures.find([folder]))
        seconds = interleaved(contestants(folder, model), arguments.rounds, time.process_time)
    print(f"{count} photographs, one core of: {machine()}\n")
    rows = (
        [name, f"{count * len(each) / sum(each):.0f}", f"{ratio(seconds, LIMIT, name):.2f}"]
        for name, each in seconds.items()
    )
    print_table(["", "images/s", "times the limit takes"], rows)


if __name__ == "__main__":
    main()
