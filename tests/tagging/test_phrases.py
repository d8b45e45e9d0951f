from functools import partial
from pathlib import Path

import numpy as np
import pytest

from components.tagging.language import EnglishWithoutWordNet, Language, OtherLanguage, language
from components.tagging.phrases import Phrases, phrases

NAMES = [
    *("lion", "sea_lions", "sea_lion", "sports_car", "sport_car", "golden_retriever"),
    *("wilson's_warbler", "man_of_the", "st._helens", "ice_age"),
]
singular = partial(EnglishWithoutWordNet().lemma, plural=True)
KINDS = {("sports_car", "car"), ("golden_retriever", "retriever")}
SOME = Phrases(NAMES, singular, lambda name, other: (name, other) in KINDS)


def found(text: str) -> list[str]:
    words = [SOME.words.get(singular(word), -1) for word in text.split()]
    return [
        SOME.names[number]
        for each in SOME.find(np.array(words))
        for number in each.numbers.tolist()
    ]


def test_names_are_found_in_singular_and_plural() -> None:
    assert found("two golden retrievers and a sea lion") == ["golden retriever", "sea lion"]


def test_of_names_with_equal_lemmas_the_singular_and_then_the_first_is_found() -> None:
    assert found("sea lions") == ["sea lion"]
    assert found("sports car") == ["sports car"]
    assert "sport car" in SOME.names


def test_names_that_begin_or_end_with_words_of_grammar_are_left_out() -> None:
    assert "man of the" not in SOME.names


def test_says_whether_a_name_is_a_kind_of_its_last_word() -> None:
    kinds = {name: SOME.kind[np.array([i])][0] for i, name in enumerate(SOME.names)}
    assert kinds["golden retriever"] == kinds["sports car"] == 1
    assert kinds["sea lion"] == 0


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("goldenretriever", ["golden", "retriever"]),
        ("GoldenRetrievers", ["golden", "retriever"]),
        ("wilsonswarbler", ["wilson", "'s", "warbler"]),
        ("iceage", ["iceage"]),  # too short: it might be met by chance
        ("Dog", ["Dog"]),
    ],
)
def test_names_written_together_come_apart(token: str, words: list[str]) -> None:
    assert SOME.apart(token) == words


@pytest.mark.parametrize("unknown", [EnglishWithoutWordNet(), OtherLanguage()])
def test_without_wordnet_there_are_no_names(unknown: Language) -> None:
    none = phrases(unknown)
    assert none.apart("goldenretriever") == ["goldenretriever"]
    assert list(none.find(np.array([-1, -1]))) == []


def test_wordnets_names_are_known(nltk_data: Path) -> None:
    known = phrases(language(["NNS"]))
    assert len(known.names) > 50_000
    assert {"golden retriever", "st. petersburg", "rocky mountain national park"} <= set(
        known.names
    )
    assert known.apart("sanfrancisco") == ["san", "francisco"]
    assert known.apart("butterfly") == ["butterfly"]


def test_figures_of_speech_are_no_names(nltk_data: Path) -> None:
    names = set(phrases(language(["NNS"])).names)
    assert not names & {"fat cat", "lame duck", "cold fish", "snake in the grass", "couch potato"}
    assert {"guinea pig", "baseball player", "albert einstein", "statue of liberty"} <= names


def test_no_name_reaches_over_the_end_of_a_sentence(nltk_data: Path) -> None:
    assert not {".", "!", "?"} & set(phrases(language(["NNS"])).words)
