"""NLTK's averaged perceptron for many sentences at once: the same tags, on every token.

A token's tag is the class with the largest sum of weights over 14 features. Ten of them depend on
words alone, and are looked up once for each distinct word; four depend on the tags of the two
tokens before. So tokens whose tags are known beforehand (a tagger's dictionary has the frequent,
unambiguous words) are skipped, and the others are tagged in *waves*: a token's wave is the first in
which both of its predecessors have their tags. Wherever two known tags follow each other, sentences
fall into pieces that do not wait for one another, so there are few waves, of many tokens each.

The sums of a wave are one product of a sparse and a dense matrix. scipy adds the rows in the order
in which they are given, which is NLTK's: the sums are the same to the last bit for any weights.

Legend: F features, T tags, N tokens.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

_STARTS, _ENDS = ("-START-", "-START2-"), ("-END-", "-END2-")
# A sentence stands between these: two words before it, two after.
_PADDING = 4
# Tokens whose sums are taken at once: they stay in the processor's cache.
_PIECE = 4_096
# The features of a token, in NLTK's order. Of these, tag and tags are of the tokens before; a
# pair's word is the token's own.
_BIAS, _SUFFIX, _FIRST, _TAG, _TAG_BEFORE, _TAGS, _WORD, _TAG_AND_WORD, *_CONTEXT = range(14)
# The names of features of a single word: its first three are of the word as it is written, the
# others of its normal form, as seen from the next words (i-1, i-2) and the previous ones.
_OF_WORDS = ("i suffix", "i pref1", "i word")
_OF_CONTEXT = ("i-1 word", "i-1 suffix", "i-2 word", "i+1 word", "i+1 suffix", "i+2 word")
_OFFSETS = (-1, -1, -2, 1, 1, 2)
_COLUMNS = len(_OF_WORDS) + len(_OF_CONTEXT)


class Perceptron:
    """Tags sentences with the weights of an `nltk.tag.PerceptronTagger`.

    Words are remembered, with what they need, under numbers that count up from 4; some 300 bytes
    each. `forget` frees them.

    Attributes:
        tags: The names of the T tags; elsewhere tags are indices into this list.
        words: The words, by number.
    """

    def __init__(
        self,
        weights: Mapping[str, Mapping[str, float]],
        dictionary: Mapping[str, str],
        classes: Sequence[str],
    ) -> None:
        """Lay out what NLTK's three JSON files hold: of each feature, class by class, its weight.

        Args:
            weights: By feature and class.
            dictionary: The tags of unambiguous words.
            classes: The tags to choose from.
        """
        # Of classes with equal sums NLTK takes the last by the alphabet, argmax takes the first.
        ordered = sorted(set(classes), reverse=True)
        self.tags = list(dict.fromkeys([*ordered, *filter(None, dictionary.values()), *_STARTS]))
        tags = {tag: number for number, tag in enumerate(self.tags)}
        self._start, self._start2 = (tags[name] for name in _STARTS)
        self._dictionary = {word: tags[tag] for word, tag in dictionary.items() if tag}
        # Row 0 has no weights: it stands for all features that the tagger has never seen.
        self._rows = {feature: row for row, feature in enumerate(weights, start=1)}
        self._weights = np.zeros((1 + len(weights), len(ordered)))
        for row, by_class in enumerate(weights.values(), start=1):
            for name, weight in by_class.items():
                if (number := tags.get(name, len(ordered))) < len(ordered):
                    self._weights[row, number] = weight
        row_of = self._rows.get
        self._bias = row_of("bias", 0)
        self._by_tag = np.array([row_of(f"i-1 tag {tag}", 0) for tag in self.tags], np.int32)
        self._by_tag_before = np.array([row_of(f"i-2 tag {tag}", 0) for tag in self.tags], np.int32)
        self._by_tags = np.array(
            [[row_of(f"i tag+i-2 tag {a} {b}", 0) for b in self.tags] for a in self.tags], np.int32
        )
        self._pairs, self._by_tag_and_word = self._of_tags_and_words(tags)
        self.forget()

    def forget(self) -> None:
        """Forget all words; their numbers are void."""
        self.words = [*_STARTS, *_ENDS]
        self._numbers: dict[str, int] = {}
        # Rows of the weights by a word's number, `_OF_WORDS` before `_OF_CONTEXT`; then the word's
        # row in `_by_tag_and_word`; then the tag that the dictionary gives it, or -1.
        self._table = np.zeros((2**10, _COLUMNS + 2), np.int32)
        for number, padding in enumerate(self.words):
            self._table[number] = self._looked_up(padding, padding)

    def number(self, word: str) -> int:
        """Return the number of a word, which is remembered from now on."""
        number = self._numbers.get(word)
        if number is None:
            number = self._numbers[word] = len(self.words)
            self.words.append(word)
            if number == len(self._table):
                self._table = np.concatenate([self._table, np.zeros_like(self._table)])
            self._table[number] = self._looked_up(word, _normal(word))
        return number

    def digest(self) -> str:
        """Return a digest of all that tags depend on."""
        said = [list(self._rows), self.tags, self._dictionary]
        digest = sha256(json.dumps(said).encode())
        digest.update(self._weights.data)
        return digest.hexdigest()

    def tag(self, words: NDArray[np.integer], lengths: NDArray[np.integer]) -> NDArray[np.int16]:
        """Return the tags (N,) of sentences.

        Args:
            words: (N,) the numbers of their words, one sentence's after another's.
            lengths: How many of them are each sentence's.
        """
        sentences = np.repeat(np.arange(len(lengths)), lengths)
        positions = np.arange(len(words)) + 2 + _PADDING * sentences
        first = np.cumsum(lengths + _PADDING) - lengths - _PADDING
        padded = np.empty(len(words) + _PADDING * len(lengths), np.intp)
        padded[first], padded[first + 1] = 0, 1
        padded[first + 2 + lengths], padded[first + 3 + lengths] = 2, 3
        padded[positions] = words

        tags = self._table[padded, _COLUMNS + 1].astype(np.int16)
        tags[first], tags[first + 1] = self._start2, self._start  # of i-2 and of i-1
        tags[first + 2 + lengths] = tags[first + 3 + lengths] = 0  # nobody looks at them
        order, ends = _waves(tags < 0)
        features = self._features(padded, order)
        for start, stop in _pieces(ends):
            wave, rows = order[start:stop], features[start:stop]
            before, before_that = tags[wave - 1], tags[wave - 2]
            rows[:, _TAG] = self._by_tag[before]
            rows[:, _TAG_BEFORE] = self._by_tag_before[before_that]
            rows[:, _TAGS] = self._by_tags[before, before_that]
            position = self._table[padded[wave], _COLUMNS]
            rows[:, _TAG_AND_WORD] = self._by_tag_and_word[position, before]
            tags[wave] = self._sums(rows).argmax(axis=1)
        of_words: NDArray[np.int16] = tags[positions]
        return of_words

    def tag_sents(self, sentences: Sequence[Sequence[str]]) -> list[list[tuple[str, str]]]:
        """Return each sentence's tokens with their tags: NLTK's interface, to compare with it."""
        lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
        numbers = (self.number(word) for sentence in sentences for word in sentence)
        tags = self.tag(np.fromiter(numbers, np.int64, int(lengths.sum())), lengths)
        named = iter([self.tags[tag] for tag in tags.tolist()])
        # A sentence's words come first: they end before a name is taken.
        return [list(zip(sentence, named)) for sentence in sentences]  # noqa: B905

    def _features(self, padded: NDArray[np.intp], order: NDArray[np.intp]) -> NDArray[np.int32]:
        """Return rows of the weights (N, 14) of tokens, but for the four that depend on tags."""
        features = np.empty((len(order), 14), np.int32)
        features[:, _BIAS] = self._bias
        own = self._table[padded[order]]
        for column, feature in enumerate((_SUFFIX, _FIRST, _WORD)):
            features[:, feature] = own[:, column]
        context = zip(_CONTEXT, _OFFSETS, strict=True)
        for column, (feature, offset) in enumerate(context, start=len(_OF_WORDS)):
            features[:, feature] = self._table[padded[order + offset], column]
        return features

    def _sums(self, rows: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the sums of rows of the weights, added from left to right."""
        ends = np.arange(0, rows.size + 1, rows.shape[1])
        shape = (len(rows), len(self._weights))
        sums: NDArray[np.float64]
        sums = csr_array((np.ones(rows.size), rows.ravel(), ends), shape) @ self._weights
        return sums

    def _looked_up(self, word: str, normal: str) -> list[int]:
        row_of, suffix = self._rows.get, normal[-3:]
        own = zip(_OF_WORDS, (word[-3:], word[:1], normal), strict=True)
        around = zip(_OF_CONTEXT, (normal, suffix, normal, normal, suffix, normal), strict=True)
        rows = [row_of(f"{name} {value}", 0) for name, value in (*own, *around)]
        return [*rows, self._pairs.get(normal, 0), self._dictionary.get(word, -1)]

    def _of_tags_and_words(
        self, tags: Mapping[str, int]
    ) -> tuple[dict[str, int], NDArray[np.int32]]:
        """Return an index for each word, and by index and previous tag, the rows of the weights.

        Index 0 is for words that the tagger has seen after no tag.
        """
        name = "i-1 tag+i word "
        pairs: dict[str, int] = {}
        found = []
        for feature, row in self._rows.items():
            if feature.startswith(name):
                rest = feature[len(name) :]
                for end in (end for end, letter in enumerate(rest) if letter == " "):
                    if (tag := tags.get(rest[:end])) is not None:
                        found.append((pairs.setdefault(rest[end + 1 :], 1 + len(pairs)), tag, row))
        rows = np.zeros((1 + len(pairs), len(tags)), np.int32)
        for position, tag, row in found:
            rows[position, tag] = row
        return pairs, rows


def _waves(unknown: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the positions of unknown tags, ordered by wave, and where in it each wave ends.

    A wave is the number of unknown tags since the last two known ones in a row.
    """
    positions = np.flatnonzero(unknown)
    count = np.arange(len(positions))
    first = np.diff(positions, prepend=-3) > 2
    waves = count - np.maximum.accumulate(np.where(first, count, 0))
    return positions[np.argsort(waves, kind="stable")], np.cumsum(np.bincount(waves))


def _pieces(ends: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Yield the start and the stop of each wave's pieces."""
    for first, last in itertools.pairwise([0, *ends.tolist()]):
        for start in range(first, last, _PIECE):
            yield start, min(start + _PIECE, last)


def _normal(word: str) -> str:
    """Return a word as its neighbours see it: PerceptronTagger.normalize."""
    if "-" in word and word[0] != "-":
        return "!HYPHEN"
    if word.isdigit() and len(word) == 4:
        return "!YEAR"
    if word[:1].isdigit():
        return "!DIGITS"
    return word.lower()
