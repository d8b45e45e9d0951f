"""Keywords of texts: the nouns and adjectives that a tagger finds in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from components.tagging.cleaning import clean
from components.tagging.lemmas import Lemmatizer
from components.tagging.taggers import ADJECTIVES, NOUNS, Tagger
from components.tagging.words import is_keyword, sentences, words

Fields = Literal["title", "title+description", "tags", "all"]
PartsOfSpeech = Literal["nouns", "nouns+adjectives"]

FIELDS: Mapping[Fields, list[str]] = {
    "title": ["title"],
    "title+description": ["title", "description"],
    "tags": ["tags"],
    "all": ["title", "description", "tags"],
}
# Distinct words that a worker remembers, some 200 bytes each.
_MEMORY = 2**18


@dataclass(frozen=True, slots=True)
class Batch:
    """The keywords of B images.

    Attributes:
        words: The W distinct ones.
        codes: (P,) int32, one image's after another's: places in `words`, distinct in an image.
        counts: (B,) int32, how many of `codes` are each image's.
        tokens: How many tokens the tagger saw.
    """

    words: list[str]
    codes: NDArray[np.int32]
    counts: NDArray[np.int32]
    tokens: int


class Extractor:
    """Finds the keywords of batches of texts.

    Prose is tagged sentence by sentence. Flickr's tags are no sentences: each is tagged alone, as
    in `a … .`, which finds 99.5 % of WordNet's most frequent nouns to be nouns; without that frame
    it is 96.3 % (`kitten` is a verb, `wing` a gerund), and in a list of tags a word's tag depends
    on its chance neighbours (`puppy` an adjective, `lily` an adverb). Titles of one word likewise.
    """

    def __init__(
        self, tagger: Tagger, lemmatizer: Lemmatizer, fields: Fields, parts_of_speech: PartsOfSpeech
    ) -> None:
        """Prepare to read some fields and to take some parts of speech."""
        self._tagger, self._lemmatizer = tagger, lemmatizer
        self._fields = FIELDS[fields]
        self._adjectives = ADJECTIVES if parts_of_speech == "nouns+adjectives" else frozenset()
        self._keyword = lru_cache(_MEMORY)(self._find_keyword)
        self._tag_alone = lru_cache(_MEMORY)(self._find_tag_alone)

    def __call__(self, texts: Mapping[str, Sequence[str]]) -> Batch:
        """Return the keywords of a batch of Texts, given by column."""
        found: list[dict[str, None]] = [{} for _ in texts[self._fields[0]]]
        images, batch, tokens = [], [], 0
        for field in self._fields:
            for image, text in enumerate(texts[field]):
                for sentence in self._pieces(field, text):
                    tokens += len(sentence)
                    if len(sentence) == 1:
                        self._add(found[image], [(sentence[0], self._tag_alone(sentence[0]))])
                    else:
                        images.append(image)
                        batch.append(sentence)
        for image, tagged in zip(images, self._tagger.tag_sents(batch), strict=True):
            self._add(found[image], tagged)

        codes_by_word: dict[str, int] = {}
        codes = [
            codes_by_word.setdefault(word, len(codes_by_word)) for row in found for word in row
        ]
        counts = [len(row) for row in found]
        return Batch(
            list(codes_by_word), np.array(codes, np.int32), np.array(counts, np.int32), tokens
        )

    @staticmethod
    def _pieces(field: str, text: str) -> list[list[str]]:
        if field == "tags":
            return [[word] for word in words(clean(text))]
        return sentences(clean(text))

    def _add(self, keywords: dict[str, None], tagged: Sequence[tuple[str, str]]) -> None:
        for word, tag in tagged:
            keyword = self._keyword(word, tag)
            if keyword:
                keywords[keyword] = None

    def _find_tag_alone(self, word: str) -> str:
        ((_, (_, tag), _),) = self._tagger.tag_sents([["a", word, "."]])
        return tag

    def _find_keyword(self, word: str, tag: str) -> str | None:
        word = word.lower()
        if not is_keyword(word) or tag not in NOUNS | self._adjectives:
            return None
        if tag in NOUNS:
            word = self._lemmatizer(word, tag)
        return word if is_keyword(word) else None
