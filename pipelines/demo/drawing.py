"""Draws a depiction as a JPEG: a scene, a figure with its pattern, light, weather and noise."""

import io

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from pipelines.demo.canvas import CANVAS, OVERSAMPLING, SIDE, Color, darker, flat, jittered
from pipelines.demo.concepts import COLORS, CONCEPTS, Concept, Depiction
from pipelines.demo.figures import ellipse, figure, stroke
from pipelines.demo.patterns import motifs
from pipelines.demo.scenes import scene

_SCALES = {"small": (0.56, 0.66), "medium": (0.72, 0.84), "large": (0.9, 1.0)}  # of the picture
_LARGEST_TURN = {"beetle": 0.6, "kite": 0.4, "fish": 0.35}  # radians, by family
_PARTS: dict[str, Color] = {
    "dark": (44, 42, 52),
    "pale": (238, 228, 206),
    "stem": (78, 132, 74),
    "basket": (150, 106, 64),
}
_FOG = np.array([214, 218, 222], np.float32)


def draw(depiction: Depiction, rng: Generator) -> bytes:
    """Return a picture of `SIDE` × `SIDE` pixels as JPEG, determined by the state of `rng`."""
    canvas = scene(depiction.scene, rng)
    if depiction.concept is None:
        _clutter(canvas, rng)
    else:
        _figure(canvas, depiction, depiction.concept, rng)
    if rng.random() < 0.25:
        _occlude(canvas, rng)
    if depiction.weather == "rain":
        _rain(canvas, rng)
    return _encode(_light(canvas.reduce(OVERSAMPLING), depiction.weather, rng), rng)


def _figure(canvas: Image.Image, depiction: Depiction, concept: Concept, rng: Generator) -> None:
    placement = _placement(depiction.size, CONCEPTS[concept.figure].family, rng)
    color = jittered(COLORS[depiction.color], rng)
    accent = jittered(COLORS[depiction.accent], rng)
    shade = jittered(darker(COLORS[depiction.color], 0.74), rng, 6)
    colors = _PARTS | {"shade": shade, "accent": accent}
    edge = jittered(darker(color, 0.55), rng, 0)

    parts = [
        (role, flat(outline @ placement[:2] + placement[2]))
        for role, outline in figure(concept.figure)
    ]
    first = next(i for i, (role, _) in enumerate(parts) if role == "body")
    mask = Image.new("L", canvas.size)
    pen, mask_pen = ImageDraw.Draw(canvas), ImageDraw.Draw(mask)
    for role, points in parts[:first]:
        pen.polygon(points, fill=colors[role])
    for role, points in parts[first:]:
        if role == "body":
            mask_pen.polygon(points, fill=255)
            pen.line([*points, *points[:4]], fill=edge, width=2 * OVERSAMPLING)
    canvas.paste(_cloth(depiction.pattern, color, accent, placement, rng), mask=mask)
    for role, points in parts[first:]:
        if role != "body":
            pen.polygon(points, fill=colors[role])


def _placement(size: str, family: str, rng: Generator) -> NDArray[np.float64]:
    """Return an affine map (3, 2) from a figure's frame to the canvas."""
    scale = rng.uniform(*_SCALES[size]) * CANVAS / 2.15
    limit = _LARGEST_TURN.get(family, 0.22)
    turn, shear = rng.uniform(-limit, limit), rng.normal(0, 0.1)
    flip = rng.choice([-1.0, 1.0])
    stretch = np.exp(rng.normal(0, 0.09))
    cosine, sine = np.cos(turn), np.sin(turn)
    matrix = np.array([[flip * stretch, 0.0], [shear, 1 / stretch]])
    matrix = scale * matrix @ np.array([[cosine, sine], [-sine, cosine]])
    free = max(0.0, CANVAS / 2 - 0.9 * scale)
    centre = CANVAS / 2 + rng.uniform(-free, free, 2)
    return np.vstack([matrix, centre])


def _cloth(
    name: str, color: Color, accent: Color, placement: NDArray[np.float64], rng: Generator
) -> Image.Image:
    layer = Image.new("RGB", (CANVAS, CANVAS), color)
    pen = ImageDraw.Draw(layer)
    for outline in motifs(name, rng):
        pen.polygon(flat(outline @ placement[:2] + placement[2]), fill=accent)
    return layer


def _clutter(canvas: Image.Image, rng: Generator) -> None:
    """Draw what no concept is: a heap of boxes, discs and bars."""
    pen = ImageDraw.Draw(canvas)
    names = list(COLORS)
    for _ in range(rng.integers(3, 8)):
        x, y = rng.uniform(0.1, 0.9, 2)
        width, height = rng.uniform(0.05, 0.25, 2)
        color = jittered(COLORS[names[rng.integers(len(names))]], rng)
        outline = ellipse(x, y, width, height, rng.uniform(0, 3))
        pen.polygon(flat(outline[:: rng.choice([1, 8, 10])] * CANVAS), fill=color)


def _occlude(canvas: Image.Image, rng: Generator) -> None:
    """Draw blades of grass, or a post, in front."""
    pen = ImageDraw.Draw(canvas)
    if rng.random() < 0.35:
        x, lean = rng.uniform(0, 1), rng.normal(0, 0.15)
        post = stroke([(x, -0.1), (x + lean, 1.1)], rng.uniform(0.05, 0.13))
        pen.polygon(flat(post * CANVAS), fill=jittered((120, 104, 92), rng))
        return
    color = jittered((70, 112, 64), rng)
    for x in rng.uniform(0, 1, rng.integers(3, 8)):
        tip = (x + rng.normal(0, 0.12), rng.uniform(0.35, 0.7))
        blade = np.array([(x - 0.03, 1.05), tip, (x + 0.03, 1.05)])
        pen.polygon(flat(blade * CANVAS), fill=color)


def _rain(canvas: Image.Image, rng: Generator) -> None:
    pen = ImageDraw.Draw(canvas)
    slant, length = rng.uniform(-0.05, 0.05) * CANVAS, 0.13 * CANVAS
    for x, y in rng.uniform(0, CANVAS, (45, 2)).tolist():
        pen.line((x, y, x + slant, y + length), fill=(214, 226, 240), width=2)


def _light(image: Image.Image, weather: str, rng: Generator) -> NDArray[np.float32]:
    """Return the pixels (S, S, 3) under a random light, with fog and a camera's noise."""
    pixels = np.asarray(image, np.float32)
    if weather == "fog":
        pixels = pixels + np.float32(rng.uniform(0.3, 0.5)) * (_FOG - pixels)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.2)
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    light = 1 + strength * (np.cos(angle) * axis[:, None] + np.sin(angle) * axis)
    tint = np.exp(rng.normal(0, 0.12)) * rng.normal(1, 0.06, 3)
    noise = rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(1, 7))
    lit: NDArray[np.float32] = pixels * (light[..., None] * tint).astype(np.float32) + noise
    return lit


def _encode(pixels: NDArray[np.float32], rng: Generator) -> bytes:
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if rng.random() < 0.15:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.0)))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=int(rng.integers(78, 93)))
    return buffer.getvalue()
