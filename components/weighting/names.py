"""Names in texts, and the classes that they name: a `mule deer` is a deer.

A name is a noun of WordNet, of one or several words. It names the nearest class at or above each of
its meanings; which of them an image may show is up to its label's candidates. Of names that overlap
the longest counts: a `sea lion` names no lion. A class outside WordNet is named by its own lemmas.

Legend: B texts of a batch, P pairs of a text and a class that a name in it names.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.data.dictionary import Dictionary
from components.shared.data.sequences import Sequences
from components.weighting.terms import STOP_WORDS, spelled, spellings, stem

logger = logging.getLogger(__name__)

# Longer ones are titles of offices and laws, as in tagging.
_LONGEST = 4


@dataclass(frozen=True, slots=True)
class Names:
    """Finds names in texts.

    Attributes:
        sequences: The names, as sequences of stems.
        spellings: The stems' numbers in `sequences.words`, by every spelling.
        offsets: (M+1,) int64, name m names classes[offsets[m]] … classes[offsets[m + 1] - 1].
        classes: int64, of each name that of its most frequent meaning first.
        digest: Of WordNet's files; empty without them.
    """

    sequences: Sequences
    spellings: dict[str, int]
    offsets: NDArray[np.int64]
    classes: NDArray[np.int64]
    digest: str

    @classmethod
    def of(cls, concepts: pa.Table) -> Self:
        """Learn the names of the concepts' classes."""
        try:
            dictionary = Dictionary.load()
        except LookupError:
            logger.warning(
                "no WordNet: names are the classes' lemmas only; get it with `python -m "
                "nltk.downloader wordnet`"
            )
            dictionary = None
        named: dict[tuple[str, ...], list[int]] = {}
        for name, classes in _named(concepts, dictionary):
            words = spelled(name)
            if 1 <= len(words) <= _LONGEST and STOP_WORDS.isdisjoint(words):
                # Names with the same stems, such as a noun and its plural, are one.
                known = named.setdefault(tuple(map(stem, words)), [])
                known += [each for each in classes if each not in known]
        sequences = Sequences(named)
        numbers = spellings(sequences.words)
        offsets = np.cumsum([0, *map(len, named.values())])
        numbered = np.fromiter(chain.from_iterable(named.values()), np.int64, offsets[-1])
        if dictionary is None:
            return cls(sequences, numbers, offsets, numbered, digest="")
        for form, bases in dictionary.irregular().items():
            for base in bases:
                if (known_stem := stem(base)) in sequences.words:
                    numbers.setdefault(form, sequences.words[known_stem])
        return cls(sequences, numbers, offsets, numbered, dictionary.digest)

    def find(self, texts: Sequence[Sequence[str]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Find the names in B texts, given as words in lower case.

        Returns:
            The texts (P,) and the classes (P,), a pair as often as a name names it.
        """
        number = self.spellings.get
        # A number that no word has keeps names from reaching into the next text.
        words = np.array([number(word, -1) for text in texts for word in (*text, "")], np.int64)
        text_of = np.repeat(np.arange(len(texts)), [len(text) + 1 for text in texts])
        taken = np.zeros(len(words), bool)
        found = [(text_of[:0], words[:0])]
        for starts, length, names in reversed(list(self.sequences.find(words))):
            places = starts[:, None] + np.arange(length)
            free = ~taken[places].any(axis=1)
            taken[places[free]] = True
            found.append((text_of[starts[free]], names[free]))
        images, names = map(np.concatenate, zip(*found, strict=True))
        firsts, counts = self.offsets[names], self.offsets[names + 1] - self.offsets[names]
        pairs = np.arange(counts.sum()) + np.repeat(firsts - (counts.cumsum() - counts), counts)
        return np.repeat(images, counts), self.classes[pairs]


def _named(concepts: pa.Table, dictionary: Dictionary | None) -> Iterator[tuple[str, list[int]]]:
    """Yield names and the classes that they name, if any."""
    num_classes = len(concepts) - concepts["label"].null_count
    wnids = concepts["wnid"].to_pylist()[:num_classes]
    offsets = [int(w[1:]) if re.fullmatch(r"n\d{8}", w) else -1 for w in wnids]
    numbers = {offset: number for number, offset in enumerate(offsets)}
    nearest = dictionary.kinds(offsets) if dictionary else {}
    if dictionary is not None:
        for noun in dictionary.nouns:
            above = [nearest[each] for each in dictionary.meanings(noun) if each in nearest]
            yield noun.replace("_", " "), [numbers[each] for each in dict.fromkeys(above)]
    for number, lemmas in enumerate(concepts["lemmas"].to_pylist()[:num_classes]):
        if offsets[number] not in nearest:
            yield from ((lemma, [number]) for lemma in lemmas)
