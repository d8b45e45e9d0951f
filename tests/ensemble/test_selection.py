"""The ensemble's members, chosen on one half of the validation images and measured on the other."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from components.ensemble.opinions import Opinions
from components.ensemble.selection import Weights, greedy, parts, weighted
from components.ensemble.stage import ensemble
from components.shared.data import halves, predictions
from components.shared.data.evaluation import TEST, VALIDATION
from components.shared.data.image_set import ImageSet
from components.shared.data.predictions import Training
from components.shared.stage import metadata
from components.shared.stage.errors import UserError
from tests import tiny_models
from tests.synthetic import coloured_squares, image_set, targets

NAMES = ["red", "green", "blue", "grey", "pink", "mauve"]
USELESS = "resnet10t: finetune 32 px (3)"


@dataclass(frozen=True)
class Given:
    folder: Path
    validation: ImageSet
    test: ImageSet
    models: list[Path]
    labels: NDArray[np.int64]

    def labelled(self, labels: NDArray[np.int64]) -> None:
        """Give the validation images these labels."""
        pairs = [[(int(label), 1.0)] for label in labels]
        targets(self.folder / "validation_labels", self.validation.identity, pairs, NAMES)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    """Two models whose mean is always right, and a useless one that is sure of itself."""
    monkeypatch.setenv("WEBLY_CHECKPOINTS", str(tmp_path / "checkpoints"))
    validation, test = (
        image_set(
            tmp_path / f"{name}_shards",
            coloured_squares(count, 48, seed=seed)[0],
            images_per_shard=16,
            at=tmp_path / name,
        )
        for seed, (name, count) in enumerate([(VALIDATION, 60), (TEST, 5)])
    )
    models = [tiny_models.save(tmp_path / str(seed), NAMES, seed=seed) for seed in (0, 4)]
    labels = tiny_models.naive_probabilities(validation, models).argmax(axis=1)
    shares = [0.0005] * 5 + [0.9975]
    models.append(tiny_models.save(tmp_path / "useless", NAMES, probabilities=shares))
    found = Given(tmp_path, validation, test, models, labels)
    found.labelled(labels)
    return found


def run(given: Given, out: Path, weights: str) -> dict[str, float | str]:
    """Return the predictions' metadata."""
    names = ("predictions.parquet", "submission.zip", "confusion.json", "report.html")
    out.mkdir(exist_ok=True)
    paths = [out / name for name in names]
    settings: Any = {"weights": weights, "views": "one", "batch_size": 8}
    ensemble(given.folder, given.models, *paths, **settings)
    return metadata.read(out / "predictions.parquet")


def shares(found: dict[str, float | str]) -> list[float | str]:
    return [value for name, value in found.items() if name.endswith("share_percent")]


def test_where_a_model_is_useless_the_chosen_members_are_better_than_all(
    given: Given, tmp_path: Path
) -> None:
    found = run(given, tmp_path / "out", "greedy")

    assert found[f"{USELESS}: share_percent"] == 0
    assert sum(map(float, shares(found))) == pytest.approx(100)
    assert float(found["top1_percent"]) > float(found["equal shares: top1_percent"]) + 20
    reported = ~halves.choosing(given.validation.ids())
    assert found["images"] == reported.sum()
    assert found["choosing_images"] == 60 - reported.sum()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "equal shares of all" in page
    assert f"is of the other {reported.sum()}" in page


