"""Damages images at random and checks what ingest keeps of them: training's decoder must take it.

    python -m tests.ingest.mutations 100000 [SEED]

Prints how many of them were kept, stored anew, or rejected, and stops at the first that ingest or
training fails on, whose bytes it leaves in a file.
"""

import faulthandler
import io
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from components.ingest.encoding import InvalidImageError, stored
from components.shared.stage import standard_error
from components.shared.training.transforms import decoded

Mutation = Callable[[bytes, np.random.Generator], bytes]
MOST_SECONDS = 30.0  # for one image


def sources() -> dict[str, list[bytes]]:
    """Return whole images by format, of all the ways to write it that PIL has."""
    ramp = np.add.outer(np.arange(48), np.arange(60)).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 64, (48, 60, 3), np.uint8)
    image = Image.fromarray(noise + ramp[:, :, None])
    exif = Image.Exif()
    exif[0x0112] = 6

    def encoded(image: Image.Image, format: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, format, **options)
        return buffer.getvalue()

    half = image.convert("RGBA")
    half.putalpha(Image.fromarray(ramp))
    jpegs = [{}, {"progressive": True}, {"subsampling": 0}, {"exif": exif}, {"optimize": True}]
    jpegs += [{"restart_marker_rows": 1}, {"restart_marker_blocks": 3, "progressive": True}]
    return {
        "JPEG": [
            *(encoded(image, "JPEG", **options) for options in jpegs),
            *(encoded(image.convert(mode), "JPEG") for mode in ("L", "CMYK")),
            encoded(image.resize((640, 512)), "JPEG", quality=60),
            encoded(image, "MPO", save_all=True, append_images=[image]),
        ],
        "PNG": [
            *(encoded(image.convert(mode), "PNG") for mode in ("RGB", "L", "P", "1")),
            encoded(half, "PNG"),
            encoded(Image.fromarray(ramp.astype(np.uint16) << 8), "PNG"),
        ],
        "GIF": [encoded(image, "GIF"), encoded(image, "GIF", save_all=True, append_images=[half])],
        "WEBP": [encoded(image, "WEBP"), encoded(half, "WEBP", lossless=True)],
        "BMP": [encoded(image, "BMP"), encoded(image.convert("P"), "BMP")],
    }


def _place(content: bytes, random: np.random.Generator, most: int) -> slice:
    start = int(random.integers(len(content)))
    return slice(start, start + int(random.integers(1, most)))


def change_bytes(content: bytes, random: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(random.integers(1, 4)):
        changed[random.integers(len(changed))] = random.integers(256)
    return bytes(changed)


def flip_a_bit(content: bytes, random: np.random.Generator) -> bytes:
    changed = bytearray(content)
    changed[random.integers(len(changed))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def zero(content: bytes, random: np.random.Generator) -> bytes:
    place = _place(content, random, 513)
    return content[: place.start] + bytes(len(content[place])) + content[place.stop :]


def remove(content: bytes, random: np.random.Generator) -> bytes:
    place = _place(content, random, 65)
    return content[: place.start] + content[place.stop :]


def repeat(content: bytes, random: np.random.Generator) -> bytes:
    place = _place(content, random, 257)
    return content[: place.stop] + content[place] + content[place.stop :]


def insert(content: bytes, random: np.random.Generator) -> bytes:
    place = _place(content, random, 17)
    return content[: place.start] + random.bytes(place.stop - place.start) + content[place.start :]


def insert_a_marker(content: bytes, random: np.random.Generator) -> bytes:
    start = int(random.integers(len(content)))
    marker = bytes([0xFF, random.integers(0xC0, 0xFF)])
    return content[:start] + marker + content[start + 2 * int(random.integers(2)) :]


def cut(content: bytes, random: np.random.Generator) -> bytes:
    return content[: random.integers(len(content))]


def cut_a_few(content: bytes, random: np.random.Generator) -> bytes:
    return content[: -int(random.integers(1, 40))]


def cut_and_end(content: bytes, random: np.random.Generator) -> bytes:
    return cut(content, random) + b"\xff\xd9"


def append(content: bytes, random: np.random.Generator) -> bytes:
    return content + random.bytes(int(random.integers(1, 100)))


MUTATIONS: list[Mutation] = [
    change_bytes,
    flip_a_bit,
    zero,
    remove,
    repeat,
    insert,
    insert_a_marker,
    cut,
    cut_a_few,
    cut_and_end,
    append,
]


def mutated(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield damaged images with their formats, half of them JPEGs, each by one or two mutations."""
    random = np.random.default_rng(seed)
    originals = sources()
    for _ in range(count):
        format = "JPEG" if random.random() < 0.5 else str(random.choice(list(originals)))
        content = originals[format][random.integers(len(originals[format]))]
        for _ in range(random.integers(1, 3)):
            content = MUTATIONS[random.integers(len(MUTATIONS))](content, random) or b"\0"
        yield format, content


def check(content: bytes, image_side: int) -> str:
    """Return what ingest does with an image; check that training decodes what it keeps.

    Raises:
        Exception: Ingest fails other than by rejecting it, or training's decoder refuses it.
    """
    try:
        kept = stored(content, image_side)
    except InvalidImageError as error:
        return error.kind
    with Image.open(io.BytesIO(kept)) as image:
        size = image.size
        assert tuple(decoded(memoryview(kept)).shape) == (3, size[1], size[0])
    return "kept" if kept == content else "stored anew"


def main(count: int, seed: int) -> None:
    found: Counter[tuple[str, str]] = Counter()
    slowest, random = 0.0, np.random.default_rng(seed)
    for format, content in mutated(count, seed):
        start = time.monotonic()
        faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)
        try:
            with standard_error.captured():
                found[format, check(content, int(random.choice([32, 512])))] += 1
        except Exception:
            path = Path(tempfile.gettempdir()) / "failed-image"
            path.write_bytes(content)
            print(f"{path}: after {found.total():,} images, seed {seed}")
            raise
        slowest = max(slowest, time.monotonic() - start)
    for (format, outcome), number in sorted(found.items()):
        print(f"{format:5} {outcome:20} {number:7,}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    print(f"{found.total():,} images; the slowest took {slowest:.2f} s; at most {peak:,} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 0)
