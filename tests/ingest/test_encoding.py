import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from components.ingest import encoding
from components.ingest.encoding import InvalidImageError, stored


def _pixels(width: int, height: int, mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(noise).convert(mode)


def _encoded(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _decoded(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(32, 48), (5, 3)])
def test_a_plain_jpeg_that_is_not_too_large_keeps_its_bytes(
    mode: str, size: tuple[int, int]
) -> None:
    encoded = _encoded(_pixels(*size, mode))

    assert stored(encoded, 32) == encoded


@pytest.mark.parametrize(
    ("size", "expected"), [((66, 33), (64, 32)), ((300, 500), (32, 53)), ((32, 31), (32, 31))]
)
def test_the_short_side_is_reduced_and_never_enlarged(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    image = _decoded(stored(_encoded(_pixels(*size)), 32))

    assert (image.size, image.format) == (expected, "JPEG")


def test_what_is_transparent_becomes_white() -> None:
    image = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 8, 16))

    pixels = np.asarray(_decoded(stored(_encoded(image, "PNG"), 32))).astype(int)

    np.testing.assert_allclose(pixels[2:-2, 10:-1].mean((0, 1)), (255, 255, 255), atol=6)
    np.testing.assert_allclose(pixels[2:-2, 1:6].mean((0, 1)), (0, 0, 255), atol=6)


def test_sixteen_bits_of_grey_are_scaled_not_clipped() -> None:
    image = Image.fromarray(np.full((16, 16), 0x8000, np.uint16))

    pixels = np.asarray(_decoded(stored(_encoded(image, "PNG"), 32)))

    np.testing.assert_allclose(pixels, 0x80, atol=1)


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))

    found = _decoded(stored(_encoded(image), 32))

    assert found.mode == "RGB"
    np.testing.assert_allclose(np.asarray(found).mean((0, 1)), (255, 0, 0), atol=5)


