"""Which concepts an image may show by its label, and how well its text fits each of them.

The candidates of a label are itself and its neighbours in WordNet. For concepts outside WordNet
(people's own folders) there are no neighbours: there, every concept that shares a word with the
text is a candidate.

Legend: B images of a batch, C classes, K candidates, V words.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, slots=True)
class Candidates:
    """The candidates of each label and their documents' words, ready to be looked up.

    Attributes:
        classes: (C, K) int64, a label's candidates, itself first; -1 where it has fewer.
        vectors: (C, V) the classes' documents.
        outside: (C,) bool, the labels outside WordNet.
        keys: (U,) int64 ascending, label · V + word for each word of a label's candidates.
        values: (U, K) float64, what that word is worth to each of the candidates.
    """

    classes: NDArray[np.int64]
    vectors: "csr_matrix"
    outside: NDArray[np.bool_]
    keys: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(
        cls, concepts: pa.Table, neighbors: list[NDArray[np.int64]], vectors: "csr_matrix"
    ) -> Self:
        """Lay out each label's neighbours and their documents for look-up."""
        hypernyms = concepts["hypernyms"].to_pylist()[: len(neighbors)]
        outside = np.array([len(wnids) == 0 for wnids in hypernyms])
        num_candidates = 1 + max(map(len, neighbors), default=0)
        classes = np.full((len(neighbors), num_candidates), -1, np.int64)
        for label in np.flatnonzero(~outside):
            classes[label, 0] = label
            classes[label, 1 : 1 + len(neighbors[label])] = neighbors[label]
        labels, columns = np.nonzero(classes >= 0)
        stacked = vectors[classes[labels, columns]].tocoo()
        keys, places = np.unique(
            labels[stacked.row] * vectors.shape[1] + stacked.col, return_inverse=True
        )
        values = np.zeros((len(keys), num_candidates))
        values[places, columns[stacked.row]] = stacked.data
        return cls(classes, vectors, outside, keys, values)

    def similarities(
        self, texts: "csr_matrix", labels: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return images, classes and cosine similarities (P,) of the pairs that have any.

        Args:
            texts: (B, V) vectors of the images' texts, of norm 1.
            labels: (B,) their given labels.
        """
        from scipy.sparse import csr_matrix

        images = np.repeat(np.arange(len(labels)), np.diff(texts.indptr))
        keys = labels[images] * texts.shape[1] + texts.indices
        places = np.searchsorted(self.keys, keys)
        known = np.flatnonzero(np.append(self.keys, -1)[places] == keys)
        # A text's row of this matrix holds the words that it shares with its label's candidates.
        shared = csr_matrix(
            (texts.data[known], (images[known], places[known])), (len(labels), len(self.keys))
        )
        cosines = shared @ self.values
        images, columns = np.nonzero(cosines)
        classes, similarities = self.classes[labels[images], columns], cosines[images, columns]
        if not self.outside.any():
            return images, classes, similarities
        outside = np.flatnonzero(self.outside[labels])
        anywhere = (texts[outside] @ self.vectors.T).tocoo()
        return (
            np.concatenate([images, outside[anywhere.row]]),
            np.concatenate([classes, anywhere.col]),
            np.concatenate([similarities, anywhere.data]),
        )
