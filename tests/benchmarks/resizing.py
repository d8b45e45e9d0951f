"""Photographs that a core checks, reduces and encodes per second at ingest, and img2dataset's.

    uv pip install img2dataset
    python -m tests.benchmarks.resizing [photos.tar]

To 256 pixels on the short side, at JPEG's quality 95, where they are larger. Ours tells what cannot
be decoded or is cut, and keeps colours and orientation right; img2dataset's `Resizer` reduces by
OpenCV, averaging areas. The limit is PIL's decoder alone, at the full size. One core; what counts
is processor time.
"""

import argparse
import tarfile
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

from PIL import Image

from components.ingest.encoding import stored
from tests.benchmarks.rounds import interleaved, machine, on_one_core, print_table, ratio

SIDE, OURS = 256, "ours"


def contestants(photos: list[bytes]) -> Mapping[str, Callable[[], object]]:
    """Return what is measured, each for all photographs; img2dataset's if it is installed."""
    found: dict[str, Callable[[], object]] = {
        OURS: lambda: [stored(photo, SIDE) for photo in photos],
        "ours, none too large": lambda: [stored(photo, 1 << 16) for photo in photos],
        "PIL's decoder": lambda: [Image.open(BytesIO(photo)).load() for photo in photos],
    }
    try:
        from img2dataset.resizer import Resizer
    except ImportError as error:
        print(f"without img2dataset: {error}\n")
        return found
    resizer = Resizer(
        SIDE,
        "keep_ratio",
        resize_only_if_bigger=True,
        encode_quality=95,
        skip_reencode=True,
        downscale_interpolation="area",
    )
    return found | {"img2dataset": lambda: [resizer(BytesIO(photo)) for photo in photos]}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="?", default="../shared/data/photos.tar")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if not arguments.photos.is_file():
        raise SystemExit(f"{arguments.photos}: not there; give a tar of photographs")
    on_one_core()
    with tarfile.open(arguments.photos) as tar:
        files = [tar.extractfile(member) for member in tar if member.isfile()]
        photos = [file.read() for file in files if file]
    print(f"one core of: {machine()}; {len(photos)} photographs\n")
    seconds = interleaved(contestants(photos), arguments.rounds, time.process_time)
    print_table(
        ["", "images/s", "times ours takes"],
        (
            [name, f"{len(photos) / min(each):.0f}", f"{ratio(seconds, OURS, name):.2f}"]
            for name, each in seconds.items()
        ),
    )


if __name__ == "__main__":
    main()
