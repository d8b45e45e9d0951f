"""How much memory a worker takes for the largest images: `pytest -s -m slow` shows it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MOST_MB = 300
WORKER = """if True:
    import re, sys
    from pathlib import Path
    import components.ingest.shards  # what a worker has loaded
    from components.ingest.encoding import InvalidImageError, stored
    try:
        kept = stored(Path(sys.argv[1]).read_bytes(), int(sys.argv[2]))
        print("stored", end=" ")
    except InvalidImageError as error:
        print(error.kind, end=" ")
    peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())
    print(int(peak[1]) // 1000)
"""
# Format, PIL's mode, options, and the megapixels up to which it is stored.
KINDS: dict[str, tuple[str, str, dict[str, object], int]] = {
    "JPEG": ("JPEG", "RGB", {}, 63),
    "CMYK": ("JPEG", "CMYK", {}, 63),
    "progressive JPEG": ("JPEG", "RGB", {"progressive": True}, 63),
    "progressive JPEG with all its colours": (
        "JPEG",
        "RGB",
        {"progressive": True, "subsampling": 0},
        33,
    ),
    "grey": ("PNG", "L", {}, 63),
    "16 bits of grey": ("PNG", "I;16", {}, 63),
    "palette": ("PNG", "P", {}, 63),
    "palette with transparency": ("PNG", "P", {"transparency": 1}, 63),
    "RGB": ("PNG", "RGB", {}, 51),
    "RGBA": ("PNG", "RGBA", {}, 51),
    "grey and alpha": ("PNG", "LA", {}, 51),
    "GIF": ("GIF", "P", {}, 63),
    "WebP": ("WEBP", "RGB", {"method": 0}, 12),
    "WebP with alpha": ("WEBP", "RGBA", {"method": 0, "lossless": True}, 12),
    "BMP": ("BMP", "RGB", {}, 29),
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", KINDS)
def test_no_image_takes_a_worker_more_memory_than_it_may_have(kind: str, tmp_path: Path) -> None:
    format, mode, options, megapixels = KINDS[kind]
    for millions in sorted({megapixels, 63}):
        # A shade from side to side, so that there is something to encode.
        row = np.linspace(0, 255, 1_000 * millions // 8).astype(np.uint8)
        pixels = np.broadcast_to(row, (8_000, len(row)))
        image = Image.fromarray(pixels.astype(np.uint16) if mode == "I;16" else pixels)
        if mode == "P":
            image.putpalette(bytes(range(256)) * 3)
        image.convert(mode).save(tmp_path / "image", format, **options)
        outcome, peak = worker(tmp_path / "image", 256)
        print(f"{kind} of {millions} megapixels: {outcome}, {peak} MB")
        assert outcome == ("stored" if millions == megapixels else "too many pixels")
        assert peak <= MOST_MB


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("size", "image_side", "expected"),
    [
        ((6_000, 4_000), 1_024, "stored"),
        ((6_000, 4_000), 5_000, "stored"),
        ((7_500, 5_000), 5_000, "too many pixels"),
        ((60_000, 500), 400, "too many pixels"),
    ],
)
def test_neither_takes_one_that_is_turned_and_hardly_reduced(
    size: tuple[int, int], image_side: int, expected: str, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", size).save(tmp_path / "image", "JPEG", exif=exif)

    outcome, peak = worker(tmp_path / "image", image_side)

    assert outcome == expected
    assert peak <= MOST_MB


def worker(path: Path, image_side: int) -> tuple[str, int]:
    """Return what a worker does with an image, and how many MB it takes."""
    command = [sys.executable, "-c", WORKER, str(path), str(image_side)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    outcome, peak = output.rsplit(maxsplit=1)
    return outcome, int(peak)
