"""Lemmas of nouns: `geese` and `goose` are one keyword."""

import logging
import re
from typing import Protocol

from components.tagging.dictionary import Dictionary

logger = logging.getLogger(__name__)

_REGULAR = (
    (re.compile(r"(?<=\w\w)ies$"), "y"),
    (re.compile(r"(?<=ss|sh|ch)es$|(?<=x)es$"), ""),
    (re.compile(r"(?<=\w\w[^sui])s$"), ""),
)
_INVARIABLE = ("series", "species")
# Things in pairs, and others that are not what their singulars are.
_PAIRS = frozenset(
    {"bellows", "braces", "briefs", "falls", "glasses", "greens", "shears", "shorts"}
)


class Lemmatizer(Protocol):
    """What finds a noun's lemma.

    Attributes:
        name: What to call it in a report.
    """

    name: str

    def __call__(self, noun: str, *, plural: bool) -> str:
        """Return the lemma of a lower-case noun, which the tagger takes for a plural or not."""

    def is_common(self, word: str) -> bool:
        """Return whether a lower-case word is in the dictionary, and not as a name."""


class WordNetLemmas:
    """WordNet's own rules and exceptions (morphy); words that it does not know stay as they are.

    Attributes:
        dictionary: WordNet.
    """

    name = "WordNet's morphy"

    def __init__(self, dictionary: Dictionary) -> None:
        """Find lemmas in a dictionary."""
        self.dictionary = dictionary

    def __call__(self, noun: str, *, plural: bool) -> str:
        """Return the lemma of a lower-case noun.

        WordNet has shoes and cows as nouns of their own, as in "in my shoes". A plural is that of
        its singular where this is the more usual word in WordNet's corpus.
        """
        lemma = self.dictionary.base(noun, "noun")
        # Shorter ones are accidents: gps is no plural of gp, nor las of la.
        if not lemma or len(lemma) < 3:
            return noun
        if plural and lemma == noun and noun not in _PAIRS:
            singular, uses = _singular(noun), self.dictionary.uses
            return singular if uses(singular) > uses(noun) else noun
        return lemma

    def is_common(self, word: str) -> bool:
        """Return whether WordNet has the word, in any form, written with a small letter."""
        return self.dictionary.is_common(word)


class RegularPlurals:
    """Only regular English plurals, of words that are tagged as plurals."""

    name = "regular plurals only (NLTK's data hold no WordNet)"

    def __call__(self, noun: str, *, plural: bool) -> str:
        """Return the singular of a lower-case noun."""
        return _singular(noun) if plural else noun

    def is_common(self, word: str) -> bool:
        """Return whether the word is in no dictionary: it is not."""
        return False


def lemmatizer() -> Lemmatizer:
    """Return WordNet's lemmas if NLTK's data hold it, else regular plurals."""
    try:
        return WordNetLemmas(Dictionary.load())
    except LookupError:
        logger.warning(
            "No WordNet: lemmas by %s; `python -m nltk.downloader wordnet` gets it",
            RegularPlurals.name,
        )
        return RegularPlurals()


def _singular(noun: str) -> str:
    """Return the singular of a regular English plural."""
    if not noun.endswith(_INVARIABLE):
        for ending, singular in _REGULAR:
            if ending.search(noun):
                return ending.sub(singular, noun)
    return noun