@pytest.mark.parametrize("side", [32, 8])
def test_an_image_is_stored_upright(side: int) -> None:
    image = Image.new("RGB", (32, 16), "black")
    image.paste("white", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the left side is the top

    found = _decoded(stored(_encoded(image, exif=exif), side))

    assert found.width * 2 == found.height
    assert found.getexif().get(0x0112, 1) == 1
    rows = np.asarray(found.convert("L")).mean(1)
    assert rows[: side // 4].min() > 200
    assert rows[-side // 4 :].max() < 50


def test_damaged_exif_data_do_not_keep_an_image_from_being_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    damaged = exif.tobytes().replace(b"\x01\x0f\x00\x02", b"\x01\x0f\x00\x05")  # no fractions

    found = _decoded(stored(_encoded(_pixels(32, 16), exif=damaged), 32))

    assert found.size == (16, 32)


@pytest.mark.parametrize("size", [(70_000, 10), (10, 70_000)])
def test_an_image_longer_than_a_jpeg_can_be_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidImageError) as caught:
        stored(_encoded(Image.new("L", size), "PNG"), 32)

    assert caught.value.kind == "too many pixels"


def test_a_comment_longer_than_a_jpeg_can_have_is_left_out() -> None:
    encoded = _encoded(Image.new("P", (16, 16)), "GIF", comment=b"x" * 70_000)

    assert _decoded(stored(encoded, 32)).size == (16, 16)


@pytest.mark.parametrize("size", [(32, 32), (2_000, 1_500)], ids=["kept", "reduced while decoded"])
@pytest.mark.parametrize("share", [0.5, 0.99])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_image_is_refused(
    size: tuple[int, int], share: float, progressive: bool
) -> None:
    encoded = _encoded(_pixels(*size), progressive=progressive)

    with pytest.raises(InvalidImageError) as caught:
        stored(encoded[: int(share * len(encoded))], 64)

    assert caught.value.kind == "truncated image"


WAYS: list[dict[str, object]] = [
    {},
    {"subsampling": 0},
    {"restart_marker_rows": 1},
    {"restart_marker_blocks": 5},
    {"mode": "L"},
    {"mode": "CMYK"},
]


@pytest.mark.parametrize("side", [32, 512], ids=["reduced", "kept"])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_jpeg_that_is_cut_and_ended_is_refused(
    way: dict[str, object], share: float, side: int
) -> None:
    options = dict(way)
    encoded = _encoded(_pixels(300, 200, str(options.pop("mode", "RGB"))), **options)
    assert stored(encoded, side)

    with pytest.raises(InvalidImageError) as caught:
        stored(encoded[: int(share * len(encoded))] + b"\xff\xd9", side)

    assert caught.value.kind == "truncated image"


@pytest.mark.parametrize("way", [*WAYS, {"progressive": True}], ids=str)
def test_a_whole_jpeg_may_end_in_grey(way: dict[str, object]) -> None:
    options = dict(way)
    mode = str(options.pop("mode", "RGB"))
    image = Image.new(mode, (300, 200), 128 if mode == "L" else (128,) * len(mode))
    image.paste(_pixels(64, 64, mode))

    assert _decoded(stored(_encoded(image, **options), 32)).size == (48, 32)


def _with_an_odd_segment(encoded: bytes) -> bytes:
    """Insert a marker that decoders skip before the end, with a length beyond it."""
    return encoded[:-2] + b"\xff\xec\x10\x00" + encoded[-2:]


@pytest.mark.parametrize(
    "change",
    [
        _with_an_odd_segment,
        lambda encoded: encoded[:20] + b"junk" + encoded[20:],
        lambda encoded: encoded[:-2] + bytes(64),
    ],
    ids=["no end", "junk between segments", "more data and no end"],
)
def test_a_jpeg_that_decoders_read_differently_is_stored_anew(
    change: Callable[[bytes], bytes],
) -> None:
    encoded = _encoded(Image.new("RGB", (64, 64), (9, 99, 199)))
    odd = change(encoded)

    content = stored(odd, 64)

    assert content != odd
    expected = np.asarray(_decoded(encoded)).astype(int)
    np.testing.assert_allclose(np.asarray(_decoded(content)), expected, atol=3)


def test_what_follows_the_end_of_a_jpeg_does_not_matter() -> None:
    encoded = _encoded(_pixels(32, 32)) + b"a phone's film of the moment before"

    assert stored(encoded, 32) == encoded


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    encoded = _encoded(_pixels(16, 16), progressive=True)
    start = encoded.rindex(b"\xff\xda")
    bomb = encoded[:start] + 200 * encoded[start:-2] + encoded[-2:]

    with pytest.raises(InvalidImageError, match="scans"):
        stored(bomb, 64)


@pytest.mark.parametrize("side", [7, 50, 400])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "I;16"])
def test_an_image_is_the_same_in_strips(
    mode: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = _pixels(301, 203)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image)[:, :, 0].astype(np.uint16) << 8)
    else:
        image.putalpha(_pixels(301, 203, "L"))
        image = image.quantize() if mode == "P" else image.convert(mode)
    encoded = _encoded(image, "PNG")
    whole = stored(encoded, side)

    monkeypatch.setattr(encoding, "_STRIP", 10_000)

    assert stored(encoded, side) == whole


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"%!PS-Adobe-3.0"])
def test_what_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidImageError) as caught:
        stored(content, 64)

    assert caught.value.kind == "undecodable image"


def test_a_format_whose_reader_is_not_trusted_is_refused() -> None:
    with pytest.raises(InvalidImageError):
        stored(_encoded(_pixels(16, 16), "EPS"), 64)


def test_a_file_larger_than_an_image_may_need_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = _encoded(_pixels(20, 10))
    monkeypatch.setattr(encoding, "MAX_BYTES", len(encoded) - 1)

    with pytest.raises(InvalidImageError) as caught:
        stored(encoded, 32)

    assert caught.value.kind == "too many bytes"


def test_the_number_of_pixels_is_capped_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = _encoded(_pixels(20, 10))
    monkeypatch.setattr(encoding, "_MAX_PIXELS", 200)
    assert stored(encoded, 32) == encoded

    monkeypatch.setattr(encoding, "_MAX_PIXELS", 199)
    with pytest.raises(InvalidImageError) as caught:
        stored(encoded, 32)

    assert (caught.value.kind, caught.value.detail) == ("too many pixels", "20 × 10")
