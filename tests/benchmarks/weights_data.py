"""Texts and labels of images whose truth is known, for `tests.benchmarks.weights`.

drawn     the demo's: what its generator draws, and what it writes around it
fine      likewise of `experiment-fine`, whose 120 classes are kinds, six of each concept
kinds     ten broad classes, whose texts name kinds of them (`stag`, `Persian cat`), in the
          manner of the photographs of the experiments
siblings  more than a hundred of WordNet's classes, five of each family, whose texts name the
          class, a kind of it, or only the family
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from nltk.corpus import wordnet
from numpy.random import Generator
from numpy.typing import NDArray

from components.ingest.concepts import from_taxonomy, from_wordnet
from pipelines.demo import captions, webvision
from pipelines.demo.concepts import classes, taxonomy
from pipelines.demo.search import Found, queries
from pipelines.demo.settings import DataSettings
from pipelines.recipe import load

CLUTTER = -1

_KINDS = {
    "n02691156": "airplane, biplane, airliner, jet, seaplane, propeller plane, Boeing 747",
    "n02958343": "car, automobile, sedan, hatchback, sports car, convertible",
    "n01503061": "bird, sparrow, warbler, ostrich, robin, eagle",
    "n02121620": "cat, kitten, tomcat, tabby, Persian cat, Siamese",
    "n02430045": "deer, stag, fawn, mule deer, reindeer, elk",
    "n02084071": "dog, puppy, poodle, terrier, spaniel, golden retriever",
    "n01639765": "frog, toad, bullfrog, tree frog, leopard frog",
    "n02374451": "horse, mare, stallion, thoroughbred, pony",
    "n04194289": "ship, freighter, cruise liner, sailboat, cargo ship",
    "n04490091": "truck, lorry, fire truck, trailer truck, pickup",
}
_FAMILIES = """
    terrier.n.01 hound.n.01 working_dog.n.01 toy_dog.n.01 warbler.n.01 finch.n.01 duck.n.01
    hawk.n.01 snake.n.01 lizard.n.01 beetle.n.01 butterfly.n.01 monkey.n.01 shark.n.01 car.n.01
    truck.n.01 ship.n.01 boat.n.01 airplane.n.01 chair.n.01 table.n.02 bridge.n.01 tower.n.01
    house.n.01 hat.n.01 shoe.n.01 knife.n.01 lamp.n.02 bottle.n.01 guitar.n.01 drum.n.01
"""
_WORDS = ("white", "large", "old", "spotted", "shiny", "young", "brown", "wild", "green")
_PLACES = ("road", "park", "pond", "wall", "table", "beach", "window", "forest", "harbour")
_TITLES = ("{name}", "{name}, California", "{word} {name} near the {place}", "IMG_7891 of {name}")
_SENTENCES = (
    "A {word} {name} was seen by the {place} in Scotland.",
    "We saw a {name} and another {other} at the {place}.",
    "This {name} stood close to the {place}.",
    "{name} ({place}), Kruger National Park 10/13/2007",
)
_SILENT = (
    "Click here to see more pictures.",
    "All rights reserved, please do not use without permission.",
    "Taken with a Canon EOS 5D last weekend.",
    "We had a great day &amp; will come back.",
    "",
)
_SILENT_TITLES = ("Royalty free image", "Free download wallpaper", "DSC04825", "Photo of the day")


@dataclass(frozen=True, slots=True)
class Known:
    """N images.

    Attributes:
        concepts: What the classes mean.
        texts: What is said around each image.
        labels: (N,) int64, the given labels.
        truth: (N,) int64, what it shows; `CLUTTER` for none of the classes.
    """

    concepts: pa.Table
    texts: list[str]
    labels: NDArray[np.int64]
    truth: NDArray[np.int64]


def shown(image: Found) -> int:
    """Return the class that a drawn image shows, or `CLUTTER`."""
    return CLUTTER if image.shown is None else image.shown


def drawn() -> Known:
    """Return the demo's images."""
    return _drawn(DataSettings())


