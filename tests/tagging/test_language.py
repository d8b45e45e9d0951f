from pathlib import Path

import pytest

from components.shared.data.dictionary import Dictionary
from components.tagging.language import English, EnglishWithoutWordNet, OtherLanguage, language


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
    assert EnglishWithoutWordNet().lemma(plural, plural=True) == singular


def test_without_wordnet_only_words_tagged_as_plurals_change() -> None:
    assert EnglishWithoutWordNet().lemma("texas", plural=False) == "texas"
    assert not EnglishWithoutWordNet().is_common("dog")
    assert EnglishWithoutWordNet().is_common("the")


def test_wordnet_knows_irregular_plurals_and_names(nltk_data: Path) -> None:
    lemma = English(Dictionary.load()).lemma
    nouns = ["geese", "mice", "children", "glasses", "texas", "goldendoodle", "gps", "las"]
    lemmas = ["goose", "mouse", "child", "glasses", "texas", "goldendoodle", "gps", "las"]
    assert [lemma(noun, plural=False) for noun in nouns] == lemmas


def test_plurals_that_wordnet_has_as_words_get_a_more_usual_singular(nltk_data: Path) -> None:
    lemma = English(Dictionary.load()).lemma
    plurals = ["shoes", "cows", "glasses", "shorts", "falls", "people"]
    assert [lemma(noun, plural=True) for noun in plurals] == [
        *["shoe", "cow"],  # WordNet has "in my shoes" and old words for cattle
        *["glasses", "shorts", "falls", "people"],
    ]


def test_english_is_known_by_its_taggers_tags(nltk_data: Path) -> None:
    assert isinstance(language(["NN", "NNS", "JJ"]), English)
    assert isinstance(language(["NOUN", "ADJ"]), OtherLanguage)


def test_other_languages_words_are_left_as_they_are() -> None:
    other = OtherLanguage()
    assert [other.lemma(noun, plural=True) for noun in ("bras", "temps")] == ["bras", "temps"]
    assert not other.is_common("rat")
    assert not other.is_common("am")
    assert not other.is_only_noun("puppy")
