"""Benchmarks are run by hand, rarely: so that they are not broken by then."""

import json
from pathlib import Path

import pytest

from tests.benchmarks import at_scale_stages


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
