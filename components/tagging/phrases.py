"""Names of several words: `golden retriever` is one keyword, as WordNet has it."""

import re
from collections.abc import Callable, Collection, Iterator
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from components.tagging.lemmas import Lemmatizer, WordNetLemmas
from components.tagging.memo import Memo
from components.tagging.sequences import Found, Sequences
from components.tagging.tokens import tokens
from components.tagging.words import FUNCTION_WORDS

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
            if 1 < len(words) <= _LONGEST and not {words[0], words[-1]} & FUNCTION_WORDS:
                split[name] = [lemma(word) for word in words]
        # Of names that are equal by their lemmas the first stays: singulars, then the usual ones.
        split = dict(sorted(split.items(), key=lambda item: not item[0].endswith(item[1][-1])))
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


def phrases(lemmatizer: Lemmatizer) -> Phrases:
    """Return WordNet's names of several words; none where NLTK's data hold no WordNet."""
    if not isinstance(lemmatizer, WordNetLemmas):
        return Phrases((), lambda noun: noun, lambda name, other: False)
    dictionary = lemmatizer.dictionary
    lemma = partial(lemmatizer, plural=False)
    return Phrases(dictionary.nouns, lemma, dictionary.is_kind)
