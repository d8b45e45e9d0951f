"""What tagging knows of the language of the texts: English, or that it is another."""

import logging
import re
from collections.abc import Collection
from typing import Protocol

from components.shared.data.dictionary import Dictionary
from components.tagging.keyword_filter import FUNCTION_WORDS

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
# A tag of the Penn Treebank that taggers of English have.
_PLURAL = "NNS"


class Language(Protocol):
    """What is known of a language's words, which are given in lower case.

    Attributes:
        lemmas: What lemmas come from, for the report.
        article: Stands before a word that is tagged alone; empty for none.
        digest: Changes with all that is known.
    """

    lemmas: str
    article: str
    digest: str

    def lemma(self, noun: str, *, plural: bool) -> str:
        """Return the lemma of a noun, which the tagger takes for a plural or not."""

    def is_common(self, word: str) -> bool:
        """Return whether a word is known, and not as a name only."""

    def is_only_noun(self, word: str) -> bool:
        """Return whether a word is in the dictionary as a noun, and as nothing else."""


class English:
    """By WordNet's own rules and exceptions (morphy).

    Attributes:
        dictionary: WordNet.
    """

    lemmas, article = "WordNet's morphy", "a"

    def __init__(self, dictionary: Dictionary) -> None:
        """Look words up in a dictionary."""
        self.dictionary, self.digest = dictionary, dictionary.digest

    def lemma(self, noun: str, *, plural: bool) -> str:
        """Return the lemma of a noun; words that WordNet does not know stay as they are.

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
        """Return whether WordNet has a word, in any form, written with a small letter."""
        return word in FUNCTION_WORDS or self.dictionary.is_common(word)

    def is_only_noun(self, word: str) -> bool:
        """Return whether WordNet has a word, in any form, as a noun only."""
        return self.dictionary.is_only_noun(word)


class EnglishWithoutWordNet:
    """Knows the regular plurals of words that are tagged as plurals."""

    lemmas, article, digest = "regular plurals only (NLTK's data hold no WordNet)", "a", ""

    def lemma(self, noun: str, *, plural: bool) -> str:
        """Return the singular of a noun."""
        return _singular(noun) if plural else noun

    def is_common(self, word: str) -> bool:
        """Return whether a word is one of grammar."""
        return word in FUNCTION_WORDS

    def is_only_noun(self, word: str) -> bool:
        """Return that a word is in no dictionary."""
        return False


class OtherLanguage:
    """Leaves all to the tagger."""

    lemmas, article, digest = "none (the tagger's tags are not those of English)", "", ""

    def lemma(self, noun: str, *, plural: bool) -> str:
        """Return the noun as it is."""
        return noun

    def is_common(self, word: str) -> bool:
        """Return that a word is in no dictionary."""
        return False

    def is_only_noun(self, word: str) -> bool:
        """Return that a word is in no dictionary."""
        return False


def language(tags: Collection[str]) -> Language:
    """Return what is known of the language of a tagger with these tags."""
    if _PLURAL not in tags:
        return OtherLanguage()
    try:
        return English(Dictionary.load())
    except LookupError:
        logger.warning(
            "no WordNet: lemmas by %s; get it with `python -m nltk.downloader wordnet`",
            EnglishWithoutWordNet.lemmas,
        )
        return EnglishWithoutWordNet()


def _singular(noun: str) -> str:
    """Return the singular of a regular English plural."""
    if not noun.endswith(_INVARIABLE):
        for ending, singular in _REGULAR:
            if ending.search(noun):
                return ending.sub(singular, noun)
    return noun
