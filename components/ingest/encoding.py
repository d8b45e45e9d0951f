"""Whether a file is an image, and what of it is stored.

Every image is decoded to its end. One that is a plain upright JPEG and no larger than needed keeps
its bytes; every other is stored as a JPEG of 8 bits, RGB or grey, so that later
stages meet nothing else.
"""

import io
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

# Readers of PIL that take untrusted files; none runs another program, as EPS would.
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
# The largest image to decode: 8,000 × 8,000 pixels take 192 MB.
_MAX_PIXELS = 64_000_000
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd EXIF data and the like
        image = _opened(encoded)
        width, height = image.size
        if width * height > _MAX_PIXELS:
            raise InvalidImageError("too many pixels", f"{width} × {height}")
        scale = image_side / min(width, height)
        size = round(width * scale), round(height * scale)
        if scale < 1:
            # libjpeg reads the whole file but computes an eighth to half of the resolution; twice
            # what is needed leaves the rest of the reduction to a proper filter.
            image.draft(None, (2 * size[0], 2 * size[1]))
        orientation = _decode(image)
        plain = image.format == "JPEG" and image.mode in ("RGB", "L") and orientation <= 1
        if plain and scale >= 1:
            return encoded
        pixels = _in_8_bits(image)
        if scale < 1:
            pixels = pixels.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
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
    """Decode an image to its end; return its EXIF orientation, 1 if it has none."""
    try:
        image.load()
    except Exception as error:  # as above
        raise _invalid(error) from None
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data are no reason to lose an image that decodes
        return 1
    return orientation if orientation in range(1, 9) else 1


def _invalid(error: Exception) -> InvalidImageError:
    kind = "truncated image" if "truncated" in str(error).lower() else "undecodable image"
    return InvalidImageError(kind, f"{type(error).__name__}: {error}")


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Return an image in 8 bits, RGB or grey; what is transparent becomes white."""
    if image.mode.startswith("I"):  # 16 bits of grey, which PIL would clip
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours)
    return image if image.mode in ("RGB", "L") else image.convert("RGB")
