import pytest

from components.tagging.words import is_keyword, sentences, words


def test_splits_sentences_and_separates_their_periods() -> None:
    assert sentences("The dog saw the scat. It ran!") == [
        ["The", "dog", "saw", "the", "scat", "."],
        ["It", "ran", "!"],
    ]


def test_splits_sentences_without_a_blank_between_them() -> None:
    assert sentences("the scat.The bear") == [["the", "scat", "."], ["The", "bear", "."]]


def test_closes_fragments_with_a_period_but_leaves_a_single_word_alone() -> None:
    assert sentences("tabby kitten\nkitten") == [["tabby", "kitten", "."], ["kitten"]]


def test_lowers_lines_of_capitals() -> None:
    assert sentences("PUPPIES FOR SALE") == [["puppies", "for", "sale", "."]]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Wilson's dogs' don't", ["Wilson", "'s", "dogs", "'", "do", "n't"]),
        ("O'Brien t-shirt", ["O'Brien", "t-shirt"]),
        ("on 10/13/2007, 1,000 F-16s", ["on", "10/13/2007", ",", "1,000", "F-16s"]),
        ("(so) *wow*", ["(", "so", ")", "wow"]),
        ("cute😍dog ★★ #1 👩‍👧", ["cute", "dog", "#", "1"]),
        ("null\x00byte", ["null", "byte"]),
        ("कुत्ता घर", ["कुत्ता", "घर"]),
    ],
)
def test_tokens_are_words_or_the_treebanks_punctuation(text: str, tokens: list[str]) -> None:
    assert sentences(text) == [[*tokens, "."]]


@pytest.mark.parametrize("text", ["", " \n\t", "😍😍", "...", "\x00", "?!"])
def test_finds_nothing_where_there_are_no_words(text: str) -> None:
    assert sentences(text) == words(text) == []


def test_words_of_a_tag_list_have_no_punctuation() -> None:
    assert words('dog, "cat"; golden-retriever (frog)') == [
        "dog",
        "cat",
        "golden-retriever",
        "frog",
    ]


@pytest.mark.parametrize("word", ["dog", "a380", "f-16", "o'brien", "собака", "كلب", "b52"])
def test_accepts_words_and_short_model_names(word: str) -> None:
    assert is_keyword(word)


@pytest.mark.parametrize(
    "word", ["", "x", "747", "2007", "10/13/2007", "'s", "%", "ab12345", "x" * 31, "the", "january"]
)
def test_refuses_numbers_codes_punctuation_and_words_of_grammar(word: str) -> None:
    assert not is_keyword(word)
