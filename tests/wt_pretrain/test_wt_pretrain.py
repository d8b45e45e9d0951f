from dataclasses import replace
from pathlib import Path

import pytest

from components.shared.stage.errors import UserError
from components.shared.training import models
from components.wt_pretrain.stage import wt_pretrain
from tests.synthetic import TRAINING, ColouredSquares

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ColouredSquares:
    return ColouredSquares.write(tmp_path_factory.mktemp("squares"))


def test_wt_pretrain_learns_keywords_and_measures_itself_on_held_out_images(
    data: ColouredSquares, tmp_path: Path
) -> None:
    outputs = tmp_path / "model", tmp_path / "report.html"
    settings = replace(TRAINING, epochs=3, epoch_images=160, decay_epochs=2)
    wt_pretrain(data.images, data.keywords, *outputs, training=settings)
    record, metrics = models.read_record(outputs[0]), models.read_record(outputs[0]).metrics
    assert record.names == ["red", "green", "blue", "warm", "cold"]
    assert [each.what for each in record.lineage] == ["wt_pretrain 24 px"]
    # Red is warm, green and blue are cold: five outputs hold them all.
    assert record.score == metrics["recall5"] == 1.0
    assert metrics["loss"] < 0.8 * record.curve[0]["loss"]
    assert metrics["images_seen"] == 480
    assert "held-out recall@5" in outputs[1].read_text()


def test_the_mean_over_keywords_is_half_the_sum_over_two(
    data: ColouredSquares, tmp_path: Path
) -> None:
    losses = {}
    settings = replace(TRAINING, epochs=1, epoch_images=8, learning_rate=1e-9)
    for norm in ("sum", "mean"):
        outputs = tmp_path / norm, tmp_path / "report.html"
        wt_pretrain(data.images, data.keywords, *outputs, training=settings, target_norm=norm)
        losses[norm] = models.read_record(outputs[0]).metrics["loss"]
    assert losses["mean"] == pytest.approx(losses["sum"] / 2, rel=1e-4)


def test_keywords_of_other_images_are_refused(data: ColouredSquares, tmp_path: Path) -> None:
    outputs = tmp_path / "model", tmp_path / "report.html"
    with pytest.raises(UserError, match="of the same ingest"):
        wt_pretrain(data.evaluation / "validation", data.keywords, *outputs, training=TRAINING)
    assert not any(tmp_path.iterdir())
