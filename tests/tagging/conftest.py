"""Texts and a tagger that are made here, so that most tests need no data from elsewhere."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.data.identity import Identity
from components.shared.data.texts import FORMAT, SCHEMA


class WriteTexts(Protocol):
    def __call__(self, rows: Sequence[tuple[str, str, str]], row_group: int = 65_536) -> Path: ...


# The tags of each word, fixed by its form, so that any tagger learns them.
LEXICON = {
    "DT": "a the this",
    "JJ": "small brown wild grey happy",
    "NN": "dog cat horse meadow house kitten frog",
    "NNS": "dogs cats horses kittens frogs houses",
    "VBZ": "sees likes finds",
    "IN": "near in by",
    ".": ". !",
}


@pytest.fixture
def write_texts(tmp_path: Path) -> WriteTexts:
    """Write Texts of (title, description, tags), so many of them in a row group."""

    def write(rows: Sequence[tuple[str, str, str]], row_group: int = 65_536) -> Path:
        ids = [f"image{i}" for i in range(len(rows))]
        columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
        more = [["google"] * len(rows), ["dog"] * len(rows), [0] * len(rows)]
        schema = Identity.of(ids).in_schema(SCHEMA, FORMAT)
        path = tmp_path / "texts.parquet"
        table = pa.table([ids, *columns, *more], schema=schema)
        pq.write_table(table, path, row_group_size=row_group)
        return path

    return write


@pytest.fixture(scope="session")
def tiny_tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a perceptron that NLTK trained on sentences of `LEXICON`'s words."""
    from nltk.tag.perceptron import PerceptronTagger

    rng = random.Random(0)
    patterns = [
        "DT JJ NN VBZ DT NN IN DT NNS .",
        "NNS IN DT JJ NN .",
        "DT NN .",
        "JJ NNS .",
        "NN .",
    ]
    sentences = [
        [(rng.choice(LEXICON[tag].split()), tag) for tag in rng.choice(patterns).split()]
        for _ in range(400)
    ]
    random.seed(0)  # NLTK shuffles the sentences
    tagger = PerceptronTagger(load=False)
    tagger.train(sentences)
    folder = tmp_path_factory.mktemp("tagger")
    for part, value in zip(
        ("weights", "tagdict", "classes"), tagger.encode_json_obj(), strict=True
    ):
        (folder / f"tiny_en.{part}.json").write_text(json.dumps(value))
    return folder
