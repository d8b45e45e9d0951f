"""Texts as arrays: the words of many texts in a row, with their tags.

Legend: N tokens, S sentences.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.tagging.boilerplate import Boilerplate
from components.tagging.cleaning import clean
from components.tagging.keyword_filter import FUNCTION_WORDS
from components.tagging.language import Language
from components.tagging.memo import Memo
from components.tagging.perceptron import Perceptron
from components.tagging.taggers import NOUNS
from components.tagging.tokens import ENDS, tokens

_CAPITALISED, _LOWER_CASE, _OTHER = range(3)


class Tagged(NamedTuple):
    """The N tokens of texts, in their order; an end stands between any two sentences.

    Attributes:
        words: (N,) int32, numbers of the perceptron.
        tags: (N,) int16, likewise.
        texts: (N,) int64, which text each is of.
    """

    words: NDArray[np.int32]
    tags: NDArray[np.int16]
    texts: NDArray[np.int64]


class Reader:
    """Finds the words of texts, and their tags.

    Prose is tagged sentence by sentence. Flickr's tags are no sentences: each is tagged alone, as
    in `a … .`, for its neighbours in the list are there by chance. Titles of one word likewise.
    """

    def __init__(
        self,
        perceptron: Perceptron,
        language: Language,
        apart: Callable[[str], list[str]],
    ) -> None:
        """Prepare to read.

        Args:
            perceptron: Numbers words and tags them.
            language: The texts' language.
            apart: Returns the words in a token that is several words written together.
        """
        self._perceptron, self._language, self._apart = perceptron, language, apart
        self._boilerplate = Boilerplate(perceptron)
        self._alone = Memo(self._tags_alone)
        self._case = Memo(lambda words: [_case(perceptron.words[word]) for word in words])
        self._in_lower_case = Memo(lambda words: list(map(self._lowered, words)))
        self.forget()

    def forget(self) -> None:
        """Forget all words, the perceptron's as well: their numbers are void."""
        self._perceptron.forget()
        for memory in (self._boilerplate, self._alone, self._case, self._in_lower_case):
            memory.forget()
        self._chunks = _Chunks(self._numbers)
        self._closed_chunks = _Chunks(lambda chunk: (*self._numbers(chunk), self._end))
        self._end, *_ = [self._perceptron.number(end) for end in ENDS]  # in a row

    def remembered(self) -> int:
        """Return how many words are remembered, and texts between two blanks."""
        return sum(map(len, (self._perceptron.words, self._chunks, self._closed_chunks)))

    def prose(self, texts: Iterable[str]) -> Tagged:
        """Read sentences.

        A line that nothing ends, such as a title, gets a period: the tagger has seen hardly any
        words with nothing after them, and tags a closing `kitten` as a verb. In headlines, where
        each word has a capital, it would take verbs for names: what the dictionary has with a small
        letter gets it.
        """
        words, of_texts = self._words(texts, self._chunks, [self._end])
        ends, sentences = self._sentences(words)
        kept = ends | ~self._boilerplate.among(words, sentences)
        words, of_texts = words[kept], of_texts[kept]

        ends, sentences = self._sentences(words)
        lengths = np.bincount(sentences[~ends], minlength=np.count_nonzero(ends))
        lower = ((lengths == 1) | self._are_headlines(words, sentences, len(lengths)))[sentences]
        words[lower] = self._in_lower_case[words[lower]]
        alone, several = (lengths == 1)[sentences] & ~ends, (lengths > 1)[sentences]
        tags = np.zeros(len(words), np.int16)
        tags[alone] = self._alone[words[alone]]
        tags[several] = self._perceptron.tag(words[several], lengths[lengths > 1] + 1)
        kept = (lengths > 0)[sentences]
        return Tagged(words[kept], tags[kept], of_texts[kept])

    def tags(self, texts: Iterable[str]) -> Tagged:
        """Read Flickr's tags, each as if it were a sentence: its neighbours are there by chance."""
        return self._each_alone(*self._words(texts, self._closed_chunks, []))

    def queries(self, texts: Iterable[str]) -> Tagged:
        """Read a search engine's queries: words that belong together, but in no sentence."""
        return self._each_alone(*self._words(texts, self._chunks, [self._end]))

    def _each_alone(self, words: NDArray[np.int32], of_texts: NDArray[np.int64]) -> Tagged:
        words = self._in_lower_case[words]
        return Tagged(words, self._alone[words].astype(np.int16), of_texts)

    def _words(
        self, texts: Iterable[str], chunks: "_Chunks", line_end: list[int]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the numbers of the words, lines with their ends, and the texts they are of."""
        words: list[int] = []
        stops = []
        look_up = chunks.__getitem__
        for text in texts:
            for line in clean(text).splitlines():
                words.extend(chain.from_iterable(map(look_up, line.split())))
                words.extend(line_end)
            stops.append(len(words))
        of_texts = np.searchsorted(stops, np.arange(len(words)), side="right")
        return np.array(words, np.int32), of_texts

    def _sentences(self, words: NDArray[np.int32]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return whether words are ends (N,), and the number of the sentence of each (N,)."""
        ends = (words >= self._end) & (words < self._end + len(ENDS))
        return ends, np.cumsum(ends) - ends

    def _are_headlines(
        self, words: NDArray[np.int32], sentences: NDArray[np.int64], count: int
    ) -> NDArray[np.bool_]:
        """Return whether sentences (S,) have several capitals, and no word that lacks one."""
        case = self._case[words]
        capitalised = np.bincount(sentences[case == _CAPITALISED], minlength=count)
        lower_case = np.bincount(sentences[case == _LOWER_CASE], minlength=count)
        headlines: NDArray[np.bool_] = (capitalised > 1) & (lower_case == 0)
        return headlines

    def _numbers(self, chunk: str) -> tuple[int, ...]:
        words = chain.from_iterable(map(self._apart, tokens(chunk)))
        return tuple(map(self._perceptron.number, words))

    def _lowered(self, word: int) -> int:
        lower = self._perceptron.words[word].lower()
        return self._perceptron.number(lower) if self._language.is_common(lower) else word

    def _tags_alone(self, words: Sequence[int]) -> NDArray[np.int16]:
        before = [self._perceptron.number(word) for word in self._language.article.split()]
        frame = [*before, 0, self._end]
        framed = np.tile(np.array(frame, np.int32), (len(words), 1))
        framed[:, len(before)] = words
        lengths = np.full(len(words), len(frame))
        tags = self._perceptron.tag(framed.ravel(), lengths)[len(before) :: len(frame)]
        for position, word in enumerate(words):
            if self._language.is_only_noun(self._perceptron.words[word].lower()):
                tags[position] = self._as_noun(tags[position])
        return tags

    def _as_noun(self, tag: int) -> int:
        """Return a noun's tag, in place of a tag that is not one."""
        tags = self._perceptron.tags
        return tag if tags[tag] in NOUNS else tags.index("NN")


class _Chunks(dict[str, tuple[int, ...]]):
    """The words of chunks, found on first use."""

    def __init__(self, find: Callable[[str], tuple[int, ...]]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, chunk: str) -> tuple[int, ...]:
        words = self[chunk] = self._find(chunk)
        return words


def _case(word: str) -> int:
    if word[:1].isupper():
        return _CAPITALISED
    return _LOWER_CASE if word[:1].islower() and word not in FUNCTION_WORDS else _OTHER
