"""Keywords of texts: the nouns and adjectives that a tagger finds in them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.tagging.keyword_filter import is_keyword
from components.tagging.language import Language
from components.tagging.memo import Memo
from components.tagging.perceptron import Perceptron
from components.tagging.phrases import Phrases
from components.tagging.reading import Reader, Tagged
from components.tagging.taggers import ADJECTIVES, NOUNS, PLURALS

Fields = Literal["title", "title+description", "tags", "all"]
PartsOfSpeech = Literal["nouns", "nouns+adjectives"]

FIELDS: Mapping[Fields, tuple[str, ...]] = {
    "title": ("title",),
    "title+description": ("title", "description"),
    "tags": ("tags",),
    "all": ("title", "description", "tags"),
}
# What a word may be as a keyword: it decides on the lemma.
_NOTHING, _NOUN, _PLURAL, _ADJECTIVE = _KINDS = range(4)
# Words and texts between blanks that are remembered until the next row group: 250 bytes each.
_MEMORY = 2**18


@dataclass(frozen=True, slots=True)
class Keywords:
    """The keywords of B images, P in all.

    Attributes:
        images: (P,) int64 ascending, which image has it.
        words: (P,) int64, the word's number, distinct in an image.
        tokens: How many tokens were read.
    """

    images: NDArray[np.int64]
    words: NDArray[np.int64]
    tokens: int


class _Pairs(NamedTuple):
    """P pairs of a text and a keyword."""

    texts: NDArray[np.int64]
    words: NDArray[np.int32]


class Extractor:
    """Finds the keywords of batches of texts."""

    def __init__(
        self,
        perceptron: Perceptron,
        language: Language,
        phrases: Phrases,
        fields: Fields,
        parts_of_speech: PartsOfSpeech,
        keep_query_words: bool,
    ) -> None:
        """Prepare to read some fields and to take some parts of speech."""
        self._perceptron, self._language, self._phrases = perceptron, language, phrases
        self._reader = Reader(perceptron, language, phrases.apart)
        self._fields, self._keep_query_words = FIELDS[fields], keep_query_words
        self._adjectives = parts_of_speech == "nouns+adjectives"
        kinds = dict.fromkeys(NOUNS, _NOUN) | dict.fromkeys(PLURALS, _PLURAL)
        kinds |= dict.fromkeys(ADJECTIVES, _ADJECTIVE)
        self._kinds = np.array([kinds.get(tag, _NOTHING) for tag in perceptron.tags])
        self._in_phrases = Memo(self._find_in_phrases)
        self._keywords = Memo(self._find_keywords)
        self._named = Memo(lambda names: [self._number(phrases.names[name]) for name in names])
        self._forget()

    @property
    def columns(self) -> list[str]:
        """The columns of Texts that are read."""
        return list(self._fields) if self._keep_query_words else [*self._fields, "query"]

    def make_room(self) -> None:
        """Forget all words if they are many; `words` begins anew."""
        if self._reader.remembered() > _MEMORY:
            self._forget()

    def _forget(self) -> None:
        self._numbers: dict[str, int] = {}
        self._reader.forget()
        for memo in (self._keywords, self._named, self._in_phrases):
            memo.forget()

    @property
    def words(self) -> list[str]:
        """The keywords found so far, by number."""
        return list(self._numbers)

    def __call__(self, texts: Mapping[str, Sequence[str]]) -> Keywords:
        """Return the keywords of a batch of Texts, given by column."""
        size = len(texts[self._fields[0]])
        prose = [texts[field] for field in self._fields if field != "tags"]
        read = [self._reader.prose(chain.from_iterable(prose))] if prose else []
        if "tags" in self._fields:
            read.append(self._reader.tags(texts["tags"]))
        pairs = _joined(pair for tagged in read for pair in self._pairs(tagged))
        images, words = pairs.texts % size, pairs.words
        if not self._keep_query_words:
            images, words = self._without_queries(texts["query"], images, words)
        keys = np.unique(images * len(self._numbers) + words)
        distinct = np.divmod(keys, max(1, len(self._numbers)))
        return Keywords(*distinct, sum(len(tagged.words) for tagged in read))

    def _pairs(self, tagged: Tagged) -> Iterator[_Pairs]:
        kinds = self._kinds[tagged.tags]
        inside, dropped = np.zeros((2, len(kinds)), bool)
        for starts, length, names in self._phrases.find(self._in_phrases[tagged.words]):
            positions = starts[:, None] + np.arange(length)
            new = (kinds[positions[:, -1]] != _NOTHING) & ~inside[positions].all(axis=1)
            positions, names = positions[new], names[new]
            inside[positions] = True
            dropped[positions[:, :-1]] = True
            dropped[positions[:, -1]] |= self._phrases.kind[names] == 0
            yield _Pairs(tagged.texts[positions[:, 0]], self._named[names])
        chosen = np.flatnonzero((kinds != _NOTHING) & ~dropped)
        words = self._keywords[tagged.words[chosen] * len(_KINDS) + kinds[chosen]]
        yield _Pairs(tagged.texts[chosen[words >= 0]], words[words >= 0])

    def _without_queries(
        self, queries: Sequence[str], images: NDArray[np.int64], words: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the pairs whose word is not in the image's query, whatever its part of speech."""
        numbers: dict[str, int] = {}
        of_images = np.array([numbers.setdefault(query, len(numbers)) for query in queries])
        tagged = self._reader.queries(numbers)
        pairs = [
            _Pairs(tagged.texts, self._keywords[tagged.words * len(_KINDS) + kind])
            for kind in (_NOUN, _PLURAL, _ADJECTIVE)
        ]
        for starts, _, names in self._phrases.find(self._in_phrases[tagged.words]):
            pairs.append(_Pairs(tagged.texts[starts], self._named[names]))
        named = _joined(pairs)
        known = named.texts * len(self._numbers) + named.words
        kept = ~np.isin(of_images[images] * len(self._numbers) + words, known[named.words >= 0])
        return images[kept], words[kept]

    def _find_in_phrases(self, words: list[int]) -> list[int]:
        known = self._phrases.words
        return [
            known.get(self._language.lemma(self._perceptron.words[word].lower(), plural=False), -1)
            for word in words
        ]

    def _find_keywords(self, codes: list[int]) -> list[int]:
        return [self._find_keyword(*divmod(code, len(_KINDS))) for code in codes]

    def _find_keyword(self, number: int, kind: int) -> int:
        word = self._perceptron.words[number].lower()
        # To the tagger a puppy is an adjective, even in "a puppy .".
        if kind == _ADJECTIVE and self._language.is_only_noun(word):
            kind = _NOUN
        if not is_keyword(word) or kind == _ADJECTIVE and not self._adjectives:
            return -1
        if kind != _ADJECTIVE:
            word = self._language.lemma(word, plural=kind == _PLURAL)
        return self._number(word) if is_keyword(word) else -1

    def _number(self, keyword: str) -> int:
        return self._numbers.setdefault(keyword, len(self._numbers))


def _joined(pairs: Iterable[_Pairs]) -> _Pairs:
    texts, words = zip(*pairs, strict=True)
    return _Pairs(np.concatenate(texts), np.concatenate(words))
