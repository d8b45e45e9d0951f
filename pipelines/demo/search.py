"""What a web search would find: images with the label of the query, right or wrong."""

import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from pipelines.demo.concepts import (
    COLORS,
    CONCEPTS,
    PATTERNS,
    SCENES,
    SIZES,
    WEATHERS,
    Depiction,
    siblings,
)

SOURCES = ("google", "flickr")
_FLICKR = 0.45  # share of the images from there
_NAME_LETTERS = list(string.ascii_letters + string.digits + "_-")


@dataclass(frozen=True, slots=True)
class Found:
    """An image that a query found.

    Attributes:
        source: One of `SOURCES`.
        query: The query's number, from 1.
        label: The concept that the query means.
        name: What the source calls it.
        depiction: What it really shows.
    """

    source: str
    query: int
    label: int
    name: str
    depiction: Depiction

    @property
    def records(self) -> str:
        """The path of its query's metadata."""
        return f"{self.source}/q{self.query:05}.json"

    @property
    def path(self) -> str:
        """Its path in the tars and the file lists."""
        return f"{self.source}/q{self.query:05}/{self.name}.jpg"


def queries() -> list[tuple[str, int]]:
    """Return the queries, two or three for each concept, and the label that each is for."""
    words = []
    for label, concept in enumerate(CONCEPTS):
        words += [(lemma, label) for lemma in concept.lemmas]
        if label % 2:
            words.append((f"{concept.form[0]} {concept.family}", label))
    return words


def depict(concept: int | None, rng: Generator) -> Depiction:
    """Return a random view of a concept, or of clutter."""
    pattern = PATTERNS[rng.integers(len(PATTERNS))]
    scene = SCENES[rng.integers(len(SCENES))]
    if concept is not None and rng.random() < 0.85:
        pattern = CONCEPTS[concept].pattern
    if concept is not None and rng.random() < 0.5:
        usual = CONCEPTS[concept].scenes
        scene = usual[rng.integers(len(usual))]
    color, accent = rng.choice(list(COLORS), 2, replace=False).tolist()
    weather = WEATHERS[rng.choice(len(WEATHERS), p=[0.74, 0.13, 0.13])]
    size = SIZES[rng.integers(len(SIZES))]
    return Depiction(concept, pattern, color, accent, scene, weather, size)


def _shown(label: int, wrong: float, rng: Generator) -> int | None:
    """Return what an image found for `label` shows: if wrong, a sibling or nothing of the kind."""
    if rng.random() >= wrong:
        return label
    chance = rng.random()
    if chance < 0.3:
        return None
    others = siblings(label) if chance < 0.82 else [i for i in range(len(CONCEPTS)) if i != label]
    return others[rng.integers(len(others))]


def search(
    queries: Sequence[tuple[str, int]],
    images: int,
    *,
    wrong: float,
    imbalance: float,
    rng: Generator,
) -> list[Found]:
    """Return about so many training images, in the order of the file lists.

    Args:
        queries: From `queries()`.
        images: How many.
        wrong: Share of them that do not show their label.
        imbalance: Images of the most frequent concept to those of the rarest.
        rng: Decides on everything.
    """
    shares = imbalance ** (-rng.permutation(len(CONCEPTS)) / (len(CONCEPTS) - 1))
    counts = np.maximum(1, images * shares / shares.sum()).astype(int).tolist()
    found = []
    for label, count in enumerate(counts):
        numbers = [i + 1 for i, (_, of) in enumerate(queries) if of == label]
        for _ in range(count):
            source = SOURCES[int(rng.random() < _FLICKR)]
            depiction = depict(_shown(label, wrong, rng), rng)
            number = numbers[rng.integers(len(numbers))]
            found.append(Found(source, number, label, _name(source, rng), depiction))
    return sorted(found, key=lambda image: (image.source, image.query))


def _name(source: str, rng: Generator) -> str:
    if source == "flickr":
        return str(rng.integers(10**7, 10**10))
    return "".join(rng.choice(_NAME_LETTERS, 13)) + "M"
