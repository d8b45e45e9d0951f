"""The ensemble on another data set's images, which choose nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.ensemble.stage import ensemble
from components.shared.data import predictions
from components.shared.data.evaluation import (
    EXTERNAL,
    EXTERNAL_LABELS,
    LABELS,
    TEST,
    VALIDATION,
    write_title,
)
from components.shared.stage import metadata
from tests import tiny_models
from tests.synthetic import coloured_squares, image_set, targets

NAMES = ["red", "green", "blue", "grey", "pink", "mauve"]
IMAGES = 30


def run(evaluation: Path, models: list[Path], out: Path, weights: str) -> dict[str, float | str]:
    out.mkdir()
    names = ("predictions", "submission.zip", "confusion.json", "report.html")
    settings: Any = {"weights": weights, "views": "one"}
    ensemble(evaluation, models, *(out / name for name in names), **settings)
    return metadata.read(out / "predictions")


@pytest.mark.parametrize("weights", ["equal", "greedy"])
def test_the_ensemble_predicts_external_images_by_its_shares(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_CHECKPOINTS", str(tmp_path / "checkpoints"))
    evaluation = tmp_path / "evaluation"
    validation, _, external = (
        image_set(
            tmp_path / name,
            coloured_squares(count, 48, seed)[0],
            images_per_shard=16,
            at=evaluation / name,
        )
        for seed, (name, count) in enumerate([(VALIDATION, 40), (TEST, 2), ("later", IMAGES)])
    )
    models = [tiny_models.save(tmp_path / str(seed), NAMES, seed=seed) for seed in (0, 4)]
    # The first model is right of all validation images.
    truth = tiny_models.naive_probabilities(validation, models[:1]).argmax(axis=1)
    targets(evaluation / LABELS, validation.identity, [[(int(i), 1.0)] for i in truth], NAMES)
    first, together = (
        tiny_models.naive_probabilities(external, some) for some in (models[:1], models)
    )
    expected = first if weights == "greedy" else together
    labels = np.where(np.arange(IMAGES) % 3, expected.argmax(axis=1), expected.argmin(axis=1))
    without = run(evaluation, models, tmp_path / "without", weights)
    external.folder.rename(evaluation / EXTERNAL)
    pairs = [[(int(label), 1.0)] for label in labels]
    targets(evaluation / EXTERNAL_LABELS, external.identity, pairs, NAMES)
    write_title(evaluation, "photonet")

    found = run(evaluation, models, tmp_path / "out", weights)

    path = tmp_path / "out" / "predictions"
    identity, read, kept, history = predictions.read(path, "external")
    assert identity == external.identity
    assert read.tolist() == labels.tolist()
    named = np.take_along_axis(expected, kept.classes.astype(np.int64), axis=1)
    np.testing.assert_allclose(kept.probabilities, named, atol=1e-4)
    assert kept.classes[:, 0].tolist() == expected.argmax(axis=1).tolist()
    assert not history.chosen
    right = kept.classes[:, 0] == labels
    by_class = [right[labels == label].mean() for label in np.unique(labels)]
    assert found["external_top1_percent"] == pytest.approx(100 * np.mean(by_class), rel=1e-3)
    assert found["external_images"] == IMAGES
    assert f"On the {IMAGES} images of photonet" in (tmp_path / "out" / "report.html").read_text()
    # All else is as without them.
    assert {name: found[name] for name in without} == without
    assert predictions.ids(path) == predictions.ids(tmp_path / "without" / "predictions")
    assert len(found) == len(without) + 3
