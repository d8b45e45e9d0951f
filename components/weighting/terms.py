"""Words of a text, as they are compared: lower case, plurals like singulars, no stop words.

Tagging's tokens are finer than is needed here: what they tell apart (camera names, dates, odd
characters) makes no word that a concept has, and such words do not count.
"""

import re
from collections.abc import Iterable

from components.shared.data.texts import unescaped

_WORD = re.compile(r"[^\W_]+")
_MARKUP = re.compile(r"</?[a-zA-Z!][^<>]*>|https?://\S+|www\.\S+")
_PLURAL = re.compile(r"(?<![sui])s$")
_SILENT_E = re.compile(r"(?:(?<=[sxzo])|(?<=[cs]h))e$")

# Function words stand in most glosses and most texts: left in, "of the" would be a resemblance.
_FUNCTION_WORDS = """
    a about after all also among an and any are as at be been being between but by can each either
    especially etc for from had has have having he her his i in into is it its many may more most
    my not of off often on one or other others our over s several she so some such t than that the
    their them then there these they this those to under up used usually various very was we were
    when where which who whose with without you your
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())


def readable(text: str) -> str:
    """Return a text without HTML and URLs, in single blanks; empty if it has no word."""
    text = _unmarked(text)
    return " ".join(text.split()) if _WORD.search(text) else ""


def spelled(text: str) -> list[str]:
    """Return a text's words as they stand there, but in lower case, without HTML and URLs."""
    return _WORD.findall(_unmarked(text).casefold())


def words(text: str) -> list[str]:
    """Return the stems of a text's words, in order: `the Wilson's warblers` → `wilson warbler`."""
    return [stem(word) for word in spelled(text) if word not in STOP_WORDS]


def stem(word: str) -> str:
    """Return what a noun and its regular plural have in common: `boxes` → `box`, `size` → `siz`.

    Only equality matters: where a plural could have two singulars (`axes`), they share a stem.
    """
    if len(word) > 3:
        word = _PLURAL.sub("", word)
    if len(word) > 3:
        word = _SILENT_E.sub("", word)
        if word.endswith("ie"):
            word = word[:-2] + "y"
    return word


def spellings(stems: Iterable[str]) -> dict[str, int]:
    """Return every spelling that has one of the stems, with the stem's number in their order.

    Looking a word up here is several times as fast as finding its stem.
    """
    found: dict[str, int] = {}
    for number, known in enumerate(stems):
        forms = [known + ending for ending in ("", "s", "e", "es")]
        if known.endswith("y"):
            forms += [known[:-1] + "ie", known[:-1] + "ies"]
        found |= {form: number for form in forms if stem(form) == known and form not in STOP_WORDS}
    return found


def _unmarked(text: str) -> str:
    text = unescaped(text)
    if "<" in text or "://" in text or "www." in text:
        text = _MARKUP.sub(" ", text)
    return text
