"""What a web search would find: images with the label of the query, right or wrong."""

import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from pipelines.demo.concepts import (
    COLORS,
    PATTERNS,
    SCENES,
    SIZES,
    WEATHERS,
    Concept,
    Depiction,
)

SOURCES = ("google", "flickr")
_TYPICAL = 0.85  # share of the images that have what most of their kind have
_FLICKR = 0.45  # share of the images from there
_NAME_LETTERS = list(string.ascii_letters + string.digits + "_-")


@dataclass(frozen=True, slots=True)
class Found:
    """An image that a query found.

    Attributes:
        source: One of `SOURCES`.
        query: The query's number, from 1.
        label: The class that the query means.
        name: What the source calls it.
        depiction: What it really shows.
    """

    source: str
    query: int
    label: int
    name: str
    depiction: Depiction

    @property
    def shown(self) -> int | None:
        """The label of what it really shows; None for clutter."""
        return None if self.depiction.concept is None else self.depiction.concept.label

    @property
    def records(self) -> str:
        """The path of its query's metadata."""
        return f"{self.source}/q{self.query:05}.json"

    @property
    def path(self) -> str:
        """Its path in the tars and the file lists."""
        return f"{self.source}/q{self.query:05}/{self.name}.jpg"


def queries(concepts: Sequence[Concept]) -> list[tuple[str, int]]:
    """Return the queries, two or three for each class, and the label that each is for."""
    words = []
    for label, concept in enumerate(concepts):
        words += [(lemma, label) for lemma in concept.lemmas]
        if label % 2:
            words.append((f"{concept.form[0]} {concept.family}", label))
    return words


def depict(concept: Concept | None, rng: Generator) -> Depiction:
    """Return a random view of a concept, or of clutter."""
    pattern = PATTERNS[rng.integers(len(PATTERNS))]
    scene = SCENES[rng.integers(len(SCENES))]
    if concept is not None and rng.random() < _TYPICAL:
        pattern = concept.pattern
    if concept is not None and rng.random() < 0.5:
        scene = concept.scenes[rng.integers(len(concept.scenes))]
    color, accent = rng.choice(list(COLORS), 2, replace=False).tolist()
    if concept is not None and concept.color is not None and rng.random() < _TYPICAL:
        color, accent = concept.color, color if accent == concept.color else accent
    weather = WEATHERS[rng.choice(len(WEATHERS), p=[0.74, 0.13, 0.13])]
    size = SIZES[rng.integers(len(SIZES))]
    return Depiction(concept, pattern, color, accent, scene, weather, size)


def _shown(
    asked: Concept, concepts: Sequence[Concept], wrong: float, rng: Generator
) -> Concept | None:
    """Return what an image found for a class shows: if wrong, a sibling or nothing of the kind."""
    if rng.random() >= wrong:
        return asked
    chance = rng.random()
    if chance < 0.3:
        return None
    others = [other for other in concepts if other is not asked]
    if chance < 0.82:
        others = [other for other in others if other.family == asked.family]
    return others[rng.integers(len(others))]


def search(
    concepts: Sequence[Concept],
    images: int,
    *,
    wrong: float,
    imbalance: float,
    rng: Generator,
) -> list[Found]:
    """Return about so many training images, in the order of the file lists.

    Args:
        concepts: What is asked for, in label order.
        images: How many.
        wrong: Share of them that do not show their label.
        imbalance: Images of the most frequent class to those of the rarest.
        rng: Decides on everything.
    """
    asked = queries(concepts)
    shares = imbalance ** (-rng.permutation(len(concepts)) / (len(concepts) - 1))
    counts = np.maximum(1, images * shares / shares.sum()).astype(int).tolist()
    found = []
    for label, count in enumerate(counts):
        numbers = [i + 1 for i, (_, of) in enumerate(asked) if of == label]
        for _ in range(count):
            source = SOURCES[int(rng.random() < _FLICKR)]
            depiction = depict(_shown(concepts[label], concepts, wrong, rng), rng)
            number = numbers[rng.integers(len(numbers))]
            found.append(Found(source, number, label, _name(source, rng), depiction))
    return sorted(found, key=lambda image: (image.source, image.query))


def _name(source: str, rng: Generator) -> str:
    if source == "flickr":
        return str(rng.integers(10**7, 10**10))
    return "".join(rng.choice(_NAME_LETTERS, 13)) + "M"
