"""Whether a file is an image, and what of it is stored.

Every image is decoded to its end. One that is a plain upright JPEG and no larger than needed keeps
its bytes; every other is stored as a JPEG of 8 bits, RGB or grey, so that later
stages meet nothing else.

Training decodes with torchvision, which this stage's container lacks. It uses the same libjpeg
as PIL and refuses what PIL lets pass: a file in which no end marker follows the picture. So only a
JPEG whose markers lead to its end is plain.
"""

import io
import math
import re
import warnings
from itertools import pairwise

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

# Readers of PIL that take untrusted files; none runs another program, as EPS would.
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
# What an image may need in memory, its file included; a process takes another 85 MB.
MAX_BYTES = 210_000_000
_MAX_PIXELS = 64_000_000  # 8,000 × 8,000
# Of a pixel, by PIL's mode; four in all others.
_MOST_BYTES = 40  # with all copies, whatever the format
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
_STRIP = 250_000  # pixels that are composed at once
_GAP = 2.0  # how much larger than needed the cheap reductions may leave an image
_QUALITY = 95  # of ImageNet's resized copies; at 256 × 341 pixels 39 kB
_MAX_JPEG_SIDE = 65_500  # of libjpeg
_ORIENTATION = 0x0112  # EXIF
# What turns an image upright, by its orientation. (PIL's `exif_transpose` also writes the EXIF data
# anew, which fails where they are damaged.)
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# A JPEG's markers: between segments, and after a scan's data, which may hold restart markers.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff]")
_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_START_OF_SCAN, _END = 0xDA, 0xD9
# Of frames (not of those that few decoders know), tables, scans, application data, comments.
_PLAIN = {0xC0, 0xC1, 0xC2, 0xC4, _START_OF_SCAN, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE}
_JUNK = 0x00  # where a marker should be
_MAX_MARKERS = 1_000
_MAX_SCANS = 100  # a progressive JPEG has about ten; each costs time, however short it is
# Data that any Huffman table makes something of, before and after each restart marker.
_MORE_DATA = b"".join(bytes([*range(255), 0xFF, 0xD0 + number]) for number in range(8))


class InvalidImageError(Exception):
    """A file that is no image, or not a whole one.

    Attributes:
        kind: As in the table of rejects.
        detail: What the decoder says.
    """

    def __init__(self, kind: str, detail: str) -> None:
        """Say what is wrong."""
        super().__init__(kind, detail)
        self.kind, self.detail = kind, detail


