from pathlib import Path

import pytest

from components.tagging.lemmas import RegularPlurals, WordNetLemmas


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("dogs", "dog"),
        ("puppies", "puppy"),
        ("ties", "tie"),
        ("classes", "class"),
        ("foxes", "fox"),
        ("churches", "church"),
        ("brushes", "brush"),
        ("houses", "house"),
        ("shoes", "shoe"),
        ("glass", "glass"),
        ("bus", "bus"),
        ("iris", "iris"),
        ("series", "series"),
        ("species", "species"),
        ("geese", "geese"),
    ],
)
def test_regular_plurals_get_their_singular(plural: str, singular: str) -> None:
    assert RegularPlurals()(plural, "NNS") == singular


def test_without_wordnet_only_words_tagged_as_plurals_change() -> None:
    assert RegularPlurals()("texas", "NNP") == "texas"


def test_wordnet_knows_irregular_plurals_and_names(nltk_data: Path) -> None:
    lemma = WordNetLemmas()
    nouns = ["geese", "mice", "children", "glasses", "texas", "goldendoodle", "gps", "las"]
    lemmas = ["goose", "mouse", "child", "glasses", "texas", "goldendoodle", "gps", "las"]
    assert [lemma(noun, "NN") for noun in nouns] == lemmas
