import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.ingest.concepts import from_wordnet
from components.weighting.documents import Documents
from components.weighting.names import Names
from components.weighting.terms import spelled
from tests.weighting.running import OWN, Run

DEER, LION, BREAD, CRANE, DOG, MOUSE = (
    *("n02430045", "n02129165", "n07679356"),
    *("n02012849", "n02084071", "n02330245"),
)
WNIDS = (DEER, LION, BREAD, CRANE, DOG, MOUSE)


@pytest.fixture(scope="module")
def concepts(nltk_data: Path) -> pa.Table:
    return from_wordnet(WNIDS)


@pytest.fixture(scope="module")
def names(concepts: pa.Table) -> Names:
    return Names.of(concepts)


def find(names: Names, *texts: str) -> tuple[list[int], list[int]]:
    images, classes = names.find([spelled(text) for text in texts])
    return images.tolist(), classes.tolist()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("A mule deer, and two stags.", [DEER, DEER]),  # a mule is none, a mule deer is one
        ("a lion", [LION]),
        ("a sea lion on the rocks", []),
        ("sea, lion", []),  # commas do not count
        ("hot dogs", []),
        ("Golden Retrievers!", [DOG]),
        ("whooping crane", [CRANE]),
        ("a crane", [CRANE]),  # its first meaning is an author
        ("the field mice", [MOUSE]),
        ("mice", [MOUSE]),
        ("baguette", [BREAD]),
        ("an animal of the deer park", [DEER]),
        ("a the of 2007", []),
    ],
)
def test_a_name_names_the_class_above_it(names: Names, text: str, named: list[str]) -> None:
    images, classes = find(names, "", text, "")

    assert sorted(WNIDS[label] for label in classes) == sorted(named)
    assert set(images) <= {1}


def test_no_name_reaches_from_one_text_into_the_next(names: Names) -> None:
    images, classes = find(names, "a mule", "deer", "golden", "retriever")

    assert [(i, WNIDS[c]) for i, c in zip(images, classes, strict=True)] == [(1, DEER), (3, DOG)]


def test_the_nearest_class_above_a_name_is_nltks(nltk_data: Path) -> None:
    from nltk.corpus import wordnet

    random_nouns = random.Random(0)
    classes = [wordnet.synset(f"{name}.n.01") for name in ("animal", "dog", "hound", "artifact")]
    table = from_wordnet([f"n{each.offset():08d}" for each in classes])
    nouns = random_nouns.sample([n for n in wordnet.all_lemma_names("n") if n.isalpha()], 2_000)
    nouns = [noun for noun in nouns if len(noun) > 3 and not noun.endswith("s")] + ["beagle", "dog"]
    found = Names.of(table)

    different = []
    for noun in nouns:
        expected = []
        for synset in wordnet.synsets(noun, "n"):
            distances = dict(synset.hypernym_distances())
            above = [(distances[each], i) for i, each in enumerate(classes) if each in distances]
            expected += [min(above)[1]] if above else []
        # Names that have the same stems, such as "bas" and "bass", are one.
        if not set(expected) <= set(find(found, noun)[1]):
            different.append(noun)
    assert len(nouns) > 1_500
    assert different == []


def test_classes_outside_wordnet_are_named_by_their_lemmas(nltk_data: Path) -> None:
    images, classes = find(Names.of(OWN), "red roses", "a red tulip", "oaks and an oak")

    assert images == [0, 1, 2, 2]
    assert classes == [0, 1, 2, 2]


def test_without_wordnet_classes_are_named_by_their_lemmas(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("nltk.data.path", [])

    found = Names.of(OWN)

    assert find(found, "red roses")[1] == [0]
    assert "no WordNet" in caplog.text


def test_naming_finds_what_words_do_not(concepts: pa.Table, tmp_path: Path) -> None:
    run = Run(tmp_path, concepts, [(0, "an elk"), (0, "deer"), (4, "poodle"), (1, "sea lions")])
    without, naming = run.weights(), run.weights("naming", naming=True)

    assert without[0][1].tolist() == [0.5]  # falls back
    assert naming[0][0].tolist() == [0]
    assert 0 < naming[0][1][0] < naming[1][1][0]  # "deer" is a name and a word
    assert naming[2][0].tolist() == [4]
    assert (naming.weights > 0).all()


def test_names_are_the_last_words_of_documents(concepts: pa.Table, names: Names) -> None:
    documents = Documents.of(concepts, names)

    alone = documents.vectors_of(["baguette"]).toarray()

    assert np.flatnonzero(alone).tolist() == [len(documents.rarity) - len(WNIDS) + 2]
    assert (documents.vectors.toarray()[:, -len(WNIDS) :] > 0).tolist() == np.eye(6).tolist()
