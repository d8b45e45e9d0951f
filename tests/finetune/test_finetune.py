import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from components.finetune.stage import finetune
from components.shared.data import halves, predictions
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.stage import metadata
from components.shared.stage.errors import UserError
from components.shared.training import models
from components.shared.training.accuracy import BalancedAccuracy
from components.shared.training.settings import TrainingSettings
from components.wt_pretrain.stage import wt_pretrain
from tests import tiny_models
from tests.synthetic import COLOURS, TRAINING, ColouredSquares, targets

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ColouredSquares:
    return ColouredSquares.write(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="module")
def pretrained(data: ColouredSquares, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wt")
    outputs = folder / "model", folder / "report.html"
    wt_pretrain(data.images, data.keywords, *outputs, training=TRAINING)
    return folder / "model"


def finetuned(
    data: ColouredSquares, folder: Path, training: TrainingSettings = TRAINING, **changes: Any
) -> Path:
    finetune(
        data.images,
        changes.pop("targets", data.labels),
        data.evaluation,
        folder / "model",
        folder / "predictions.parquet",
        folder / "report.html",
        training=training,
        **changes,
    )
    return folder / "model"


# Nothing moves at such a rate, so the weights are those that training began with.
STILL = replace(TRAINING, epochs=1, epoch_images=8, learning_rate=1e-12, weight_decay=0.0)


def test_finetune_from_scratch_learns_the_labels(data: ColouredSquares, tmp_path: Path) -> None:
    folder = finetuned(data, tmp_path, replace(TRAINING, epochs=3, epoch_images=160))
    record = models.read_record(folder)
    assert record.score == record.metrics["top1"] >= 0.9
    shown = metadata.read(folder)
    assert shown["top1_percent"] == pytest.approx(100 * record.score, rel=1e-3)
    assert shown["backbone"] == "resnet10t" and shown["image_size"] == 24
    assert [(each.what, each.images) for each in record.lineage] == [
        ("finetune on given labels 24 px", 480)
    ]
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert model(torch.zeros(1, 3, 24, 24)).shape == (1, 3)


def test_predictions_are_those_of_the_model_with_its_history(
    data: ColouredSquares, pretrained: Path, tmp_path: Path
) -> None:
    folder = finetuned(data, tmp_path, initial_model=pretrained)
    record = models.read_record(folder)
    identity, labels, found, history = predictions.read(tmp_path / "predictions.parquet")
    images = ImageSet.load(data.evaluation / "validation")
    assert identity == images.identity
    assert labels.tolist() == Targets.load(data.evaluation / "validation_labels").classes.tolist()
    accuracy = BalancedAccuracy(len(COLOURS))
    accuracy.update_ranked(torch.tensor(found.classes), torch.from_numpy(labels).long())
    assert accuracy.top1 == record.metrics["top1"]
    means = tiny_models.naive_probabilities(images, [folder])
    expected = np.take_along_axis(means, found.classes.astype(np.int64), axis=1)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    assert history.curve == record.curve
    assert history.lineage == record.lineage
    assert [each.images for each in record.lineage] == [192, 192]
    assert record.lineage[0] == models.read_record(pretrained).lineage[0]


def test_finetune_starts_from_the_pretrained_model_with_a_new_head(
    data: ColouredSquares, pretrained: Path, tmp_path: Path
) -> None:
    folder = finetuned(data, tmp_path, STILL, initial_model=pretrained)
    before = load_file(pretrained / "model.safetensors")
    after = load_file(folder / "model.safetensors")
    assert after["fc.weight"].shape == (3, 24)
    torch.testing.assert_close(after["layer4.0.conv1.weight"], before["layer4.0.conv1.weight"])
    assert [each.what for each in models.read_record(folder).lineage] == [
        "wt_pretrain 24 px",
        "finetune on given labels 24 px",
    ]


def test_the_large_round_goes_on_with_head_and_learning_rate(
    data: ColouredSquares, tmp_path: Path
) -> None:
    first = finetuned(data, tmp_path / "first")
    settings = replace(TRAINING, image_size=32, learning_rate=0.5, epochs=2)
    large = finetuned(
        data,
        tmp_path / "large",
        settings,
        initial_model=first,
        keep_head=True,
        continue_learning_rate=True,
    )
    # The first round ended, after one step of its schedule, at 0.002.
    assert models.read_record(first).last_learning_rate == pytest.approx(0.002)
    rates = [entry["learning_rate"] for entry in models.read_record(large).curve]
    assert rates == pytest.approx([0.002, 0.0002])


def test_the_end_of_a_cosine_is_no_learning_rate_to_go_on_at(
    data: ColouredSquares, tmp_path: Path
) -> None:
    first = finetuned(data, tmp_path / "first", replace(STILL, schedule="cosine"))
    with pytest.raises(UserError, match="set continue_learning_rate=false"):
        finetuned(data, tmp_path / "again", initial_model=first, continue_learning_rate=True)


def test_a_kept_head_gives_the_same_scores(data: ColouredSquares, tmp_path: Path) -> None:
    first = finetuned(data, tmp_path / "first")
    again = finetuned(data, tmp_path / "again", STILL, initial_model=first, keep_head=True)
    before, after = (load_file(folder / "model.safetensors") for folder in (first, again))
    torch.testing.assert_close(after["fc.weight"], before["fc.weight"])


def test_a_head_over_other_classes_cannot_be_kept(data: ColouredSquares, tmp_path: Path) -> None:
    first = finetuned(data, tmp_path / "first", STILL)
    record = json.loads((first / "training.json").read_text())
    (first / "training.json").write_text(json.dumps(record | {"names": COLOURS[::-1]}))
    with pytest.raises(UserError, match="keep_head=false"):
        finetuned(data, tmp_path / "again", initial_model=first, keep_head=True)


def test_continuing_without_a_model_is_the_users_error(
    data: ColouredSquares, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="continue_learning_rate"):
        finetuned(data, tmp_path, continue_learning_rate=True)


def test_finetune_takes_pseudo_labels_and_leaves_out_images_without(
    data: ColouredSquares, tmp_path: Path
) -> None:
    identity = Targets.load(data.labels).identity
    pairs = [
        [(number % 3, 0.8), ((number + 1) % 3, 0.2)] if number < 30 else [] for number in range(60)
    ]
    targets(tmp_path / "pseudo", identity, pairs, COLOURS, ["the teachers"])
    settings = replace(TRAINING, epochs=1, epoch_images=0)
    folder = finetuned(data, tmp_path, settings, targets=tmp_path / "pseudo")
    record = models.read_record(folder)
    assert [each.what for each in record.lineage] == ["finetune on pseudo labels 24 px"]
    assert record.metrics["images_seen"] == 32  # four steps of eight: thirty images, rounded

    large = finetuned(data, tmp_path / "large", STILL, initial_model=folder)
    for made in (folder, large):
        found = models.read_record(made)
        assert found.chosen == ("the teachers",)
        assert found.metadata()["reported_top1_percent"] == 100 * found.metrics["reported_top1"]
        *_, history = predictions.read(made.with_name("predictions.parquet"))
        assert history.chosen == ("the teachers",)
        page = (made.with_name("report.html")).read_text()
        assert "has not chosen the teachers, balanced top-1" in page


def test_each_half_of_the_validation_images_is_measured(
    data: ColouredSquares, tmp_path: Path
) -> None:
    folder = finetuned(data, tmp_path, replace(TRAINING, learning_rate=0.004))

    path = folder.with_name("predictions.parquet")
    chooses = halves.choosing(predictions.ids(path))
    _, labels, found, history = predictions.read(path)
    right = found.classes[:, 0] == labels
    metrics, record = history.curve[-1], models.read_record(folder)
    for name, rows in ((halves.CHOOSING, chooses), (halves.REPORTED, ~chooses)):
        expected = [right[rows & (labels == label)].mean() for label in np.unique(labels[rows])]
        assert metrics[name] == record.metrics[name] == pytest.approx(np.mean(expected))
    assert metrics[halves.CHOOSING] != metrics[halves.REPORTED]
    assert not record.chosen and "quote" not in folder.with_name("report.html").read_text()
