from math import log, sqrt

import numpy as np
import pytest

from components.weighting.documents import Documents
from tests.weighting.taxonomies import table

# Two classes and an ancestor: "cat purring pet animal", "dog barking pet animal", "animal".
PETS = table(
    2,
    [
        ("n1", "cat", "a purring pet", ["n3"]),
        ("n2", "dog", "a barking pet", ["n3"]),
        ("n3", "animal", "", []),
    ],
)
ONE, TWO, THREE = 1 + log(4 / 2), 1 + log(4 / 3), 1 + log(4 / 4)  # rarity by documents with a word


def test_a_document_is_lemmas_gloss_and_the_names_of_direct_hypernyms() -> None:
    documents = Documents.of(PETS)

    row = documents.vectors[0].toarray().ravel()
    found = {word: row[number] for word, number in documents.spellings.items() if row[number]}
    norm = sqrt(2 * ONE**2 + TWO**2 + THREE**2)
    singular = {word: value for word, value in found.items() if word[-1] not in "se"}
    assert singular == pytest.approx(
        {"cat": ONE / norm, "purring": ONE / norm, "pet": TWO / norm, "animal": THREE / norm}
    )


def test_similarity_is_the_cosine_of_sublinear_tf_idf() -> None:
    documents = Documents.of(PETS)

    cosines = (documents.vectors_of(["Cats: my cat, a pet"]) @ documents.vectors.T).toarray()

    cat = (1 + log(2)) * ONE
    norms = sqrt(cat**2 + TWO**2) * sqrt(2 * ONE**2 + TWO**2 + THREE**2)
    np.testing.assert_allclose(cosines, [[(cat * ONE + TWO**2) / norms, TWO**2 / norms]])


def test_words_that_no_concept_has_change_nothing() -> None:
    documents = Documents.of(PETS)

    plain, padded = documents.vectors_of(["a cat", "Katze, CAT: Canon EOS 2007, all rights"])

    assert (plain != padded).nnz == 0


def test_a_text_without_known_words_is_the_zero_vector() -> None:
    vectors = Documents.of(PETS).vectors_of(["", "of the", "cat", "bonjour"])

    assert np.diff(vectors.indptr).tolist() == [0, 0, 1, 0]
