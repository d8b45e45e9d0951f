"""The canvas that pictures are drawn on, larger than they are, so that edges come out smooth."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from pipelines.demo.figures import Outline

SIDE = 64  # pixels of a picture
OVERSAMPLING = 3
CANVAS = SIDE * OVERSAMPLING

Color = tuple[int, int, int]


def jittered(color: Sequence[float], rng: Generator, amount: float = 14) -> Color:
    """Return a colour near the one given."""
    red, green, blue = np.clip(np.asarray(color) + rng.normal(0, amount, 3), 0, 255)
    return int(red), int(green), int(blue)


def darker(color: Sequence[float], share: float) -> list[float]:
    """Return a colour of `share` times the brightness."""
    return [share * channel for channel in color]


def flat(points: Outline) -> list[float]:
    """Return a polygon as Pillow takes it, x and y in turn."""
    coordinates: list[float] = points.ravel().tolist()
    return coordinates
