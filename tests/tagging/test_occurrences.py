from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.shared.storage.resume import Parts
from components.tagging import occurrences
from components.tagging.occurrences import Occurrences, WordCounts


@pytest.mark.parametrize(
    "made",
    [
        Occurrences(["dog", "猫"], np.array([2, 0, 1], np.int32), np.array([1, 0, 1], np.int32), 9),
        Occurrences([], np.zeros(3, np.int32), np.zeros(0, np.int32), 3),
    ],
    ids=["some words", "no words"],
)
def test_arrays_hold_all(location: str, made: Occurrences) -> None:
    Parts(location).save(7, made.arrays())
    arrays = Parts(location).load(7)

    assert arrays is not None
    loaded = Occurrences.of_arrays(arrays)
    assert (loaded.words, loaded.tokens) == (made.words, made.tokens)
    assert loaded.counts.tolist() == made.counts.tolist()
    assert loaded.codes.tolist() == made.codes.tolist()


def test_counts_the_images_of_each_word(tmp_path: Path) -> None:
    counts = np.array([2, 1, 1], np.int32)
    made = Occurrences(["cat", "dog"], counts, np.array([0, 1, 1, 1], np.int32), 4)
    assert made.images_by_word().to_pydict() == {"word": ["cat", "dog"], "images": [1, 3]}


def test_long_texts_are_read_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(occurrences, "_CHARACTERS", 10)
    titles = ["a dog", "a cat", "", "a very long title", "x", "y"]
    pieces = list(occurrences._pieces({"title": titles, "tags": [""] * 5 + ["frog"]}))

    assert [title for piece in pieces for title in piece["title"]] == titles
    assert [len(piece["tags"]) for piece in pieces] == [1, 2, 2, 1]
    assert pieces[-1] == {"title": ["y"], "tags": ["frog"]}


def test_sums_the_counts_of_row_groups() -> None:
    counts, expected = WordCounts(), dict[str, int]()
    for group in range(50):
        words = {f"{'abyé'[i % 4]}{group * i % 17}": group + i for i in range(9)}
        words = dict(sorted(words.items()))
        counts.add(pa.table({"word": list(words), "images": list(words.values())}))
        for word, images in words.items():
            expected[word] = expected.get(word, 0) + images
    found = counts.table().to_pydict()
    assert dict(zip(found["word"], found["images"], strict=True)) == expected
    assert counts.table().num_rows == len(expected)


def test_no_row_groups_have_no_words() -> None:
    assert WordCounts().table().num_rows == 0
