from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.shared.data.image_set import ImageSet
from components.shared.stage import ranks
from components.shared.stage.errors import StorageError, UserError
from components.shared.storage import filesystem
from components.shared.storage.resume import Parts
from components.shared.training import inference, transforms
from components.shared.training.inference import (
    Classifier,
    Inference,
    most_probable,
    probabilities,
    read_records,
    scored,
)
from components.shared.training.views import Crop, Views
from tests import tiny_models
from tests.synthetic import coloured_squares, image_set

NAMES = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Twenty-three images in shards of six, six, six and five."""
    folder = tmp_path_factory.mktemp("images")
    return image_set(folder, coloured_squares(23, 48, seed=0)[0], images_per_shard=6)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [
        tiny_models.save(folder / str(seed), NAMES, seed=seed, image_size=size)
        for seed, size in [(0, 32), (1, 48), (2, 32)]
    ]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images were in each batch that a model saw."""
    sizes: list[int] = []
    softmax = inference.softmax

    def counting(model: nn.Module, pixels: Tensor) -> Tensor:
        sizes.append(len(pixels))
        return softmax(model, pixels)

    monkeypatch.setattr(inference, "softmax", counting)
    return sizes


def inference_of(images: ImageSet, folders: list[Path], location: str, **changes: int) -> Inference:
    arguments = {"top_k": 2, "batch_size": 4} | changes
    return Inference(uri=location, images=images, folders=folders, **arguments)


def content(location: str) -> dict[str, bytes]:
    return {
        entry.name: filesystem.read(f"{location}/{entry.name}")
        for entry in filesystem.listed(location)
    }


def damage(uri: str, folder: Path) -> None:
    damaged = bytearray(filesystem.read(uri))
    damaged[-1] ^= 1
    (folder / "damaged").write_bytes(damaged)
    filesystem.put(folder / "damaged", uri)