def stored(encoded: bytes, image_side: int) -> bytes:
    """Return the bytes to store for an image: its own wherever possible.

    Args:
        encoded: The file's content.
        image_side: A longer short side is downscaled to it; a shorter one stays.

    Raises:
        InvalidImageError: It is no image, is truncated, or has too many pixels, also on one side.
    """
    if len(encoded) > MAX_BYTES:
        raise InvalidImageError("too many bytes", f"more than {MAX_BYTES:,}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd EXIF data and the like
        image = _opened(encoded)
        width, height = image.size
        if width * height > _MAX_PIXELS:
            raise InvalidImageError("too many pixels", f"{width} × {height}")
        scale = min(1.0, image_side / min(width, height))
        size = round(width * scale), round(height * scale)
        if scale < 1:
            # libjpeg reads the whole file but computes an eighth to half of the resolution; twice
            # what is needed leaves the rest of the reduction to a proper filter.
            image.draft(None, (2 * size[0], 2 * size[1]))
        markers = _markers(encoded) if isinstance(image, JpegImageFile) else []
        _check_effort(image, encoded, markers, width * height, size)
        orientation = _decode(image)
        if markers and _is_cut(image, encoded, markers):
            raise InvalidImageError("truncated image", "its data end before the picture does")
        plain = image.format == "JPEG" and image.mode in ("RGB", "L") and orientation <= 1
        if plain and scale == 1 and _are_plain(markers):
            return encoded
        pixels = _in_8_bits(image, size)
        if orientation > 1:
            pixels = pixels.transpose(_TO_UPRIGHT[orientation])
        if max(pixels.size) > _MAX_JPEG_SIDE:
            raise InvalidImageError("too many pixels", f"{width} × {height}: too long for a JPEG")
        buffer = io.BytesIO()
        # A comment, which PIL would take over, may be too long for a JPEG.
        pixels.save(buffer, "JPEG", quality=_QUALITY, comment=b"")
        return buffer.getvalue()


def _opened(encoded: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(encoded), formats=_FORMATS)
    except UnidentifiedImageError:
        head = encoded[:12]
        detail = f"{len(encoded):,} bytes that begin with {head!r}" if encoded else "empty file"
        raise InvalidImageError("undecodable image", detail) from None
    except Image.DecompressionBombError as error:
        raise InvalidImageError("too many pixels", str(error)) from None
    except Exception as error:  # PIL's readers raise whatever their parsing comes upon
        raise _invalid(error) from None


def _decode(image: Image.Image) -> int:
    """Decode an image to its end; return its orientation."""
    try:
        image.load()
    except Exception as error:  # as above
        raise _invalid(error) from None
    return _orientation(image)


def _orientation(image: Image.Image) -> int:
    """Return an image's EXIF orientation, 1 if it has none."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data are no reason to lose an image that decodes
        return 1
    return orientation if orientation in range(1, 9) else 1


def _invalid(error: Exception) -> InvalidImageError:
    kind = "truncated image" if "truncated" in str(error).lower() else "undecodable image"
    return InvalidImageError(kind, f"{type(error).__name__}: {error}")


def _markers(encoded: bytes) -> list[tuple[int, int]]:
    """Return codes and positions of a JPEG's markers up to the end marker, as libjpeg finds them.

    Without the first, which starts the image. What is in a marker's place is `_JUNK`.
    """
    found: list[tuple[int, int]] = []
    position, pattern = 2, _NEXT_MARKER
    while len(found) < _MAX_MARKERS and (match := pattern.search(encoded, position)):
        start, end = match.span()
        if start > position and pattern is _NEXT_MARKER and encoded[position:start].strip(b"\xff"):
            found.append((_JUNK, position))
        code = encoded[end - 1]
        found.append((code, start))
        if code == _END:
            break
        position = end + int.from_bytes(encoded[end : end + 2])
        pattern = _SCAN_END if code == _START_OF_SCAN else _NEXT_MARKER
    return found


def _are_plain(markers: list[tuple[int, int]]) -> bool:
    return markers[-1][0] == _END and all(code in _PLAIN for code, _ in markers[:-1])


def _check_effort(
    image: Image.Image,
    encoded: bytes,
    markers: list[tuple[int, int]],
    num_pixels: int,
    size: tuple[int, int],
) -> None:
    """Check that an image does not take too much memory or time to decode and reduce.

    Args:
        image: Not decoded, but maybe with a reduction while it will be.
        encoded: Its file's content.
        markers: If it is a JPEG.
        num_pixels: Before any reduction.
        size: After all.

    Raises:
        InvalidImageError: It does.
    """
    scans = [position for code, position in markers if code == _START_OF_SCAN]
    if len(scans) > _MAX_SCANS:
        raise InvalidImageError("undecodable image", f"{len(scans)} scans")
    if 3 * len(encoded) + _MOST_BYTES * num_pixels < MAX_BYTES:
        return
    width, height = image.size
    needed = len(encoded) + _BYTES.get(image.mode, 4) * width * height
    if image.format == "WEBP":  # its decoder holds three more copies in four bytes
        needed += 12 * width * height + 2 * len(encoded)
    if scans and isinstance(image, JpegImageFile):
        interleaved = encoded[scans[0] + 4 : scans[0] + 5] == bytes([image.layers])
        if "progressive" in image.info or not interleaved:
            # libjpeg holds all coefficients, of two bytes, whatever it reduces the image to.
            areas = [across * down for _, across, down, _ in image.layer]
            needed += 2 * num_pixels * sum(areas) // max(1, *areas)
    across, down = _factors(image.size, size)
    reduced = math.ceil(width / across) * math.ceil(height / down)
    if reduced < width * height or not _is_in_8_bits(image):
        needed += 4 * reduced
    result = 4 * size[0] * size[1]
    # PIL resizes across, then down. Other formats may have their orientation behind the pixels.
    between = 4 * size[0] * math.ceil(height / down) if size != image.size else 0
    turned = result if not isinstance(image, JpegImageFile) or _orientation(image) > 1 else 0
    needed += (result if size != image.size else 0) + max(between, turned)
    if needed > MAX_BYTES:
        detail = f"{image.mode} of {num_pixels:,} pixels, which takes {needed / 1e6:,.0f} MB"
        raise InvalidImageError("too many pixels", detail)


def _is_cut(image: Image.Image, encoded: bytes, markers: list[tuple[int, int]]) -> bool:
    """Return whether a decoded JPEG's first scan ends before the picture does.

    libjpeg lets it pass, and makes what is missing grey. More data before the marker that ends the
    scan change such a picture; if it is whole, they are never read.
    """
    corner = image.getpixel((image.width - 1, image.height - 1))
    if not set(corner if isinstance(corner, tuple) else [corner]) <= {127, 128}:
        return False
    ends = (end for (code, _), (_, end) in pairwise(markers) if code == _START_OF_SCAN)
    end = next(ends, len(encoded))
    return _small(encoded) != _small(encoded[:end] + _MORE_DATA + encoded[end:])


def _small(encoded: bytes) -> bytes:
    """Return the pixels of a JPEG at an eighth of its size; none if it cannot be decoded."""
    image = _opened(encoded)
    image.draft(None, (1, 1))
    try:
        return image.tobytes()
    except OSError:
        return b""


def _factors(size: tuple[int, int], reduced: tuple[int, int]) -> tuple[int, int]:
    """Return by how much a cheap filter reduces an image, across and down, before a proper one."""
    across, down = (int(side / new / _GAP) for side, new in zip(size, reduced, strict=True))
    return max(across, 1), max(down, 1)


def _is_in_8_bits(image: Image.Image) -> bool:
    return image.mode in ("RGB", "L") and not image.has_transparency_data


def _in_8_bits(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return an image of a size in 8 bits, RGB or grey; what is transparent becomes white.

    Whatever needs copies in four bytes is done in strips: a palette image of 62 million pixels
    would take 0.8 GB.
    """
    width, height = image.size
    across, down = _factors(image.size, size)
    if _is_in_8_bits(image):
        reduced = image if (across, down) == (1, 1) else image.reduce((across, down))
    else:
        mode = "L" if image.mode.startswith("I") else "RGB"
        reduced = Image.new(mode, (math.ceil(width / across), math.ceil(height / down)))
        rows = max(1, _STRIP // width // down)  # of the reduced image
        for row in range(0, reduced.height, rows):
            strip = image.crop((0, row * down, width, min((row + rows) * down, height)))
            reduced.paste(_composed(strip).reduce((across, down)), (0, row))
    if reduced.size == size:
        return reduced
    box = (0, 0, width / across, height / down)
    return reduced.resize(size, Image.Resampling.BICUBIC, box)


def _composed(image: Image.Image) -> Image.Image:
    """Return an image in 8 bits, RGB or grey; what is transparent becomes white."""
    if image.mode.startswith("I"):  # 16 bits of grey, which PIL would clip
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours)
    return image if image.mode in ("RGB", "L") else image.convert("RGB")
