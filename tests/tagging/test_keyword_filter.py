import pytest

from components.tagging.keyword_filter import is_keyword


@pytest.mark.parametrize(
    "word", ["dog", "a380", "f-16", "o'brien", "собака", "كلب", "b52", "猫", "golden retriever"]
)
def test_accepts_words_and_short_model_names(word: str) -> None:
    assert is_keyword(word)


@pytest.mark.parametrize("word", ["", "x", "747", "2007", "10/13/2007", "'s", "%", "ab12345"])
def test_refuses_numbers_codes_and_punctuation(word: str) -> None:
    assert not is_keyword(word)


def test_refuses_words_longer_than_any_word() -> None:
    assert is_keyword("x" * 30)
    assert not is_keyword("x" * 31)


@pytest.mark.parametrize("word", ["the", "myself", "und", "avec", "january", "mile", "wallpaper"])
def test_refuses_words_that_no_picture_shows(word: str) -> None:
    assert not is_keyword(word)


@pytest.mark.parametrize(
    "word", ["nikond90", "eos5d", "d90", "550d", "5d", "50mm", "1920x1080", "1.5m"]
)
def test_refuses_cameras_lenses_and_sizes(word: str) -> None:
    assert not is_keyword(word)
