from pathlib import Path

import numpy as np
import pytest

from components.tagging.lemmas import RegularPlurals, lemmatizer
from components.tagging.phrases import Phrases, phrases

NAMES = [
    *("lion", "sea_lions", "sea_lion", "sports_car", "sport_car", "golden_retriever"),
    *("wilson's_warbler", "man_of_the", "st._helens", "ice_age"),
]
PLURALS = RegularPlurals()
KINDS = {("sports_car", "car"), ("golden_retriever", "retriever")}
SOME = Phrases(
    NAMES, lambda noun: PLURALS(noun, plural=True), lambda name, other: (name, other) in KINDS
)


def found(text: str) -> list[str]:
    words = [SOME.words.get(PLURALS(word, plural=True), -1) for word in text.split()]
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


def test_without_wordnet_there_are_no_names() -> None:
    none = phrases(RegularPlurals())
    assert none.apart("goldenretriever") == ["goldenretriever"]
    assert list(none.find(np.array([-1, -1]))) == []


def test_wordnets_names_are_known(nltk_data: Path) -> None:
    known = phrases(lemmatizer())
    assert len(known.names) > 50_000
    assert {"golden retriever", "st. petersburg", "rocky mountain national park"} <= set(
        known.names
    )
    assert known.apart("sanfrancisco") == ["san", "francisco"]
    assert known.apart("butterfly") == ["butterfly"]
