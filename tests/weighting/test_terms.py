import pytest

from components.weighting.terms import spelled, spellings, stem, words


def test_words_are_lower_case_singular_and_without_function_words() -> None:
    assert words("The Wilson's warblers, of a WOOD_land") == ["wilson", "warbler", "wood", "land"]


@pytest.mark.parametrize(
    ("singular", "plural"),
    [
        ("warbler", "warblers"),
        ("pony", "ponies"),
        ("collie", "collies"),
        ("pie", "pies"),
        ("box", "boxes"),
        ("size", "sizes"),
        ("church", "churches"),
        ("headache", "headaches"),
        ("bus", "buses"),
        ("glass", "glasses"),
        ("potato", "potatoes"),
        ("shoe", "shoes"),
    ],
)
def test_a_plural_has_the_stem_of_its_singular(singular: str, plural: str) -> None:
    assert stem(plural) == stem(singular)


@pytest.mark.parametrize("word", ["bass", "cactus", "iris", "gas"])
def test_an_s_that_is_no_plural_stays(word: str) -> None:
    assert stem(word) == word


def test_words_that_differ_in_more_than_number_keep_different_stems() -> None:
    assert len({stem(word) for word in ("pin", "pine", "car", "care", "cap", "cape")}) == 6


def test_spellings_hold_every_regular_form_of_a_stem() -> None:
    found = spellings(["pony", "warbler"])

    assert {word for word, number in found.items() if number == 0} == {
        *("pony", "ponys", "ponie", "ponies")
    }
    assert {word for word, number in found.items() if number == 1} == {"warbler", "warblers"}


def test_html_and_addresses_give_no_words() -> None:
    text = 'A <a href="http://x.org/lion">cat</a> &amp; 2 dogs https://y.org/wolf www.z.org/fox <3'

    assert spelled(text) == ["a", "cat", "2", "dogs", "3"]