def fine() -> Known:
    """Return the fine-grained images."""
    (settings,) = load("experiment-fine").drawn.values()
    return _drawn(settings)


def _drawn(settings: DataSettings) -> Known:
    known, found = classes(settings.kinds), webvision.find(settings)
    asked = queries(known)
    rng, texts = np.random.default_rng([webvision.SEED, 2]), list[str]()
    for image in found:
        query, share = asked[image.query - 1][0], settings.off_topic_texts
        record = captions.record(image.depiction, query, off_topic_share=share, rng=rng)
        if image.source == "google":
            del record["tags"]
        texts.append(" ".join(record.get(key, "") for key in ("title", "description", "tags")))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "taxonomy.jsonl"
        path.write_text("".join(f"{json.dumps(record)}\n" for record in taxonomy(settings.kinds)))
        concepts = from_taxonomy([concept.wnid for concept in known], path)
    labels = np.array([image.label for image in found])
    return Known(concepts, texts, labels, np.array([shown(image) for image in found]))


def kinds(images: int = 12_000) -> Known:
    """Return images of ten broad classes."""
    rng, names = np.random.default_rng(1), [kinds.split(", ") for kinds in _KINDS.values()]
    return _said(from_wordnet(list(_KINDS)), images, lambda c: _one(names[c], rng), [], rng)


def siblings(images: int = 12_000) -> Known:
    """Return images of many classes, most of whose wrong labels are siblings'."""
    rng, names = np.random.default_rng(2), dict[str, list[str]]()
    families = list[Sequence[int]]()
    for family in _FAMILIES.split():
        parent = wordnet.synset(family)
        below = sorted(parent.hyponyms(), key=lambda synset: (-len(synset.hyponyms()), synset))
        new = [synset for synset in below if _wnid(synset) not in names][:5]
        families += [range(len(names), len(names) + len(new))] * len(new)
        for synset in new:
            under = sorted(hyponym.lemma_names()[0] for hyponym in synset.hyponyms())
            said = [*synset.lemma_names(), *under, parent.lemma_names()[0]]
            names[_wnid(synset)] = [word.replace("_", " ") for word in said]
    said = list(names.values())
    return _said(from_wordnet(list(names)), images, lambda c: _one(said[c], rng), families, rng)


def _wnid(synset: Any) -> str:
    return f"n{synset.offset():08d}"


def _one(names: Sequence[str], rng: Generator) -> str:
    return names[int(rng.integers(len(names)))]


def _said(
    concepts: pa.Table,
    images: int,
    name: Callable[[int], str],
    families: Sequence[Sequence[int]],
    rng: Generator,
) -> Known:
    """Return images, a third of whose labels are wrong, most of them a sibling's.

    Texts fit what an image shows; a tenth of them say nothing, and a tenth hold the query.
    """
    num_classes = len(concepts) - concepts["label"].null_count
    truth = rng.integers(num_classes, size=images)
    labels, texts = truth.copy(), []
    for image in np.flatnonzero(rng.random(images) < 0.33):
        others = families[truth[image]] if families and rng.random() < 0.7 else range(num_classes)
        labels[image] = others[int(rng.integers(len(others)))]

    def filled(patterns: Sequence[str], shows: int) -> str:
        names = {"name": name(shows), "other": name(shows)}
        words = {"word": _one(_WORDS, rng), "place": _one(_PLACES, rng)}
        return _one(patterns, rng).format(**names, **words)

    for shows, label in zip(truth.tolist(), labels.tolist(), strict=True):
        silent = rng.random() < 0.1
        untitled = silent or rng.random() < 0.3
        undescribed = silent or (not untitled and rng.random() < 0.5)
        title = _one(_SILENT_TITLES, rng) if untitled else filled(_TITLES, shows)
        said = _one(_SILENT, rng) if undescribed else filled(_SENTENCES, shows)
        query = concepts["lemmas"][label][0].as_py() if rng.random() < 0.1 else ""
        texts.append(" ".join((title, said, _one(_SILENT, rng), query)))
    return Known(concepts, texts, labels, truth)
