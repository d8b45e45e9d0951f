import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from components.ensemble.confusion import confusion, write_confusion
from components.ensemble.stage import ensemble
from components.ensemble.submission import write_submission
from components.shared.data.evaluation import TEST, VALIDATION
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.stage import metadata
from components.shared.stage.errors import UserError
from components.shared.storage.resume import Parts
from components.shared.training.inference import Inference
from tests import tiny_models
from tests.forked import Forked
from tests.synthetic import coloured_squares, image_set, targets

NAMES = ["red", "green", "blue", "grey", "pink", "mauve"]
WAYS = [{}, {"weights": "greedy", "views": "flip"}, {"weights": "weighted", "views": "multi"}]


@dataclass(frozen=True)
class Given:
    folder: Path
    validation: ImageSet
    labels: Targets
    test: ImageSet
    models: list[Path]
    together: np.ndarray  # the models' mean probabilities of the validation images


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """Three random models, and labels of which they get one in three right, another in five."""
    folder = tmp_path_factory.mktemp("given")
    validation = image_set(
        folder / "shards",
        coloured_squares(17, 48, seed=0)[0],
        images_per_shard=4,
        at=folder / VALIDATION,
    )
    test = image_set(
        folder / "test_shards",
        coloured_squares(3, 48, seed=1)[0],
        ["test/test000002.jpg", "test/test000003.jpg", "test/test000001.jpg"],
        images_per_shard=2,
        at=folder / TEST,
    )
    found = [
        tiny_models.save(folder / str(seed), NAMES, seed=seed, image_size=size)
        for seed, size in [(0, 32), (1, 48), (2, 32)]
    ]
    together = tiny_models.naive_probabilities(validation, found)
    ranks = np.argsort(-together, axis=1)
    pairs = [[(int(ranks[i, [0, 2, 5][i % 3]]), 1.0)] for i in range(17)]
    labels = targets(folder / "validation_labels", validation.identity, pairs, NAMES)
    return Given(folder, validation, labels, test, found, together)


@pytest.fixture(scope="module", autouse=True)
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEBLY_CHECKPOINTS", str(folder))
        yield folder


