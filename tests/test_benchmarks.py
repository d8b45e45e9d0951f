"""Benchmarks are run by hand, rarely: so that they are not broken by then."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.weighting.weights import Weights
from tests.benchmarks import at_scale_stages, gpu, gpu_checks, weights, weights_data
from tests.benchmarks.weights_data import CLUTTER, Known


@pytest.mark.slow
@pytest.mark.parametrize("name", at_scale_stages.STAGES)
def test_a_stage_runs_as_it_is_measured(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if name in ("tagging", "weighting"):
        request.getfixturevalue("nltk_data")
    monkeypatch.setenv("WEBLY_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("WEBLY_CHECKPOINTS", str(tmp_path / "checkpoints"))
    (tmp_path / "out").mkdir()
    at_scale_stages.STAGES[name].prepare(tmp_path, 2_000)

    at_scale_stages.main(name, tmp_path)

    assert json.loads((tmp_path / "usage.json").read_text())["seconds"] > 0


def test_weights_are_measured_by_what_images_show() -> None:
    labels, truth = np.array([0, 1, 1, 0]), np.array([0, 0, CLUTTER, 0])
    found = Weights(
        counts=np.array([2, 1, 1, 0]),
        classes=np.array([0, 1, 1, 1]),
        weights=np.array([0.5, 0.25, 0.25, 0.25], np.float32),
        fallbacks=1,
    )

    figures = weights.measured(Known(pa.table({}), [""] * 4, labels, truth), found)

    # The last image has no weight; the label is right for it and the first.
    assert figures == pytest.approx((1 / 4, 0.5 / 1.25, 1 / 2, (0.75 / 2) / (0.5 / 2)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "figures"),
    [(weights_data.drawn, (0.205, 0.413, 0.857)), (weights_data.fine, (0.194, 0.306, 0.873))],
)
def test_the_demos_images_are_as_it_draws_them(
    make: Callable[[], Known], figures: tuple[float, ...], nltk_data: Path
) -> None:
    known = make()

    assert len(known.texts) == len(known.labels) == len(known.truth)
    row = weights.measured(known, weights.Weighing(known)({}))
    assert row[:3] == pytest.approx(figures, abs=0.02)


@pytest.mark.slow
def test_the_gpus_benchmark_runs_to_its_end_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # set again, and restored afterwards
    monkeypatch.setattr(sys, "argv", ["gpu", "--tiny", "--output", str(tmp_path / "figures.json")])

    gpu.main()

    rows = {
        f"{row['group']}: {row['what']}": row
        for row in json.loads((tmp_path / "figures.json").read_text())["rows"]
    }
    for check in gpu_checks.ROWS:
        assert rows[f"check: {check}"]["remark"] == "equal, bit for bit"
    for step in ("timm, channels first", "ours, channels last", "ours, fused optimizer"):
        assert rows[f"resnet10t, 4 × 32 px: {step}"]["rate"] > 0
    for what in (
        "loading: loader",
        "labelling: crops in memory",
        "labelling: from shards, views=one",
    ):
        assert rows[what]["rate"] > 0
