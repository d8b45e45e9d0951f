"""A part-of-speech tagger for the demo's language, so that the demo needs no download."""

import json
import logging
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator

from pipelines.demo.captions import TaggedSentence, caption, off_topic, page_text, sentence
from pipelines.demo.concepts import Concept
from pipelines.demo.search import depict

_SENTENCES = 1_000


def train(folder: Path, concepts: Sequence[Concept], *, seed: int) -> None:
    """Train an averaged perceptron and write NLTK's three JSON files to `folder`."""
    from components.shared.data.bare_nltk import nltk  # takes a second, which `--help` saves

    # It logs each round over the sentences, under its own name.
    logging.getLogger("nltk.tag.perceptron").setLevel(logging.WARNING)
    random.seed(seed)  # NLTK shuffles the sentences with the global generator
    tagger = nltk.tag.perceptron.PerceptronTagger(load=False)
    tagger.train(sentences(concepts, _SENTENCES, np.random.default_rng(seed)))
    weights, words, classes = tagger.encode_json_obj()
    folder.mkdir(parents=True)
    for content, name in zip((weights, words, sorted(classes)), tagger.param_files(), strict=True):
        (folder / name).write_text(json.dumps(content))


def sentences(concepts: Sequence[Concept], count: int, rng: Generator) -> list[TaggedSentence]:
    """Return sentences such as the captions are made of."""
    makers = (sentence, sentence, caption, off_topic, page_text)
    labels = rng.integers(len(concepts), size=count).tolist()
    return [
        makers[i % len(makers)](depict(concepts[label], rng), rng) for i, label in enumerate(labels)
    ]