def run(given: Given, out: Path, *, evaluation: Path | None = None, **parameters: str) -> None:
    ensemble(
        evaluation or given.folder,
        given.models,
        out / "predictions.parquet",
        out / "submission.zip",
        out / "confusion.json",
        out / "report.html",
        batch_size=8,
        **{"views": "one", "weights": "equal", **parameters},  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def made(given: Given, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made")
    run(given, out)
    return out


def outputs(folder: Path) -> dict[str, bytes]:
    """Return what the stage wrote, but for the report."""
    names = ("predictions.parquet", "submission.zip", "confusion.json")
    return {name: (folder / name).read_bytes() for name in names}


def balanced(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    hits = [label in np.argsort(-row)[:k] for row, label in zip(scores, labels, strict=True)]
    return float(np.mean([np.mean(np.array(hits)[labels == label]) for label in np.unique(labels)]))


def percent(scores: np.ndarray, labels: np.ndarray, k: int) -> Any:
    return pytest.approx(100 * balanced(scores, labels, k), rel=1e-3)


def test_metrics_are_the_balanced_accuracies_of_the_mean_and_of_each_model(
    given: Given, made: Path
) -> None:
    metrics = metadata.read(made / "predictions.parquet")
    labels = np.array(given.labels.classes)
    assert metrics["images"] == 17
    assert metrics["missing_classes"] == len(NAMES) - len(np.unique(labels))
    assert 0 < metrics["top1_percent"] < metrics["top5_percent"] < 100
    assert metrics["top1_percent"] == pytest.approx(
        100 * balanced(given.together, labels, 1), rel=1e-3
    )
    assert metrics["top5_percent"] == pytest.approx(
        100 * balanced(given.together, labels, 5), rel=1e-3
    )
    for folder, suffix in zip(given.models, ["", " (2)", " (3)"], strict=True):
        alone = tiny_models.naive_probabilities(given.validation, [folder])
        title = f"resnet10t: finetune 32 px{suffix}"
        assert metrics[f"{title}: top1_percent"] == pytest.approx(
            100 * balanced(alone, labels, 1), rel=1e-3
        )
        assert metrics[f"{title}: top5_percent"] == pytest.approx(
            100 * balanced(alone, labels, 5), rel=1e-3
        )


def test_predictions_hold_the_five_most_probable_concepts(given: Given, made: Path) -> None:
    table = pq.read_table(made / "predictions.parquet")
    strongest = np.argsort(-given.together, axis=1)[:, :5]
    assert table["id"].to_pylist() == given.validation.ids()
    assert table["label"].to_pylist() == given.labels.classes.tolist()
    assert table["concepts"].to_pylist() == strongest.tolist()
    np.testing.assert_allclose(
        table["probabilities"].to_pylist(),
        np.take_along_axis(given.together, strongest, axis=1),
        atol=1e-5,
    )


def test_the_submission_lists_the_test_images_by_name(given: Given, made: Path) -> None:
    together = tiny_models.naive_probabilities(given.test, given.models)
    strongest = np.argsort(-together, axis=1)[:, :5].tolist()
    with zipfile.ZipFile(made / "submission.zip") as archive:
        assert archive.namelist() == ["predictions.txt"]
        lines = archive.read("predictions.txt").decode().splitlines()
    assert lines == [
        f"test00000{number}.jpg\t{' '.join(map(str, strongest[image]))}"
        for number, image in [(1, 2), (2, 0), (3, 1)]
    ]


def test_a_submission_is_right_to_the_byte(tmp_path: Path) -> None:
    classes = np.array([[12, 0, 4999, 3, 7], [1, 2, 3, 4, 5]])
    write_submission(tmp_path / "zip", ["test000002.jpg", "test000001.jpg"], classes)
    with zipfile.ZipFile(tmp_path / "zip") as archive:
        content = archive.read("predictions.txt")
    assert content == b"test000001.jpg\t1 2 3 4 5\ntest000002.jpg\t12 0 4999 3 7\n"


def test_the_same_predictions_make_the_same_zip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = np.array([[1, 0]])
    write_submission(tmp_path / "one", ["a.jpg"], classes)
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_submission(tmp_path / "two", ["a.jpg"], classes)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_without_test_images_the_submission_is_empty(given: Given, tmp_path: Path) -> None:
    evaluation = tmp_path / "evaluation"
    shutil.copytree(given.folder, evaluation)
    image_set(evaluation, [], at=evaluation / TEST)
    run(given, tmp_path, evaluation=evaluation)
    with zipfile.ZipFile(tmp_path / "submission.zip") as archive:
        assert archive.read("predictions.txt") == b""


def test_the_confusion_is_what_kfp_itself_writes(tmp_path: Path) -> None:
    dsl = pytest.importorskip("kfp.dsl")
    expected = dsl.ClassificationMetrics()
    expected.log_confusion_matrix(["red", "green", "blue"], [[1, 1, 0], [0, 1, 0], [2, 0, 0]])

    labels, predicted = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 0], np.int32)
    write_confusion(tmp_path / "confusion", labels, predicted, ["red", "green", "blue"])

    assert json.loads((tmp_path / "confusion").read_text()) == expected.metadata


def test_of_many_classes_the_confusion_shows_the_most_frequent_confusions() -> None:
    # 5 and 9 are taken for each other three times, 2 for 3 twice, 0 for 1 once.
    labels = np.array([5, 5, 9, 2, 2, 0, 5, 7])
    predicted = np.array([9, 9, 5, 3, 3, 1, 0, 7], np.int32)

    shown, matrix = confusion(labels, predicted, num_classes=10, rows=5)

    # Of class 5, the image that is taken for 0 counts as one taken for another class; those of 0
    # and 7, which are taken for others than the ones shown, do not count.
    assert shown.tolist() == [2, 3, 5, 9]
    assert matrix.tolist() == [
        [0, 2, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 2, 1],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0],
    ]


