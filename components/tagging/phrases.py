"""Names of several words: `golden retriever` is one keyword, as WordNet has it.

Legend: N tokens, W distinct words of names.
"""

from collections.abc import Callable, Collection, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from nltk.corpus import wordnet
from numpy.typing import NDArray

from components.tagging.lemmas import Lemmatizer, WordNetLemmas
from components.tagging.memo import Memo
from components.tagging.tokens import tokens
from components.tagging.words import STOP_WORDS

# Longer ones are titles of offices and laws.
_LONGEST = 4
# Shorter ones, written together, are met by chance in other languages.
_SHORTEST_TOGETHER = 7


class Found(NamedTuple):
    """Names of one length among N tokens.

    Attributes:
        starts: Where they begin.
        length: Of how many tokens they are.
        names: Their numbers.
    """

    starts: NDArray[np.intp]
    length: int
    names: NDArray[np.int64]


class Phrases:
    """Finds names of several words, as they are written or together: `goldenretriever`.

    A name stands for its words: the `lion` of a sea lion is none. Only where what is named is a
    kind of its last word, that word is a keyword as well: a golden retriever is a retriever.

    Attributes:
        names: The names, by number.
        words: The W distinct words in them, by number.
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
            names: All nouns of a dictionary; those of several words have _ between them.
            lemma: Returns a noun's lemma; words are compared by it.
            is_kind: Returns whether what the first name means is a kind of what the second does.
        """
        lemma = cache(lemma)
        split = {}
        for name in sorted(names):
            words = [token.lower() for part in name.split("_") for token in tokens(part)]
            if 1 < len(words) <= _LONGEST and not {words[0], words[-1]} & STOP_WORDS:
                split[name] = [lemma(word) for word in words]
        self.names = [name.replace("_", " ") for name in split]
        self.words = {
            word: i for i, word in enumerate(sorted({w for s in split.values() for w in s}))
        }
        together = {"".join(words): words for words in split.values()}
        self._together = {
            word: words
            for word, words in together.items()
            if len(word) >= _SHORTEST_TOGETHER and word not in names
        }
        lasts = list(zip(split, (words[-1] for words in split.values()), strict=True))
        self.kind = Memo(lambda numbers: [is_kind(*lasts[number]) for number in numbers])
        # A name is a path: from the node that is its first word's number, by each next word.
        path: dict[int, int] = {}
        ends: dict[int, int] = {}
        for number, words in enumerate(split.values()):
            node, *rest = (self.words[word] for word in words)
            for word in rest:
                node = path.setdefault(node * len(self.words) + word, len(self.words) + len(path))
            ends[node] = number
        self._steps = np.array(sorted(path), np.int64)
        self._nodes = np.array([path[step] for step in self._steps.tolist()], np.int64)
        self._ends = np.full(len(self.words) + len(path), -1, np.int64)
        self._ends[list(ends)] = list(ends.values())

    def apart(self, token: str) -> list[str]:
        """Return the words of a token in which a name is written together, else the token."""
        word = token.lower()
        return self._together.get(word) or self._together.get(word.removesuffix("s")) or [token]

    def find(self, words: NDArray[np.integer]) -> Iterator[Found]:
        """Yield the names among tokens, two words long first.

        Args:
            words: (N,) the numbers of the tokens' lemmas in `words`, -1 for others.
        """
        words = np.append(words.astype(np.int64), [-1] * _LONGEST)
        starts = np.flatnonzero(words >= 0)
        nodes = words[starts]
        for length in range(2, 1 + _LONGEST):
            following = words[starts + length - 1]
            steps = nodes * len(self.words) + following
            place = np.searchsorted(self._steps, steps)
            known = (following >= 0) & (np.append(self._steps, -1)[place] == steps)
            starts, nodes = starts[known], self._nodes[place[known]]
            names = self._ends[nodes]
            yield Found(starts[names >= 0], length, names[names >= 0])


def phrases(lemmatizer: Lemmatizer) -> Phrases:
    """Return WordNet's names of several words; none where NLTK's data hold no WordNet."""
    names = wordnet.all_lemma_names("n") if isinstance(lemmatizer, WordNetLemmas) else ()
    return Phrases(set(names), lambda noun: lemmatizer(noun, plural=False), _is_kind)


def _is_kind(name: str, other: str) -> bool:
    above = (
        hypernym
        for synset in wordnet.synsets(name, wordnet.NOUN)
        for hypernym in synset.closure(lambda each: each.hypernyms() + each.instance_hypernyms())
    )
    return any(other in hypernym.lemma_names() for hypernym in above)
