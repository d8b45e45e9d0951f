"""The eight places where things are seen."""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from pipelines.demo.canvas import CANVAS, OVERSAMPLING, Color, darker, flat, jittered
from pipelines.demo.figures import ellipse

_SCENES: dict[str, tuple[Color, Color, Color]] = {  # sky above, sky below, ground
    "meadow": ((146, 198, 232), (222, 238, 240), (128, 182, 96)),
    "sea": ((168, 212, 236), (232, 240, 238), (62, 132, 172)),
    "night": ((18, 24, 56), (58, 64, 112), (30, 38, 58)),
    "desert": ((244, 222, 178), (252, 240, 214), (224, 178, 112)),
    "snow": ((188, 206, 224), (232, 238, 244), (246, 248, 250)),
    "sunset": ((112, 84, 140), (250, 168, 110), (84, 62, 92)),
    "forest": ((96, 128, 92), (168, 190, 140), (86, 96, 58)),
    "studio": ((214, 208, 200), (236, 232, 226), (190, 182, 172)),
}
_STARS: Sequence[Color] = ((250, 240, 200), (200, 210, 240))
_BLOSSOMS: Sequence[Color] = ((246, 224, 110), (240, 240, 235), (226, 120, 140))


@functools.cache
def _gradient(top: Color, bottom: Color) -> Image.Image:
    ramp = np.linspace(top, bottom, CANVAS).round().astype(np.uint8)
    return Image.fromarray(ramp[:, None]).resize((CANVAS, CANVAS))


def _hill(base: float, height: float, rng: Generator) -> list[float]:
    """Return a rolling horizon; `base` and `height` are shares of the canvas."""
    x = np.linspace(0, 1, 22)
    waves = np.sin(rng.uniform(3, 8) * x + rng.uniform(0, 6)) + 0.4 * np.sin(
        rng.uniform(9, 16) * x + rng.uniform(0, 6)
    )
    outline = np.stack([x, base - 0.7 * height * waves], 1)
    outline = np.concatenate([outline, [(1.0, 1.05), (0.0, 1.05)]])
    return flat(outline * CANVAS)


def scene(name: str, rng: Generator) -> Image.Image:
    """Return a canvas with one of the eight scenes on it, never twice the same."""
    top, bottom, ground = _SCENES[name]
    canvas = _gradient(top, bottom).copy()
    pen = ImageDraw.Draw(canvas)
    match name:
        case "night":
            _scatter(pen, _STARS, 26, (0, 0.7), (0.7, 2.2), rng)
            _disc(pen, (245, 236, 200), 0.09, (0.05, 0.3), rng)
        case "sunset":
            _disc(pen, (255, 226, 150), 0.16, (0.35, 0.6), rng)
        case "meadow" | "sea":
            for _ in range(rng.integers(0, 3)):
                _cloud(pen, rng)
        case "forest":
            _trunks(pen, rng)
    _ground(pen, name, jittered(ground, rng), rng)
    return canvas


def _ground(pen: ImageDraw.ImageDraw, name: str, color: Color, rng: Generator) -> None:
    horizon = rng.uniform(0.55, 0.78)
    match name:
        case "studio":
            pen.rectangle((0, (horizon + 0.1) * CANVAS, CANVAS, CANVAS), fill=color)
        case "sea":
            pen.rectangle((0, horizon * CANVAS, CANVAS, CANVAS), fill=color)
            x = np.linspace(0, 1, 25)
            for y in np.arange(horizon + 0.05, 1.0, 0.07):
                wave = np.stack([x, y + 0.01 * np.sin(38 * x + rng.uniform(0, 6))], 1)
                pen.line(flat(wave * CANVAS), fill=(120, 178, 205), width=OVERSAMPLING)
        case _:
            near = jittered(darker(color, 0.88), rng, 6)
            pen.polygon(_hill(horizon, 0.07, rng), fill=color)
            pen.polygon(_hill(horizon + 0.15, 0.05, rng), fill=near)
    if name == "meadow":
        _scatter(pen, _BLOSSOMS, 18, (0.8, 1), (2, 4.5), rng)


def _trunks(pen: ImageDraw.ImageDraw, rng: Generator) -> None:
    for x in rng.uniform(0, 1, 7):
        right = x + rng.uniform(0.02, 0.06)
        trunk = np.array([(x, 0), (right, 0), (right, 1), (x, 1)])
        pen.polygon(flat(trunk * CANVAS), fill=jittered((58, 62, 52), rng))


def _scatter(
    pen: ImageDraw.ImageDraw,
    colors: Sequence[Color],
    count: int,
    heights: tuple[float, float],
    radii: tuple[float, float],
    rng: Generator,
) -> None:
    """Draw dots; their heights are shares of the canvas, their radii its pixels."""
    for x, y, radius, pick in rng.random((count, 4)).tolist():
        x, y = x * CANVAS, (heights[0] + (heights[1] - heights[0]) * y) * CANVAS
        radius = radii[0] + (radii[1] - radii[0]) * radius
        fill = colors[int(pick * len(colors))]
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _disc(
    pen: ImageDraw.ImageDraw,
    color: Color,
    radius: float,
    heights: tuple[float, float],
    rng: Generator,
) -> None:
    disc = ellipse(rng.uniform(0.1, 0.9), rng.uniform(*heights), radius, radius)
    pen.polygon(flat(disc * CANVAS), fill=color)


def _cloud(pen: ImageDraw.ImageDraw, rng: Generator) -> None:
    x, y, size = rng.uniform(0, 1), rng.uniform(0.05, 0.4), rng.uniform(0.04, 0.07)
    for shift, grow in ((-1.1, 0.7), (0.0, 1.0), (1.2, 0.75)):
        puff = ellipse(x + shift * size, y, 1.1 * grow * size, 0.8 * grow * size)
        pen.polygon(flat(puff * CANVAS), fill=(250, 250, 250))