def test_names_in_the_confusion_are_short_and_differ(tmp_path: Path) -> None:
    titles = ["crane", "great white shark", "great white heron", "crane", *map(str, range(50))]
    labels = np.array([0, 0, 3, 3, 1, 1, 2, 2])
    wrong = labels[[2, 2, 0, 0, 6, 6, 4, 4]].astype(np.int32)

    write_confusion(tmp_path / "confusion", labels, wrong, titles)

    written = json.loads((tmp_path / "confusion").read_text())["confusionMatrix"]
    names = [spec["displayName"] for spec in written["annotationSpecs"]]
    assert names == ["crane 0", "great white…", "crane 3", "other"]


def test_the_report_compares_each_model_with_the_ensemble(given: Given, made: Path) -> None:
    page = (made / "report.html").read_text()
    assert "resnet10t: finetune 32 px (3)" in page
    assert "ensemble of 3" in page
    wrong = (given.together.argmax(axis=1) != given.labels.classes).sum()
    assert page.count("label: ") == wrong
    missing = sorted(set(range(len(NAMES))) - set(given.labels.classes.tolist()))
    assert f"{len(missing)} of 6 classes have no validation image" in page
    assert ", ".join(NAMES[i] for i in missing) + "." in page


def test_models_of_other_classes_are_refused(given: Given, tmp_path: Path) -> None:
    other = tiny_models.save(tmp_path / "other", ["round", "shiny"])
    with pytest.raises(UserError, match="has 2 classes"):
        run(replace(given, models=[other]), tmp_path)


def test_labels_of_other_images_are_refused(given: Given, tmp_path: Path) -> None:
    evaluation = tmp_path / "evaluation"
    shutil.copytree(given.folder, evaluation)
    image_set(tmp_path, coloured_squares(4, 48, seed=2)[0], at=evaluation / VALIDATION)
    with pytest.raises(UserError, match="of the same ingest"):
        run(given, tmp_path, evaluation=evaluation)


class Interruption(BaseException):
    pass


@pytest.mark.parametrize("parameters", WAYS)
def test_a_stage_that_was_interrupted_goes_on_and_ends_as_one_that_was_not(
    parameters: dict[str, Any],
    given: Given,
    checkpoints: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "undisturbed").mkdir()
    run(given, tmp_path / "undisturbed", **parameters)
    shards: list[int] = []
    make, save = Inference._run, Parts.save

    def counting(self: Inference, missing: list[int], what: str) -> None:
        shards.extend(missing)
        make(self, missing, what)

    def failing(self: Parts, shard: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        if "/test" in self._uri.removeprefix(str(checkpoints)):
            raise Interruption
        save(self, shard, arrays)

    monkeypatch.setattr(Inference, "_run", counting)
    with monkeypatch.context() as broken:
        broken.setattr(Parts, "save", failing)
        with pytest.raises(Interruption):
            run(given, tmp_path, **parameters)
    shards.clear()
    run(given, tmp_path, **parameters)
    assert shards == [0, 1]  # the test images'
    assert outputs(tmp_path) == outputs(tmp_path / "undisturbed")
    assert not any(checkpoints.iterdir())


@pytest.mark.processes
@pytest.mark.parametrize("parameters", WAYS)
def test_two_processes_make_what_one_makes(
    parameters: dict[str, Any], given: Given, checkpoints: Path, tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    run(given, tmp_path / "one", **parameters)
    arguments: dict[str, list[Path]] = {
        "evaluation": [given.folder],
        "models": given.models,
        "predictions": [tmp_path / "predictions.parquet"],
        "submission": [tmp_path / "submission.zip"],
        "confusion": [tmp_path / "confusion.json"],
        "report": [tmp_path / "report.html"],
    }
    argv = [str(word) for name, paths in arguments.items() for word in (f"--{name}", *paths)]
    two, log = {"WEBLY_PROCESSES": "2"}, tmp_path / "log"
    settings = {"views": "one", "weights": "equal", **parameters}
    argv += ["--batch_size=8", *(f"--{name}={value}" for name, value in settings.items())]
    stage = Forked("components.ensemble", *argv, log=log, env=os.environ | two)
    assert stage.wait() == 0, log.read_text()
    assert "continuing in 2 processes" in log.read_text()
    assert outputs(tmp_path) == outputs(tmp_path / "one")
    assert not any(checkpoints.iterdir())
