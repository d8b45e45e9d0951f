"""The outlines of the 20 concepts, in a frame of [-1, 1]², y downwards.

A figure is a list of parts, drawn in order. The parts of role `body` carry the image's colour and
pattern, the others a colour of their own.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Outline = NDArray[np.float64]
_ANGLES = np.linspace(0, 2 * np.pi, 40, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)


class Part(NamedTuple):
    """A polygon (n, 2), and its role, which gives it its colour."""

    role: str
    outline: Outline


def ellipse(x: float, y: float, width: float, height: float, turn: float = 0.0) -> Outline:
    """Return an ellipse of half-axes `width` and `height`, turned by `turn` radians."""
    cosine, sine = np.cos(turn), np.sin(turn)
    axes = np.array([[width * cosine, width * sine], [-height * sine, height * cosine]])
    outline: Outline = _CIRCLE @ axes + np.array([x, y])
    return outline


def stroke(points: Sequence[tuple[float, float]], width: float) -> Outline:
    """Return the outline of a line of the given width through some points."""
    path = np.array(points, float)
    direction = np.gradient(path, axis=0)
    normal = np.stack([-direction[:, 1], direction[:, 0]], 1)
    normal *= width / 2 / np.linalg.norm(normal, axis=1, keepdims=True)
    return np.concatenate([path + normal, (path - normal)[::-1]])


def polygon(*points: tuple[float, float]) -> Outline:
    """Return a polygon."""
    return np.array(points, float)


def mirrored(outline: Outline) -> Outline:
    """Return an outline's mirror image, left for right."""
    return outline * (-1, 1)


@functools.cache
def figure(concept: int) -> Sequence[Part]:
    """Return the parts of a concept, by its number in `CONCEPTS`."""
    return _FIGURES[concept]()


def _tail(y: float, x: float = 0.0, bows: int = 0) -> list[Part]:
    way = np.linspace(0, 1, 14)
    points = [(x + 0.13 * np.sin(7 * t), y + (1.25 - y) * t) for t in way]
    parts = [Part("pale", stroke(points, 0.05))]
    for i in range(1, bows + 1):
        bow_x, bow_y = points[4 * i]
        parts.append(
            Part(
                "accent",
                np.array([(-0.15, -0.08), (0.15, 0.08), (0.15, -0.08), (-0.15, 0.08)])
                + (bow_x, bow_y),
            )
        )
    return parts


def _diamond_kite() -> list[Part]:
    sail = polygon((0, -1), (0.68, -0.3), (0, 0.55), (-0.68, -0.3))
    return [*_tail(0.5, bows=3), Part("body", sail)]


def _delta_kite() -> list[Part]:
    sail = polygon((0, -0.8), (1.05, 0.25), (0.35, 0.15), (0, 0.4), (-0.35, 0.15), (-1.05, 0.25))
    return [*_tail(0.1, 0.3), *_tail(0.1, -0.3), Part("body", sail)]


def _ray_kite() -> list[Part]:
    sail = polygon(
        (-0.4, -0.85), (0.4, -0.85), (0.85, -0.2), (0.35, 0.5), (-0.35, 0.5), (-0.85, -0.2)
    )
    return [*_tail(0.45), Part("body", sail)]


def _fish(width: float, height: float, tail: Outline, fins: Sequence[Outline]) -> list[Part]:
    eye_x = 0.62 * width - 0.1
    return [
        Part("shade", tail),
        *(Part("shade", fin) for fin in fins),
        Part("body", ellipse(-0.1, 0, width, height)),
        Part("pale", ellipse(eye_x, -0.3 * height, 0.11, 0.11)),
        Part("dark", ellipse(eye_x + 0.03, -0.3 * height, 0.06, 0.06)),
    ]


def _ribbon_fish() -> list[Part]:
    tail = polygon((-0.85, 0), (-1.2, -0.25), (-1.2, 0.25))
    fin = polygon((-0.6, -0.25), (0.4, -0.28), (0.2, -0.48), (-0.5, -0.42))
    return _fish(0.95, 0.32, tail, [fin])


def _moon_fish() -> list[Part]:
    tail = polygon((-0.75, 0), (-1.15, -0.3), (-1.15, 0.3))
    fin = polygon((-0.5, -0.5), (0.2, -0.6), (-0.2, -0.98))
    return _fish(0.78, 0.74, tail, [fin, fin * (1, -1)])


def _arrow_fish() -> list[Part]:
    tail = polygon((-0.75, 0), (-1.25, -0.55), (-1.05, 0), (-1.25, 0.55))
    parts = _fish(0.78, 0.38, tail, [polygon((-0.1, 0.3), (0.2, 0.33), (-0.25, 0.62))])
    nose = polygon((0.45, -0.29), (1.15, 0), (0.45, 0.29))
    return [*parts[:2], Part("body", nose), *parts[2:]]


def _sail_fish() -> list[Part]:
    tail = polygon((-0.75, 0), (-1.15, -0.32), (-1.15, 0.32))
    sail = polygon((-0.75, -0.25), (-0.6, -0.95), (-0.1, -0.88), (0.35, -0.7), (0.45, -0.25))
    return _fish(0.85, 0.4, tail, [sail])


def _beetle(width: float, height: float, legs: float, extras: Sequence[Part]) -> list[Part]:
    parts = []
    for y, bend in ((-0.3, -0.25), (0.1, 0.05), (0.45, 0.35)):
        reach = width + legs
        leg = stroke([(0, y), (0.5 * reach + 0.2 * width, y + 0.3 * bend), (reach, y + bend)], 0.08)
        parts += [Part("dark", leg), Part("dark", mirrored(leg))]
    head = 0.25 - height
    return [
        *parts,
        *extras,
        Part("dark", ellipse(0, head, 0.5 * width, 0.27)),
        Part("body", ellipse(0, 0.2, width, height - 0.1)),
        Part("dark", stroke([(0, 0.25 - height), (0, height + 0.05)], 0.05)),
    ]