def test_each_model_sees_every_image_at_its_own_size(images: ImageSet, folders: list[Path]) -> None:
    classifiers = [Classifier.load(folder) for folder in folders]
    found = torch.cat(list(probabilities(images, [range(23)], classifiers, 4)), dim=1)
    for model, folder in enumerate(folders):
        expected = tiny_models.naive_probabilities(images, [folder])
        np.testing.assert_allclose(found[model].cpu().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("views", "shares"), [("one", [0.875]), ("flip", [0.875]), ("multi", [1.0, 0.875, 0.75])]
)
def test_views_are_crops_and_their_mirror_images_of_one_decoding(
    views: Views,
    shares: list[float],
    images: ImageSet,
    folders: list[Path],
    seen: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[int] = []
    picture = transforms.picture
    monkeypatch.setattr(transforms, "num_workers", lambda: 0)
    monkeypatch.setattr(
        transforms, "picture", lambda of, number: decoded.append(number) or picture(of, number)
    )
    classifiers = [Classifier.load(folder) for folder in folders[:2]]
    found = torch.cat(list(probabilities(images, [range(23)], classifiers, 23, views)), dim=1)
    sides = [False, True] if views != "one" else [False]
    assert seen == [23] * 2 * len(shares) * len(sides)
    assert decoded == [*range(23)]
    for model, folder in enumerate(folders[:2]):
        each = [
            tiny_models.naive_probabilities(images, [folder], mirrored=mirrored, share=share)
            for share in shares
            for mirrored in sides
        ]
        assert all(abs(each[0] - other).max() > 0.01 for other in each[1:])
        expected = np.mean(each, axis=0)
        np.testing.assert_allclose(found[model].cpu().numpy(), expected, atol=1e-5)


def test_a_symmetric_image_looks_the_same_in_flipped_views(folders: list[Path]) -> None:
    model = Classifier.load(folders[0])
    half = torch.randint(256, (5, 3, 32, 16), generator=torch.manual_seed(0)).byte()
    symmetric = torch.cat([half, half.flip(3)], dim=3)

    def seen(pixels: Tensor, views: Views) -> Tensor:
        return scored([model], {Crop(32): pixels}, views)

    with torch.inference_mode():
        once, twice = seen(symmetric, "one"), seen(symmetric, "flip")
        other = seen(symmetric.roll(5, dims=3), "flip")
    torch.testing.assert_close(twice, once, rtol=0, atol=0)
    assert (other - once).abs().max() > 0.01


def test_the_parts_hold_each_images_best_classes_by_the_mean(
    images: ImageSet, folders: list[Path], location: str
) -> None:
    inference = inference_of(images, folders, location)
    inference.run("test")
    parts = list(inference)
    together = tiny_models.naive_probabilities(images, folders)
    strongest = np.argsort(-together, axis=1)[:, :2]
    classes = np.concatenate([part.classes for part in parts], axis=1)
    shares = np.concatenate([part.probabilities for part in parts], axis=1)
    assert [part.numbers.tolist() for part in parts] == [
        [*range(6)],
        [*range(6, 12)],
        [*range(12, 18)],
        [*range(18, 23)],
    ]
    assert classes.tolist() == [strongest.tolist()]
    expected = np.take_along_axis(together, strongest, axis=1)
    np.testing.assert_allclose(shares, expected[None], atol=1e-5)


def test_the_parts_hold_each_models_own_classes_where_they_are_asked_for(
    images: ImageSet, folders: list[Path], tmp_path: Path
) -> None:
    inference = inference_of(images, folders, str(tmp_path), top_k=3, each=True)
    inference.run("test")
    classes = np.concatenate([part.classes for part in inference], axis=1)
    for row, voices in zip(classes, [*([folder] for folder in folders), folders], strict=True):
        expected = np.argsort(-tiny_models.naive_probabilities(images, voices), axis=1)
        assert row.tolist() == expected.tolist()


def test_a_batch_ends_with_its_shard(
    images: ImageSet, folders: list[Path], tmp_path: Path, seen: list[int]
) -> None:
    inference_of(images, folders[:1], str(tmp_path)).run("test")
    assert seen == [4, 2, 4, 2, 4, 2, 4, 1]


def test_an_empty_set_has_no_parts(tmp_path: Path, folders: list[Path]) -> None:
    empty = inference_of(image_set(tmp_path, []), folders, str(tmp_path / "location"))
    empty.run("test")
    assert list(empty) == []


class Interruption(BaseException):
    pass


@pytest.mark.parametrize("shard", range(4))
def test_what_is_labelled_is_not_labelled_again(
    shard: int,
    images: ImageSet,
    folders: list[Path],
    location: str,
    tmp_path: Path,
    seen: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inference_of(images, folders[:1], str(tmp_path / "undisturbed")).run("test")
    seen.clear()
    with monkeypatch.context() as broken:
        broken.setattr(Parts, "save", interrupted_at(shard))
        with pytest.raises(Interruption):
            inference_of(images, folders[:1], location).run("test")
    assert len(content(location)) == shard
    seen.clear()

    inference = inference_of(images, folders[:1], location)
    inference.run("test")

    assert sum(seen) == 23 - 6 * shard
    assert content(location) == content(str(tmp_path / "undisturbed"))


def interrupted_at(last: int):
    save = Parts.save

    def failing(self: Parts, shard: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        if shard == last:
            raise Interruption
        save(self, shard, arrays)

    return failing


def test_no_model_is_loaded_where_nothing_is_left_to_do(
    images: ImageSet, folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inference_of(images, folders, str(tmp_path)).run("test")
    monkeypatch.delattr(Classifier, "load")
    again = inference_of(images, folders, str(tmp_path))
    again.run("test")
    assert len(list(again)) == 4


def test_the_ranks_make_together_what_one_makes_alone(
    images: ImageSet,
    folders: list[Path],
    tmp_path: Path,
    seen: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inference_of(images, folders[:1], str(tmp_path / "alone")).run("test")
    seen.clear()
    monkeypatch.setattr(ranks, "world_size", lambda: 3)
    monkeypatch.setattr(ranks, "barrier", lambda: None)
    shares = []
    for rank in (2, 0, 1):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        inference_of(images, folders[:1], str(tmp_path / "together")).run("test")
        shares.append(sum(seen))
        seen.clear()
    assert shares == [6, 11, 6]
    assert content(str(tmp_path / "together")) == content(str(tmp_path / "alone"))


def test_a_damaged_part_is_told_of_and_made_again(
    images: ImageSet,
    folders: list[Path],
    location: str,
    tmp_path: Path,
    seen: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    inference_of(images, folders[:1], location).run("test")
    made = content(location)
    damage(f"{location}/{sorted(made)[3]}", tmp_path)
    seen.clear()
    caplog.set_level("INFO")

    inference_of(images, folders[:1], location).run("test")

    assert f"{sorted(made)[3]} is damaged" in caplog.text
    assert "3 of 4 shards are already done" in caplog.text
    assert sum(seen) == 5
    assert content(location) == made


def test_a_part_that_is_damaged_at_the_end_asks_for_another_run(
    images: ImageSet, folders: list[Path], tmp_path: Path
) -> None:
    inference = inference_of(images, folders[:1], str(tmp_path / "location"))
    inference.run("test")
    damage(f"{inference.uri}/{min(content(inference.uri))}", tmp_path)
    with pytest.raises(StorageError, match="part 0 .* run the stage again"):
        list(inference)


def test_images_that_do_not_fit_the_gpu_end_with_what_to_set(
    images: ImageSet, folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(inference, "softmax", full)
    with pytest.raises(UserError, match=r"batch_size=4: .* try batch_size=2"):
        inference_of(images, folders, str(tmp_path)).run("test")


def test_the_mean_decides_not_the_vote_of_the_first_model() -> None:
    # Means worked by hand: (.6 + .1) / 2 = .35, (.3 + .5) / 2 = .4, (.1 + .4) / 2 = .25.
    probabilities = torch.tensor([[[0.6, 0.3, 0.1]], [[0.1, 0.5, 0.4]]])
    classes, means = most_probable(probabilities, 2)
    assert classes.tolist() == [[[1, 0]]]
    torch.testing.assert_close(means, torch.tensor([[[0.4, 0.35]]]))


def test_more_classes_than_there_are_gives_all_of_them() -> None:
    classes, means = most_probable(torch.tensor([[[0.2, 0.5, 0.3]]]), 5)
    assert classes.tolist() == [[[1, 2, 0]]]
    assert means.shape == (1, 1, 3)


def test_a_model_of_other_classes_is_refused_by_name(tmp_path: Path) -> None:
    folder = tiny_models.save(tmp_path / "model", ["red", "green", "yellow"])
    with pytest.raises(UserError, match=r"has 3 classes \(red, green, yellow\).*blue"):
        read_records([folder], NAMES)


def test_the_same_classes_in_another_order_are_refused(tmp_path: Path) -> None:
    folder = tiny_models.save(tmp_path / "model", NAMES[::-1])
    with pytest.raises(UserError, match="use classifiers of the same concepts"):
        read_records([folder], NAMES)


def test_classes_that_are_asked_for_have_their_mean_probabilities(
    images: ImageSet, folders: list[Path], tmp_path: Path
) -> None:
    asked = np.array([[number % 3, 2] for number in range(23)])
    arguments = {"images": images, "folders": folders, "top_k": 1, "batch_size": 4}
    found = Inference(uri=str(tmp_path), asked=lambda numbers: asked[numbers], **arguments)  # type: ignore[arg-type]

    found.run("test")

    means = tiny_models.naive_probabilities(images, folders)
    kept = [part.asked for part in found]
    together = np.concatenate([each for each in kept if each is not None])
    np.testing.assert_allclose(together, np.take_along_axis(means, asked, axis=1), atol=1e-5)


def test_only_the_chosen_images_are_predicted(
    images: ImageSet, folders: list[Path], seen: list[int], tmp_path: Path
) -> None:
    chosen = np.array([1, 3, 4, 20])  # none of the second and the third shard
    every = inference_of(images, folders[:1], str(tmp_path / "all"))
    every.run("all")
    seen.clear()
    found = Inference(
        uri=str(tmp_path / "some"),
        images=images,
        folders=folders[:1],
        top_k=2,
        batch_size=4,
        chosen=chosen,
    )

    found.run("some")

    assert seen == [3, 1]
    parts = list(found)
    assert [part.numbers.tolist() for part in parts] == [[1, 3, 4], [20]]
    of_all = np.concatenate([part.probabilities for part in every], axis=1)
    of_some = np.concatenate([part.probabilities for part in parts], axis=1)
    np.testing.assert_allclose(of_some, of_all[:, chosen], atol=1e-6)
