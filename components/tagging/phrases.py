"""Names of several words: `golden retriever` is one keyword, as WordNet has it."""

import re
from collections.abc import Callable, Collection, Iterator
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from components.shared.data.sequences import Found, Sequences
from components.tagging.keyword_filter import FUNCTION_WORDS
from components.tagging.language import English, Language
from components.tagging.memo import Memo
from components.tagging.tokens import ENDS, tokens

# Longer ones are titles of offices and laws.
_LONGEST = 4
# Shorter ones, written together, are met by chance in other languages.
_SHORTEST_TOGETHER = 7


class Phrases:
    """Finds names of several words, as they are written or together: `goldenretriever`.

    A name stands for its words: the `lion` of a sea lion is none. Only where what is named is a
    kind of its last word, that word is a keyword as well: a golden retriever is a retriever.

    Attributes:
        names: The names, by number.
        words: The distinct words in them, by number.
        kind: By a name's number, 1 if what it names is a kind of its last word, else 0.
    """

    def __init__(
        self,
        names: Collection[str],
        lemma: Callable[[str], str],
        is_kind: Callable[[str, str], bool],
    ) -> None:
        """Prepare to find names.

        Args:
            names: All nouns of a dictionary, of synonyms the usual one first; those of several
                words have _ between them.
            lemma: Returns a noun's lemma; words are compared by it.
            is_kind: Returns whether what the first name means is a kind of what the second does.
        """
        lemma = cache(lemma)
        split = {}
        for name in names:
            parts = map(str.capitalize, name.split("_"))  # St. is known as an abbreviation
            words = [token.lower() for part in parts for token in tokens(part)]
            if {words[0], words[-1]} & FUNCTION_WORDS or set(words) & set(ENDS):
                continue  # as in "park ave."
            if 1 < len(words) <= _LONGEST:
                split[name] = [lemma(word) for word in words]

        def is_plural(item: tuple[str, list[str]]) -> bool:
            name, lemmas = item
            return not name.endswith(lemmas[-1])

        # Of names that are equal by their lemmas the first stays: singulars, then the usual ones.
        split = dict(sorted(split.items(), key=is_plural))
        self.names = [name.replace("_", " ") for name in split]
        lasts = [(name, words[-1]) for name, words in split.items()]
        self.kind = Memo(lambda numbers: [is_kind(*lasts[number]) for number in numbers])
        self._sequences = Sequences(split.values())
        self.words = self._sequences.words
        known = set(names)
        together = {re.sub("[-']", "", "".join(words)): words for words in split.values()}
        self._together = {
            word: words
            for word, words in together.items()
            if len(word) >= _SHORTEST_TOGETHER and word not in known
        }

    def apart(self, token: str) -> list[str]:
        """Return the words of a token in which a name is written together, else the token."""
        word = token.lower()
        return self._together.get(word) or self._together.get(word.removesuffix("s")) or [token]

    def find(self, words: NDArray[np.integer]) -> Iterator[Found]:
        """Yield the names among N tokens, the longest first.

        Args:
            words: (N,) the numbers of the tokens' lemmas in `words`, -1 for others.
        """
        return reversed(list(self._sequences.find(words)))


def phrases(language: Language) -> Phrases:
    """Return WordNet's names of several words, without figures of speech; else none."""
    if not isinstance(language, English):
        return Phrases((), lambda noun: noun, lambda name, other: False)
    dictionary, lemma = language.dictionary, partial(language.lemma, plural=False)
    names = [noun for noun in dictionary.nouns if not ("_" in noun and dictionary.is_figure(noun))]
    return Phrases(names, lemma, dictionary.is_kind)
