import time

import pytest

from components.tagging.cleaning import MAX_CHARACTERS, clean


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Bold &amp; beautiful", "Bold & beautiful"),
        ("Tom &amp;amp; Jerry", "Tom & Jerry"),
        ("&lt;b&gt;A dog&lt;/b&gt;", "A dog"),
        ('<a href="http://example.com/x">gallery</a> view', "gallery view"),
        ("<script>var dog = 1;</script>cat", "cat"),
        ("<!-- a comment --> dog", "dog"),
        ("[url=http://a.com][b]dog[/b][/url] [sic]", "dog [sic]"),
        ("3 < 5 and 5 > 3, I <3 cats", "3 < 5 and 5 > 3, I <3 cats"),
        ("the scat.The bear", "the scat.The bear"),
        ("&#100;og &#" + "9" * 5_000 + "; &#x64;", "dog d"),  # Python reads 4,300 digits
        ("", ""),
    ],
)
def test_leaves_prose(text: str, words: str) -> None:
    assert " ".join(clean(text).split()) == words


@pytest.mark.parametrize("text", ["a<br>b", "<p>a</p><p>b</p>", "<li>a<li>b", "a<BR />b"])
def test_puts_separate_pieces_on_lines_of_their_own(text: str) -> None:
    assert [line.strip() for line in clean(text).splitlines() if line.strip()] == ["a", "b"]


def test_cuts_scraped_pages() -> None:
    assert len(clean("dog " * MAX_CHARACTERS)) == MAX_CHARACTERS


@pytest.mark.parametrize("unit", ["<", "<a", "<script", "<a <b", "[b", "&amp;", "&", "<!--"])
def test_takes_linear_time_on_hostile_texts(unit: str) -> None:
    start = time.process_time()
    clean(unit * MAX_CHARACTERS)
    assert time.process_time() - start < 1.0  # a quadratic pattern needs minutes
