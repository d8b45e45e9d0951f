"""What a run would do is said before, and one stage runs alone."""

import json
import shutil
from pathlib import Path

import pytest
from toy.pipelines import TOTAL, compiled, counting, diamond

from components.shared.stage.errors import UserError
from pipelines.engine import execution
from pipelines.engine.execution import execute
from pipelines.run import record


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    return compiled(diamond, tmp_path / "p.yaml")


def plan(pipeline: Path, folder: Path, *overrides: str, only: str = "") -> dict[str, str]:
    """Return what would happen to each task, and the summary, by the first word."""
    found = execution.plan(execution.read(pipeline, overrides), folder, jobs=2, only=only)
    *tasks, summary = found
    said = {line.split()[1]: " ".join([line[0], *line.split()[2:]]) for line in tasks}
    return said | {"summary": summary}


def statuses(folder: Path) -> dict[str, str]:
    return {task.name: task.status for task in record.read(folder).tasks}


def test_before_the_first_run_everything_would_run(pipeline: Path, tmp_path: Path) -> None:
    assert plan(pipeline, tmp_path) == {
        "count-left": "+ has not run here",
        "count-right": "+ has not run here",
        "total": "+ has not run here",
        "summary": "3 of 3 tasks would run; time: unknown",
    }
    assert {path.name for path in tmp_path.iterdir()} == {"p.yaml"}


def test_a_changed_parameter_is_the_reason_and_nothing_runs(pipeline: Path, tmp_path: Path) -> None:
    execute(pipeline, tmp_path, [], jobs=2)
    before = (tmp_path / "record.json").read_bytes()

    planned = plan(pipeline, tmp_path, "size=4")

    assert planned.pop("summary").startswith("2 of 3 tasks would run; time: about")
    assert planned == {
        "count-left": "+ size 3→4",
        "count-right": "= from the cache",
        "total": "+ count-left runs",
    }
    assert (tmp_path / "record.json").read_bytes() == before


def test_all_is_in_the_cache_after_a_run(pipeline: Path, tmp_path: Path) -> None:
    execute(pipeline, tmp_path, [], jobs=2)

    assert plan(pipeline, tmp_path)["summary"] == "0 of 3 tasks would run"


def test_changed_code_and_changed_inputs_are_told_apart(tmp_path: Path) -> None:
    def with_image(image: str, label: str) -> Path:
        def pipeline() -> None:
            part = counting("count", image=image, label=label).outputs["numbers"]
            TOTAL.task("total", image="toy:1", rerun="", parts=[part], factor=1.0)

        return compiled(pipeline, tmp_path / "p.yaml")

    execute(with_image("toy:1", "a"), tmp_path, [], jobs=1)
    assert plan(with_image("toy:2", "a"), tmp_path)["count"] == "+ code 1→2"

    other = with_image("toy:1", "b")
    execute(other, tmp_path, [], jobs=1, only="count")
    assert plan(other, tmp_path)["total"] == "+ numbers of count changed"


def test_outputs_that_are_gone_and_old_entries_are_reasons(pipeline: Path, tmp_path: Path) -> None:
    execute(pipeline, tmp_path, [], jobs=2)
    (left,) = (tmp_path / "artifacts" / "count-left").glob("*")
    shutil.rmtree(left / "numbers")
    (right,) = (tmp_path / "artifacts" / "count-right").glob("*/entry.json")
    entry = json.loads(right.read_text())
    del entry["made_from"]
    right.write_text(json.dumps(entry))

    assert plan(pipeline, tmp_path)["count-left"] == "+ its outputs are gone, or damaged"
    assert plan(pipeline, tmp_path)["count-right"] == "= from the cache"
    said = plan(pipeline, tmp_path, "label=c")["count-right"]
    assert said == "+ ran before the cache kept what outputs are made from"


def test_a_stage_runs_alone_with_its_inputs_from_the_cache(pipeline: Path, tmp_path: Path) -> None:
    execute(pipeline, tmp_path, [], jobs=2)

    execute(pipeline, tmp_path, ["factor=2"], jobs=2, only="total")

    assert statuses(tmp_path) == {"count-left": "cached", "count-right": "cached", "total": "ran"}


def test_what_does_not_run_alone_is_left_waiting(pipeline: Path, tmp_path: Path) -> None:
    execute(pipeline, tmp_path, [], jobs=2, only="count-left")

    waiting = {"count-right": "waiting", "total": "waiting"}
    assert statuses(tmp_path) == {"count-left": "ran", **waiting}


def test_a_stage_whose_inputs_are_not_cached_does_not_run_alone(
    pipeline: Path, tmp_path: Path
) -> None:
    execute(pipeline, tmp_path, [], jobs=2, only="count-left")

    with pytest.raises(UserError, match="--only: .* not in the cache: count-right must run"):
        execute(pipeline, tmp_path, [], jobs=2, only="total")
    with pytest.raises(UserError, match="count-right must run"):
        plan(pipeline, tmp_path, only="total")
    with pytest.raises(UserError, match="--only totl: no such stage.* did you mean total?"):
        plan(pipeline, tmp_path, only="totl")
