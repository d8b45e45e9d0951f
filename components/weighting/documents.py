"""TF-IDF vectors of concepts and of texts, in one space of words.

A concept's document is its lemmas, its gloss and the lemmas of its direct hypernyms. The words
that count are those of the classes' documents; how rare a word is, is counted over the documents
of the classes and of all their ancestors, smoothed (scikit-learn's formula):

    value(word, text) = (1 + ln tf) · (1 + ln((1 + documents) / (1 + documents with the word)))

and a vector has norm 1. A text's other words (dates, cameras, other languages, licences) say
nothing about the concepts, and do not weaken what the rest of the text says.

Where names count, each class is a word as well: its document has it once, a text as often as a name
in it names the class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.weighting.terms import spelled, spellings, words

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from components.weighting.names import Names


@dataclass(frozen=True, slots=True)
class Documents:
    """The C classes' documents over V words.

    Attributes:
        spellings: The words' numbers, by every spelling.
        names: Finds names, which are the last C words; None where they do not count.
        rarity: (V,) float64, a word's inverse document frequency.
        vectors: (C, V) float64, rows of norm 1 (0 where a document has no words).
    """

    spellings: dict[str, int]
    names: "Names | None"
    rarity: NDArray[np.float64]
    vectors: "csr_matrix"

    @classmethod
    def of(cls, concepts: pa.Table, names: "Names | None" = None) -> Self:
        """Make the documents of the concepts' classes."""
        documents = [words(document) for document in concept_texts(concepts)]
        num_classes = len(concepts) - concepts["label"].null_count
        vocabulary = sorted({word for document in documents[:num_classes] for word in document})
        numbers = {word: number for number, word in enumerate(vocabulary)}
        having = np.zeros(len(vocabulary))
        for document in documents:
            having[[numbers[word] for word in set(document) if word in numbers]] += 1
        known = [[numbers[word] for word in document] for document in documents[:num_classes]]
        if names is not None:
            having = np.append(having, np.ones(num_classes))
            known = [[*words, len(vocabulary) + label] for label, words in enumerate(known)]
        rarity = 1 + np.log((1 + len(documents)) / (1 + having))
        return cls(spellings(vocabulary), names, rarity, tf_idf(known, rarity))

    def vectors_of(self, texts: Sequence[str]) -> "csr_matrix":
        """Return the vectors (B, V) of texts."""
        number = self.spellings.get
        said = None if self.names is None else [spelled(text) for text in texts]
        known = [
            [found for word in words if (found := number(word)) is not None]
            for words in said or map(spelled, texts)
        ]
        if self.names is not None and said:
            first = len(self.rarity) - self.vectors.shape[0]
            for image, label in zip(*map(np.ndarray.tolist, self.names.find(said)), strict=True):
                known[image].append(first + label)
        return tf_idf(known, self.rarity)


def tf_idf(texts: Sequence[Sequence[int]], rarity: NDArray[np.float64]) -> "csr_matrix":
    """Return the TF-IDF vectors (B, V), of norm 1, of texts given as word numbers."""
    from scipy.sparse import csr_matrix

    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    flat = np.fromiter(chain.from_iterable(texts), np.int64, lengths.sum())
    keys = np.repeat(np.arange(len(texts)), lengths) * len(rarity) + flat
    keys, counts = np.unique(keys, return_counts=True)
    rows, columns = np.divmod(keys, max(1, len(rarity)))
    values = (1 + np.log(counts)) * rarity[columns]
    values /= np.sqrt(np.bincount(rows, values**2, len(texts)))[rows]
    offsets = np.searchsorted(rows, np.arange(len(texts) + 1))
    return csr_matrix((values, columns, offsets), shape=(len(texts), len(rarity)))


def concept_texts(concepts: pa.Table) -> list[str]:
    """Return each concept's lemmas, gloss and the lemmas of its direct hypernyms."""
    rows = concepts.select(["wnid", "lemmas", "gloss", "hypernyms"]).to_pylist()
    names = {row["wnid"]: " ".join(row["lemmas"]) for row in rows}
    return [
        " ".join([names[row["wnid"]], row["gloss"], *(names[above] for above in row["hypernyms"])])
        for row in rows
    ]
