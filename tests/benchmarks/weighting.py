"""Images a core weighs per second by TF-IDF, and scikit-learn: images/s and ratios.

    uv pip install scikit-learn
    python -m tests.benchmarks.weighting

Synthetic texts of 40 words, 5,000 concepts of WordNet with 5 neighbours each. Ours is all that
happens to a batch, the choice of the top k included; finding a text's words is the least that any
TF-IDF takes. scikit-learn's TfidfVectorizer finds words of its own, which is faster than calling
ours; then cosines are taken with the rows of each text's candidates, or with all concepts at once.
With our words its cosines are ours, which is checked first. One core; what counts is processor
time.
"""

import argparse
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.ingest.concepts import from_wordnet
from components.weighting.candidates import Candidates
from components.weighting.documents import Documents, concept_texts
from components.weighting.neighbors import nearest
from components.weighting.terms import STOP_WORDS, spelled, words
from components.weighting.tf_idf import TfIdfSimilarity
from components.weighting.weights import Weigher
from tests.benchmarks import at_scale_inputs as inputs
from tests.benchmarks.rounds import interleaved, machine, on_one_core, print_table, ratio

NEIGHBORS, TOP_K = 5, 5
_PIECE = 512
Analyzer = Callable[[str], list[str]] | str


class ScikitLearn:
    """Cosines by TfidfVectorizer, with the same documents and rarity as ours.

    Args:
        concepts: The concepts.
        classes: (C, K) the candidates of each label.
        analyzer: What finds the words; `word` is the library's own.
    """

    def __init__(self, concepts: pa.Table, classes: NDArray[np.int64], analyzer: Analyzer) -> None:
        try:
            from sklearn.feature_extraction.text import TfidfVectorizer
        except ImportError:
            raise SystemExit("no scikit-learn: uv pip install scikit-learn") from None
        settings: dict[str, Any] = {"sublinear_tf": True, "analyzer": analyzer}
        if analyzer == "word":
            settings |= {"token_pattern": r"[^\W_]+", "stop_words": sorted(STOP_WORDS)}
        documents = concept_texts(concepts)
        found = map(TfidfVectorizer(**settings).build_analyzer(), documents[: len(classes)])
        vocabulary = sorted(set().union(*found))
        self._vectorizer = TfidfVectorizer(**settings, vocabulary=vocabulary).fit(documents)
        self._concepts = self._vectorizer.transform(documents[: len(classes)])
        self._classes = classes

    def candidates(self, texts: Sequence[str], labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return cosines (B, K), of a column of candidates after the other."""
        vectors = self._vectorizer.transform(texts)
        columns = self._classes[labels].T
        products = (vectors.multiply(self._concepts[each]) for each in columns)
        return np.stack([np.asarray(product.sum(axis=1)).ravel() for product in products], axis=1)

    def all_concepts(self, texts: Sequence[str], labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return cosines (B, K), taken from those with all concepts."""
        from sklearn.metrics.pairwise import linear_kernel

        vectors, found = self._vectorizer.transform(texts), []
        for start in range(0, len(texts), _PIECE):
            piece = slice(start, start + _PIECE)  # dense rows of all texts would not fit the caches
            cosines = linear_kernel(vectors[piece], self._concepts)
            found.append(np.take_along_axis(cosines, self._classes[labels[piece]], axis=1))
        return np.concatenate(found)


def check(
    ours: TfIdfSimilarity, theirs: ScikitLearn, texts: list[str], labels: NDArray[np.int64]
) -> None:
    """Assert that scikit-learn finds our cosines, by both of its ways."""
    images, found, cosines = ours.similarities(texts, labels)
    expected = np.zeros((len(labels), inputs.NUM_CLASSES))
    expected[images, found] = cosines
    expected = np.take_along_axis(expected, ours.candidates.classes[labels], axis=1)
    np.testing.assert_allclose(theirs.candidates(texts, labels), expected, atol=1e-9)
    np.testing.assert_allclose(theirs.all_concepts(texts, labels), expected, atol=1e-9)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=8_192, help="of a batch")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    if not inputs.has_wordnet():
        raise SystemExit("no WordNet: set NLTK_DATA to the folder that has it")
    on_one_core()
    concepts = from_wordnet(inputs.words().wnids)
    documents = Documents.of(concepts)
    near = nearest(concepts, documents.vectors, NEIGHBORS)
    ours = TfIdfSimilarity.of(documents, Candidates.of(concepts, near))
    weigher = Weigher(similarity=ours, top_k=TOP_K, fallback_weight=0.5)
    labels = np.random.default_rng(1).integers(0, inputs.NUM_CLASSES, arguments.images)
    texts = [" ".join(fields) for fields in inputs.drawn_texts(labels, seed=0)]
    classes = ours.candidates.classes
    check(ours, ScikitLearn(concepts, classes, words), texts[:500], labels[:500])
    theirs = ScikitLearn(concepts, classes, "word")
    seconds = interleaved(
        {
            "ours": lambda: weigher(texts, labels),
            "finding the words alone": lambda: deque(map(spelled, texts), maxlen=0),
            "scikit-learn, candidates": lambda: theirs.candidates(texts, labels),
            "scikit-learn, all concepts": lambda: theirs.all_concepts(texts, labels),
        },
        arguments.rounds,
        time.process_time,
    )
    length = sum(len(spelled(text)) for text in texts) / len(texts)
    print(f"one core of: {machine()}")
    print(f"{len(texts):,} texts of {length:.0f} words, {len(classes):,} concepts, ", end="")
    print(f"{classes.shape[1]} candidates\n")
    rates = {name: len(texts) / statistics.median(each) for name, each in seconds.items()}
    rows = [
        [name, f"{rate / 1e3:.1f}k", f"{ratio(seconds, 'ours', name):.2f}"]
        for name, rate in rates.items()
    ]
    print_table(["", "images/s", "times ours takes"], rows)


if __name__ == "__main__":
    main()