@pytest.mark.parametrize("weights", ["greedy", "weighted"])
def test_the_cross_fitted_estimate_is_of_all_images_by_shares_that_they_have_not_chosen(
    weights: Weights, given: Given, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    labels = np.where(random.random(60) < 0.7, given.labels, random.integers(0, 6, 60))
    given.labelled(labels)

    found = run(given, tmp_path / "out", weights)

    chooses = halves.choosing(given.validation.ids())
    alone = np.array(
        [tiny_models.naive_probabilities(given.validation, [model]) for model in given.models]
    )
    right = np.zeros(60, bool)
    for half in (chooses, ~chooses):
        taken = parts(weights, [(opinions(alone[:, half], 6), labels[half])], 3)
        mean = np.einsum("m,mnc->nc", taken / taken.sum(), alone)
        right[~half] = (mean.argmax(axis=1) == labels)[~half]
    top1 = 100 * np.mean([right[labels == label].mean() for label in np.unique(labels)])
    assert found["cross-fitted: top1_percent"] == pytest.approx(top1, rel=1e-3)
    assert found["cross-fitted: images"] == 60
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"the accuracy on all 60 images is {top1:.1f} [" in page


def test_predictions_are_of_all_images_and_those_of_test_images_by_the_same_shares(
    given: Given, tmp_path: Path
) -> None:
    found = run(given, tmp_path / "greedy", "greedy")
    weights = np.array(shares(found), float) / 100

    def expected(images: ImageSet) -> NDArray[np.float64]:
        alone = [tiny_models.naive_probabilities(images, [model]) for model in given.models]
        return np.einsum("m,mnc->nc", weights, alone)

    table = pq.read_table(tmp_path / "greedy" / "predictions.parquet")
    together = expected(given.validation)
    assert table["concepts"].to_pylist() == np.argsort(-together)[:, :5].tolist()
    np.testing.assert_allclose(
        table["probabilities"].to_pylist(), -np.sort(-together)[:, :5], atol=1e-4
    )
    _, _, _, history = predictions.read(tmp_path / "greedy" / "predictions.parquet")
    assert history.chosen == ("the ensemble's members",)
    assert history.lineage == [Training("finetune 32 px", 1234, 5.6)]  # the same of all
    with zipfile.ZipFile(tmp_path / "greedy" / "submission.zip") as archive:
        lines = archive.read("predictions.txt").decode().splitlines()
    strongest = np.argsort(-expected(given.test))[:, :5].tolist()
    assert [line.split("\t")[1] for line in lines] == [" ".join(map(str, row)) for row in strongest]


@pytest.mark.parametrize(
    ("weights", "more"), [("equal", []), ("greedy", ["the ensemble's members"])]
)
def test_what_chose_the_models_targets_is_not_forgotten(
    given: Given, tmp_path: Path, weights: str, more: list[str]
) -> None:
    for seed in (0, 4):
        tiny_models.save(tmp_path / str(seed), NAMES, seed=seed, chosen=["the teachers"])
    found = run(given, tmp_path / "out", weights)
    *_, history = predictions.read(tmp_path / "out" / "predictions.parquet")
    assert history.chosen == ("the teachers", *more)
    assert found["images"] == np.count_nonzero(~halves.choosing(given.validation.ids()))


@pytest.mark.parametrize("weights", ["greedy", "weighted"])
def test_labels_of_the_reported_half_do_not_choose(
    weights: Weights, given: Given, tmp_path: Path
) -> None:
    chooses = halves.choosing(given.validation.ids())
    first = run(given, tmp_path / "first", weights)

    for other in range(3):
        random = np.random.default_rng(other).integers(0, 6, 60)
        given.labelled(np.where(chooses, given.labels, random))
        again = run(given, tmp_path / f"{other}", weights)
        assert shares(again) == shares(first)
        assert again["top1_percent"] != first["top1_percent"]

    given.labelled(np.where(chooses, 5, given.labels))  # what the useless model says
    assert shares(run(given, tmp_path / "last", weights)) != shares(first)


def test_a_half_without_images_is_refused(given: Given, tmp_path: Path) -> None:
    image_set(tmp_path / "few", coloured_squares(1, 48, seed=0)[0], at=tmp_path / VALIDATION)
    found = Given(
        tmp_path, ImageSet.load(tmp_path / VALIDATION), given.test, given.models, given.labels
    )
    found.labelled(given.labels[:1])
    with pytest.raises(UserError, match="of 1 validation images choose .* use weights=equal"):
        run(found, tmp_path / "out", "greedy")


def test_an_images_half_is_the_same_everywhere_and_for_ever() -> None:
    ids = [f"val{i:06d}.jpg" for i in range(1, 10_001)]
    chooses = halves.choosing(ids)
    assert 4_800 < chooses.sum() < 5_200
    assert (halves.choosing(ids[::-1]) == chooses[::-1]).all()
    # `printf half:val000001.jpg | sha256sum` and so on: a0, 17, 1e, 5e, d0, 38.
    assert chooses[:6].tolist() == [True, False, True, True, True, True]


def opinions(dense: NDArray[np.float64], kept: int) -> Opinions:
    """Return the opinions of models by their probabilities (M, N, C)."""
    classes = (-dense).argsort(axis=2, kind="stable")[:, :, :kept]
    shares = np.take_along_axis(dense, classes, axis=2)
    return Opinions.of(classes.astype(np.int32), shares.astype(np.float32))


def random_opinions(models: int, images: int, classes: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).dirichlet(np.full(classes, 0.2), (models, images))


def test_where_all_classes_are_kept_the_mean_is_exact() -> None:
    dense, weights = random_opinions(4, 50, 8), np.array([0.5, 0.0, 0.3, 0.2])
    expected = np.einsum("m,mnc->nc", weights, dense)
    found = opinions(dense, 8).mean(weights)
    assert found.classes.tolist() == np.argsort(-expected)[:, :5].tolist()
    np.testing.assert_allclose(found.probabilities, -np.sort(-expected)[:, :5], rtol=1e-5)


def test_a_class_that_a_model_has_not_kept_counts_as_nothing_there() -> None:
    # Kept are 0 and 1 of the first, 3 and 1 of the second: 0, 1 and 3 have a quarter each.
    dense = np.array([[[0.5, 0.25, 0.25, 0.0]], [[0.125, 0.25, 0.125, 0.5]]])
    found = opinions(dense, 2).mean(np.array([0.5, 0.5]))
    assert found.classes.tolist() == [[0, 1]]  # ties in class order
    np.testing.assert_allclose(found.probabilities, [[0.25, 0.25]], rtol=1e-6)


def naive(dense: NDArray[np.float64], labels: NDArray[np.int64]) -> list[int]:
    """Return how often each model is taken, with all probabilities and one sum at a time."""

    def score(taken: Sequence[int]) -> tuple[float, float]:
        mean = np.mean([dense[model] for model in taken], axis=0)
        right, loss = mean.argmax(axis=1) == labels, -np.log(mean[range(len(labels)), labels])
        of = [labels == label for label in np.unique(labels)]
        top1 = np.mean([right[rows].mean() for rows in of])
        return round(float(top1), 12), -round(
            float(np.mean([loss[rows].mean() for rows in of])), 12
        )

    way: list[list[int]] = [[]]
    for _ in range(30):
        way.append(max(([*way[-1], model] for model in range(len(dense))), key=score))
    return np.bincount(max(way[1:], key=score), minlength=len(dense)).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_members_are_those_that_a_naive_search_takes(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 6, 90) ** 2 // 5  # of unequal frequency, and some classes missing
    logits = random.normal(0, 1, (4, 90, 6)) + 1.5 * np.eye(6)[labels] * random.random((4, 1, 1))
    dense = np.exp(2 * logits) / np.exp(2 * logits).sum(axis=2, keepdims=True)
    shards = [(opinions(dense[:, rows], 6), labels[rows]) for rows in np.split(np.arange(90), 3)]
    assert greedy(shards, 4).tolist() == naive(dense, labels)


def certain(probabilities: Sequence[Sequence[float]], labels: Sequence[int]) -> NDArray[np.int64]:
    """Return the shares of models by the probability that each (M, N) gives an image's label."""
    of_label = np.array(probabilities)
    dense = np.empty((*of_label.shape, 2))
    rows = np.arange(len(labels))
    dense[:, rows, labels], dense[:, rows, 1 - np.array(labels)] = of_label, 1 - of_label
    return weighted([(opinions(dense, 2), np.array(labels))], len(of_label))


def test_weighted_shares_are_those_worked_out_by_hand() -> None:
    # Models that say the same have the same shares, however good they are.
    assert certain([[0.9, 0.2], [0.9, 0.2]], [0, 1]).tolist() == [50, 50]
    # One explains all images, another none, and each half of a twentieth: 1.025 and 0.025 of 1.05.
    assert certain([[1, 1], [0, 0]], [0, 1]).tolist() == [98, 2]
    # Each explains the images of one class: classes count the same, however many images they have.
    assert certain([[1, 1, 1, 0], [0, 0, 0, 1]], [0, 0, 0, 1]).tolist() == [50, 50]


@pytest.mark.parametrize("seed", range(3))
def test_weighted_shares_have_the_least_loss_that_an_optimizer_finds(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels, models = random.integers(0, 5, 90), 4
    logits = (
        random.normal(0, 1, (models, 90, 5))
        + 2 * np.eye(5)[labels] * np.arange(models)[:, None, None] / 2
    )
    dense = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    of_label, images = dense[:, range(90), labels], np.bincount(labels)[labels]

    def loss(shares: NDArray[np.float64]) -> float:
        likelihood = -np.log(shares @ of_label) @ (1 / images) / len(np.unique(labels))
        return float(likelihood - 0.05 * np.log(shares).mean())

    found = minimize(
        loss,
        np.full(models, 1 / models),
        bounds=[(1e-6, 1)] * models,
        constraints={"type": "eq", "fun": lambda shares: shares.sum() - 1},
        tol=1e-9,
    )
    shards = [(opinions(dense[:, rows], 5), labels[rows]) for rows in np.split(np.arange(90), 3)]
    np.testing.assert_allclose(weighted(shards, models), 100 * found.x, atol=0.6)
    assert weighted(shards, models).max() > 40
