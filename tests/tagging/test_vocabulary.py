import numpy as np
import pyarrow as pa
import pytest

from components.shared.stage.errors import UserError
from components.tagging.occurrences import Occurrences
from components.tagging.vocabulary import Vocabulary, select

IMAGES = {"photo": 90, "dog": 30, "cat": 30, "burg": 1, "beagle": 5, "ant": 8}


def chosen(vocabulary_size: int = 100, min_images: int = 5, max_share: float = 0.5) -> Vocabulary:
    return select(
        pa.table({"word": list(IMAGES), "images": list(IMAGES.values())}),
        100,
        vocabulary_size=vocabulary_size,
        min_images=min_images,
        max_share=max_share,
    )


def test_drops_head_and_tail_and_orders_by_frequency_then_alphabet() -> None:
    vocabulary = chosen()
    assert vocabulary.words == ["cat", "dog", "ant", "beagle"]
    assert vocabulary.images.tolist() == [30, 30, 8, 5]
    assert vocabulary.too_frequent.to_pydict() == {"word": ["photo"], "images": [90]}


def test_both_bounds_are_inclusive() -> None:
    assert chosen(min_images=8, max_share=0.3).words == ["cat", "dog", "ant"]


def test_keeps_the_most_frequent_of_what_is_left() -> None:
    assert chosen(vocabulary_size=2).words == ["cat", "dog"]


def test_an_empty_vocabulary_is_refused_with_the_values_and_the_remedy() -> None:
    message = r"max_share=0.5 drops 1, and min_images=100 .* 30 images have: lower min_images"
    with pytest.raises(UserError, match=message):
        chosen(min_images=100)


def test_texts_without_nouns_are_refused() -> None:
    nothing = pa.table({"word": pa.array([], pa.string()), "images": pa.array([], pa.int64())})
    with pytest.raises(UserError, match="no noun or adjective in the texts of 7 images"):
        select(nothing, 7, vocabulary_size=1, min_images=1, max_share=1.0)


def test_images_keep_their_rarest_keywords_first() -> None:
    occurrences = Occurrences(
        ["ant", "beagle", "burg", "cat", "dog", "photo"],
        np.array([4, 0, 1, 2], np.int32),  # {photo, dog, beagle, ant}, {}, {burg}, {dog, cat}
        np.array([5, 4, 1, 0, 2, 4, 3], np.int32),
        tokens=0,
    )
    vocabulary = chosen()
    kept, classes = vocabulary.rarest(occurrences, at_most=2)
    assert kept.tolist() == [2, 0, 0, 2]
    assert [vocabulary.words[i] for i in classes] == ["beagle", "ant", "cat", "dog"]
