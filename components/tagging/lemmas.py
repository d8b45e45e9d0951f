"""Lemmas of nouns: `geese` and `goose` are one keyword."""

import logging
import re
from typing import Protocol

from nltk.corpus import wordnet

logger = logging.getLogger(__name__)

_REGULAR = (
    (re.compile(r"(?<=\w\w)ies$"), "y"),
    (re.compile(r"(?<=ss|sh|ch)es$|(?<=x)es$"), ""),
    (re.compile(r"(?<=\w\w[^sui])s$"), ""),
)
_INVARIABLE = ("series", "species")


class Lemmatizer(Protocol):
    """What finds a noun's lemma.

    Attributes:
        name: What to call it in a report.
    """

    name: str

    def __call__(self, noun: str, *, plural: bool) -> str:
        """Return the lemma of a lower-case noun, which the tagger takes for a plural or not."""


class WordNetLemmas:
    """WordNet's own rules and exceptions (morphy); words that it does not know stay as they are."""

    name = "WordNet's morphy"

    def __call__(self, noun: str, *, plural: bool) -> str:
        """Return the lemma of a lower-case noun."""
        lemma: str | None = wordnet.morphy(noun, wordnet.NOUN)
        # Shorter ones are accidents: gps is no plural of gp, nor las of la.
        return lemma if lemma and len(lemma) > 2 else noun


class RegularPlurals:
    """Only regular English plurals, of words that are tagged as plurals."""

    name = "regular plurals only (NLTK's data hold no WordNet)"

    def __call__(self, noun: str, *, plural: bool) -> str:
        """Return the singular of a lower-case noun."""
        if plural and not noun.endswith(_INVARIABLE):
            for ending, singular in _REGULAR:
                if ending.search(noun):
                    return ending.sub(singular, noun)
        return noun


def lemmatizer() -> Lemmatizer:
    """Return WordNet's lemmas if NLTK's data hold it, else regular plurals."""
    try:
        wordnet.ensure_loaded()
    except LookupError:
        logger.warning(
            "No WordNet: lemmas by %s; `python -m nltk.downloader wordnet` gets it",
            RegularPlurals.name,
        )
        return RegularPlurals()
    return WordNetLemmas()
