from pathlib import Path

import pytest

from components.tagging.dictionary import Dictionary
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
    assert RegularPlurals()(plural, plural=True) == singular


def test_without_wordnet_only_words_tagged_as_plurals_change() -> None:
    assert RegularPlurals()("texas", plural=False) == "texas"
    assert not RegularPlurals().is_common("dog")


def test_wordnet_knows_irregular_plurals_and_names(nltk_data: Path) -> None:
    lemma = WordNetLemmas(Dictionary.load())
    nouns = ["geese", "mice", "children", "glasses", "texas", "goldendoodle", "gps", "las"]
    lemmas = ["goose", "mouse", "child", "glasses", "texas", "goldendoodle", "gps", "las"]
    assert [lemma(noun, plural=False) for noun in nouns] == lemmas


def test_plurals_that_wordnet_has_as_words_get_a_more_usual_singular(nltk_data: Path) -> None:
    lemma = WordNetLemmas(Dictionary.load())
    plurals = ["shoes", "cows", "glasses", "shorts", "falls", "people"]
    assert [lemma(noun, plural=True) for noun in plurals] == [
        *["shoe", "cow"],  # WordNet has "in my shoes" and old words for cattle
        *["glasses", "shorts", "falls", "people"],
    ]
