from pathlib import Path

import numpy as np
import pytest
import torch

from components.shared.images import ImageSet
from components.shared.interface import UserError
from components.shared.prediction import (
    Classifier,
    most_probable,
    probabilities,
    read_records,
)
from tests import tiny_models
from tests.synthetic import coloured_squares, image_set

NAMES = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return image_set(tmp_path_factory.mktemp("images"), coloured_squares(11, 48, seed=0)[0])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [
        tiny_models.save(folder / str(seed), NAMES, seed=seed, image_size=size)
        for seed, size in [(0, 32), (1, 48), (2, 32)]
    ]


def test_each_model_sees_every_image_at_its_own_size(images: ImageSet, folders: list[Path]) -> None:
    classifiers = [Classifier.load(folder) for folder in folders]
    batches = list(
        probabilities(images, np.arange(len(images)), classifiers, batch_size=4, what="test")
    )
    assert [len(numbers) for numbers, _ in batches] == [4, 4, 3]
    found = torch.cat([opinions for _, opinions in batches], dim=1).cpu().numpy()
    for model, folder in enumerate(folders):
        expected = tiny_models.naive_probabilities(images, [folder])
        np.testing.assert_allclose(found[model], expected, atol=1e-5)


def test_batches_follow_the_numbers_asked_for(images: ImageSet, folders: list[Path]) -> None:
    asked = np.array([7, 2, 9])
    classifiers = [Classifier.load(folders[0])]
    ((numbers, opinions),) = probabilities(images, asked, classifiers, batch_size=8, what="test")
    expected = tiny_models.naive_probabilities(images, folders[:1])[asked]
    assert numbers.tolist() == [7, 2, 9]
    np.testing.assert_allclose(opinions[0].cpu().numpy(), expected, atol=1e-5)


def test_an_empty_set_gives_no_batches(tmp_path: Path, folders: list[Path]) -> None:
    empty = image_set(tmp_path, [])
    classifiers = [Classifier.load(folders[0])]
    assert list(probabilities(empty, np.arange(0), classifiers, batch_size=8, what="test")) == []


def test_the_mean_decides_not_the_vote_of_the_first_model() -> None:
    # Means worked by hand: (.6 + .1) / 2 = .35, (.3 + .5) / 2 = .4, (.1 + .4) / 2 = .25.
    opinions = torch.tensor([[[0.6, 0.3, 0.1]], [[0.1, 0.5, 0.4]]])
    classes, means = most_probable(opinions, 2)
    assert classes.tolist() == [[1, 0]]
    np.testing.assert_allclose(means, [[0.4, 0.35]], rtol=1e-6)


def test_more_classes_than_there_are_gives_all_of_them() -> None:
    classes, means = most_probable(torch.tensor([[[0.2, 0.5, 0.3]]]), 5)
    assert classes.tolist() == [[1, 2, 0]]
    assert means.shape == (1, 3)


def test_a_model_of_other_classes_is_refused_by_name(tmp_path: Path) -> None:
    folder = tiny_models.save(tmp_path / "model", ["red", "green", "yellow"])
    with pytest.raises(UserError, match=r"knows 3 classes \(red, green, yellow\).*blue"):
        read_records([folder], NAMES)


def test_the_same_classes_in_another_order_are_refused(tmp_path: Path) -> None:
    folder = tiny_models.save(tmp_path / "model", NAMES[::-1])
    with pytest.raises(UserError, match="use classifiers of the same concepts"):
        read_records([folder], NAMES)


def test_a_batch_size_of_zero_is_refused(images: ImageSet, folders: list[Path]) -> None:
    classifiers = [Classifier.load(folders[0])]
    with pytest.raises(UserError, match="batch_size=0"):
        next(probabilities(images, np.arange(3), classifiers, batch_size=0, what="test"))
