"""The patterns, as polygons in a figure's frame of [-1, 1]²."""

import numpy as np
from numpy.random import Generator

from pipelines.demo.figures import Outline, ellipse


def motifs(name: str, rng: Generator) -> list[Outline]:
    """Return the polygons of a pattern, in the figure's frame."""
    step = rng.uniform(0.34, 0.5)
    rows = np.arange(-1.3, 1.3, step) + rng.uniform(-0.1, 0.1)
    match name:
        case "striped":
            outlines = [
                np.array([(-1.3, y), (1.3, y), (1.3, y + 0.45 * step), (-1.3, y + 0.45 * step)])
                for y in rows
            ]
            return outlines if rng.random() < 0.6 else [outline[:, ::-1] for outline in outlines]
        case "spotted":
            radius = step * rng.uniform(0.22, 0.32)
            shifts = [(x + 0.5 * step * (i % 2), y) for i, y in enumerate(rows) for x in rows]
            return [ellipse(x, y, radius, radius)[::4] for x, y in shifts]
        case "checkered":
            tile = np.array([(0, 0), (step, 0), (step, step), (0, step)])
            cells = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if (i + j) % 2]
            return [tile + (rows[i], rows[j]) for i, j in cells]
        case "zigzag":
            x = np.linspace(-1.4, 1.4, 15)
            wave = 0.24 * (np.arange(15) % 2)
            return [
                np.concatenate([
                    np.stack([x, y + wave], 1), np.stack([x, y + wave + 0.42 * step], 1)[::-1]
                ])
                for y in rows
            ]  # fmt: skip
        case "ringed":
            circle = ellipse(0, 0, 1, 1)
            circle = np.concatenate([circle, circle[:1]])
            return [
                np.concatenate([r * circle, (r - 0.42 * step) * circle[::-1]]) + (0, -0.25)
                for r in np.arange(step, 1.5, step)
            ]
        case _:
            return []
