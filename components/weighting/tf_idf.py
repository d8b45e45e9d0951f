"""Similarity by the words that a text and a concept share: the cosine of their TF-IDF vectors.

Legend: B images of a batch, K candidates of a label, V words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from components.weighting.candidates import Candidates, Pairs
from components.weighting.documents import Documents


@dataclass(frozen=True, slots=True)
class TfIdfSimilarity:
    """The words of each label's candidates, ready to be looked up.

    Attributes:
        documents: What the concepts are, in words.
        candidates: Which concepts a label makes possible.
        keys: (U,) int64 ascending, label · V + word for each word of a label's candidates.
        values: (U, K) float64, what that word is worth to each of the candidates.
    """

    documents: Documents
    candidates: Candidates
    keys: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, documents: Documents, candidates: Candidates) -> Self:
        """Lay out the candidates' documents for look-up."""
        classes, vectors = candidates.classes, documents.vectors
        labels, columns = np.nonzero(classes >= 0)
        stacked = vectors[classes[labels, columns]].tocoo()
        keys, positions = np.unique(
            labels[stacked.row] * vectors.shape[1] + stacked.col, return_inverse=True
        )
        values = np.zeros((len(keys), classes.shape[1]))
        values[positions, columns[stacked.row]] = stacked.data
        return cls(documents, candidates, keys, values)

    def similarities(self, texts: Sequence[str], labels: NDArray[np.int64]) -> Pairs:
        """Compare the texts of B images with the candidates of their given labels (B,)."""
        from scipy.sparse import csr_matrix

        vectors = self.documents.vectors_of(texts)
        images = np.repeat(np.arange(len(labels)), np.diff(vectors.indptr))
        keys = labels[images] * vectors.shape[1] + vectors.indices
        positions = np.searchsorted(self.keys, keys)
        known = np.flatnonzero(np.append(self.keys, -1)[positions] == keys)
        # A text's row of this matrix holds the words that it shares with its label's candidates.
        shared = csr_matrix(
            (vectors.data[known], (images[known], positions[known])), (len(labels), len(self.keys))
        )
        cosines = shared @ self.values
        images, columns = np.nonzero(cosines)
        pairs = Pairs(
            images, self.candidates.classes[labels[images], columns], cosines[images, columns]
        )
        outside = np.flatnonzero(self.candidates.outside[labels])
        if not len(outside):
            return pairs
        anywhere = (vectors[outside] @ self.documents.vectors.T).tocoo()
        return Pairs(
            np.concatenate([pairs.images, outside[anywhere.row]]),
            np.concatenate([pairs.classes, anywhere.col]),
            np.concatenate([pairs.cosines, anywhere.data]),
        )