def _feelers(y: float, length: float) -> list[Part]:
    points = [(0.12, y), (0.3 + 0.2 * length, y - 0.5 * length), (0.3 + 0.7 * length, y - length)]
    feeler = stroke(points, 0.07)
    return [Part("dark", feeler), Part("dark", mirrored(feeler))]


def _button_beetle() -> list[Part]:
    return _beetle(0.76, 0.82, 0.22, _feelers(-0.7, 0.25))


def _tiger_beetle() -> list[Part]:
    return _beetle(0.44, 0.95, 0.6, _feelers(-0.8, 0.3))


def _stag_beetle() -> list[Part]:
    points = [(0.15, -0.7), (0.42, -0.85), (0.4, -1.1), (0.12, -1.25)]
    horn = stroke(points, 0.15)
    return _beetle(0.58, 0.86, 0.35, [Part("dark", horn), Part("dark", mirrored(horn))])


def _harlequin_beetle() -> list[Part]:
    return _beetle(0.62, 0.9, 0.3, _feelers(-0.75, 0.6))


def _stem(top: float) -> list[Part]:
    leaf = ellipse(0.26, 0.85, 0.3, 0.11, -0.6)
    return [
        Part("stem", stroke([(0, top), (0.05, 0.7), (0, 1.25)], 0.1)),
        Part("stem", leaf),
    ]


def _corolla(number: int, petal: Outline) -> list[Part]:
    """Return a petal, which points to the right from the origin, turned to all directions."""
    parts = []
    for angle in np.arange(number) * 2 * np.pi / number - np.pi / 2:
        cosine, sine = np.cos(angle), np.sin(angle)
        turned = petal @ np.array([[cosine, sine], [-sine, cosine]])
        parts.append(Part("body", turned + (0, -0.25)))
    return parts


def _star_flower() -> list[Part]:
    heart = Part("accent", ellipse(0, -0.25, 0.2, 0.2))
    petal = polygon((0.1, 0), (0.52, 0.33), (0.95, 0), (0.52, -0.33))
    return [*_stem(0), *_corolla(5, petal), heart]


def _wheel_flower() -> list[Part]:
    heart = Part("accent", ellipse(0, -0.25, 0.22, 0.22))
    return [*_stem(0), *_corolla(11, ellipse(0.51, 0, 0.4, 0.15)), heart]


def _cup_flower() -> list[Part]:
    cup = polygon(
        (-0.6, -0.95), (-0.3, -0.6), (0, -1), (0.3, -0.6), (0.6, -0.95),
        (0.62, -0.3), (0.4, 0.08), (0, 0.22), (-0.4, 0.08), (-0.62, -0.3),
    )  # fmt: skip
    return [*_stem(0.1), Part("body", cup)]


def _mushroom(cap: Outline, stem: float) -> list[Part]:
    trunk = polygon((-stem, 0), (stem, 0), (1.25 * stem, 1.05), (-1.25 * stem, 1.05))
    gills = polygon((-2.2 * stem, -0.02), (2.2 * stem, -0.02), (stem, 0.14), (-stem, 0.14))
    return [Part("pale", trunk), Part("dark", gills), Part("body", cap)]


def _arch(width: float, height: float, sharpness: float) -> Outline:
    x = np.linspace(-1, 1, 25)
    y = -height * (1 - np.abs(x) ** sharpness) + 0.05
    return np.stack([width * x, y], 1)


def _dome_mushroom() -> list[Part]:
    return _mushroom(_arch(0.85, 0.95, 2.6), 0.24)


def _cone_mushroom() -> list[Part]:
    return _mushroom(_arch(0.72, 1.1, 1.05), 0.17)


def _parasol_mushroom() -> list[Part]:
    return _mushroom(_arch(1.08, 0.62, 2.0), 0.13)


def _balloon(bag: Outline, mouth: float) -> list[Part]:
    basket = polygon((-0.2, 0.9), (0.2, 0.9), (0.16, 1.18), (-0.16, 1.18))
    rope = stroke([(mouth, 0.35), (0.17, 0.92)], 0.04)
    return [
        Part("dark", rope),
        Part("dark", mirrored(rope)),
        Part("basket", basket),
        Part("body", bag),
    ]


def _globe_balloon() -> list[Part]:
    return _balloon(ellipse(0, -0.22, 0.82, 0.8), 0.4)


def _pear_balloon() -> list[Part]:
    taper = 0.66 - 0.3 * _CIRCLE[:, 1]
    bag = np.stack([taper * _CIRCLE[:, 0], 0.9 * _CIRCLE[:, 1] - 0.2], 1)
    return _balloon(bag, 0.2)


def _barrel_balloon() -> list[Part]:
    rounded_square = np.sign(_CIRCLE) * np.sqrt(np.abs(_CIRCLE))
    return _balloon(rounded_square * (0.8, 0.72) - (0, 0.25), 0.5)


_FIGURES: Sequence[Callable[[], list[Part]]] = (
    _diamond_kite,
    _delta_kite,
    _ray_kite,
    _ribbon_fish,
    _moon_fish,
    _arrow_fish,
    _sail_fish,
    _button_beetle,
    _tiger_beetle,
    _stag_beetle,
    _harlequin_beetle,
    _star_flower,
    _wheel_flower,
    _cup_flower,
    _dome_mushroom,
    _cone_mushroom,
    _parasol_mushroom,
    _globe_balloon,
    _pear_balloon,
    _barrel_balloon,
)  # in the order of CONCEPTS
