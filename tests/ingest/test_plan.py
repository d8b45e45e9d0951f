"""Which images are held out for validation, where a data set has none for it."""

import logging
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from components.ingest import lists, plan
from components.ingest.dataset import DataSet, FileList, Files, Text, id_hash


class NoTexts:
    def __call__(self, id: str, record: str) -> Text:
        return Text()


def no_ids(container: str) -> Iterator[str]:
    return iter(())


def validation(folder: Path, ids: Sequence[str], share: float = 0.05, limit: int = 0) -> set[str]:
    """Plan a data set of ids that name their class, `0/a.jpg`; return those of its validation."""
    path = folder / "train.txt"
    path.write_text("".join(f"{id} {id[0]}\n" for id in ids))
    found, files = [FileList(path, "train")], Files()
    files.add_folders({"folder": array("Q", map(id_hash, ids))})
    data = DataSet(["cat", "dog"], None, found, files, no_ids, NoTexts(), [], "", "")
    blocks = lists.blocks(found, 1000)
    planned = plan.make(data, blocks, limit=limit, validation_share=share, seed=0)
    start, end = planned.ends[:2]
    return {ids[number] for number in planned.files[start:end].tolist()}


def ids(*counts: int) -> list[str]:
    return [
        f"{label}/{number}.jpg" for label, count in enumerate(counts) for number in range(count)
    ]


@pytest.mark.parametrize(
    ("size", "share", "held"),
    [
        (1, 0.05, 0),
        (2, 0.05, 1),
        (3, 0.9, 2),
        (4, 0.05, 1),
        (10, 0.05, 2),
        (100, 0.05, 20),
        (400, 0.05, 20),
        (1000, 0.05, 50),
        (1000, 0.001, 20),
    ],
)
def test_of_a_class_twenty_images_are_held_out_or_a_fifth_or_the_share(
    size: int, share: float, held: int, tmp_path: Path
) -> None:
    assert plan.num_held_out(np.array([size]), share).tolist() == [held]
    assert sum(id[0] == "1" for id in validation(tmp_path, ids(500, size), share)) == held


def test_nothing_is_held_out_where_nothing_is_wanted(tmp_path: Path) -> None:
    assert validation(tmp_path, ids(50, 50), share=0.0) == set()


def test_the_same_images_are_held_out_in_any_order_and_under_any_limit(tmp_path: Path) -> None:
    names = ids(300, 40)
    shuffled = [names[number] for number in np.random.default_rng(0).permutation(len(names))]
    held = validation(tmp_path, names)
    assert len(held) == 28
    assert held == validation(tmp_path, shuffled) == validation(tmp_path, names, limit=10)


def test_an_image_more_changes_at_most_one_of_those_that_are_held_out(tmp_path: Path) -> None:
    held, more = (validation(tmp_path, ids(300, count)) for count in (40, 41))
    assert len(held - more) <= 1


def test_classes_of_few_validation_images_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        validation(tmp_path, ids(1000, 60))
    (message,) = caplog.messages
    assert "1 of 2 classes have fewer than 30 validation images (dog has 12)" in message
