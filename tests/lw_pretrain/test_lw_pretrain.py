from dataclasses import replace
from pathlib import Path

import pytest

from components.lw_pretrain.stage import lw_pretrain
from components.shared.training import models
from tests.synthetic import COLOURS, TRAINING, ColouredSquares

pytestmark = pytest.mark.slow


def test_lw_pretrain_learns_from_weighted_concepts(tmp_path: Path) -> None:
    data = ColouredSquares.write(tmp_path)
    outputs = tmp_path / "model", tmp_path / "report.html"
    lw_pretrain(
        data.images,
        data.weights,
        data.evaluation,
        *outputs,
        training=replace(TRAINING, epochs=3, epoch_images=160, decay_epochs=2),
    )
    record, metrics = models.read_record(outputs[0]), models.read_record(outputs[0]).metrics
    assert record.names == COLOURS
    assert [each.what for each in record.lineage] == ["lw_pretrain 24 px"]
    assert record.score == metrics["top1"] >= 0.9
    assert "best" in outputs[1].read_text()
