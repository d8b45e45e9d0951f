import itertools
import json
import time
from pathlib import Path

import pytest
from kfp import dsl
from toy.pipelines import COUNT, TOTAL, compiled, counting, diamond

from components.shared.stage.errors import UserError
from pipelines.engine.execution import execute
from pipelines.run import record
from pipelines.run.record import RunRecord


def statuses(run: RunRecord) -> dict[str, str]:
    return {task.name: task.status for task in run.tasks}


def total(run: RunRecord) -> list[object]:
    (task,) = (task for task in run.tasks if task.name == "total")
    return list(json.loads(Path(task.outputs["total"]).read_text()))


def test_tasks_get_what_the_tasks_before_them_made(tmp_path: Path) -> None:
    run = execute(compiled(diamond, tmp_path / "p.yaml"), tmp_path, [], jobs=2)

    # left 1 + 2 + 3, right 2 × (0 + 1 + 2), halved
    assert total(run) == ["ab", 6.0]
    assert statuses(run) == {"count-left": "ran", "count-right": "ran", "total": "ran"}


def test_the_form_takes_values_in_their_types(tmp_path: Path) -> None:
    overrides = ["first=10", "size=1", "label=x=y", "factor=1"]

    run = execute(compiled(diamond, tmp_path / "p.yaml"), tmp_path, overrides, jobs=1)

    assert total(run) == ["ax=y", 16.0]
    assert run.parameters == {"first": 10, "size": 1, "label": "x=y", "factor": 1.0}


@pytest.mark.parametrize("word", ["size=many", "size=1.5", "size=true", "factor=", "size"])
def test_a_value_of_the_wrong_type_is_refused(tmp_path: Path, word: str) -> None:
    with pytest.raises(UserError, match=word):
        execute(compiled(diamond, tmp_path / "p.yaml"), tmp_path, [word], jobs=1)


def test_an_unknown_parameter_is_refused_with_the_names_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sise: .*did you mean size?"):
        execute(compiled(diamond, tmp_path / "p.yaml"), tmp_path, ["sise=2"], jobs=1)


def test_a_second_run_takes_everything_from_the_cache(tmp_path: Path) -> None:
    pipeline = compiled(diamond, tmp_path / "p.yaml")
    first = execute(pipeline, tmp_path, [], jobs=2)

    second = execute(pipeline, tmp_path, [], jobs=2)

    assert set(statuses(second).values()) == {"cached"}
    assert total(second) == total(first)
    assert [task.seconds for task in second.tasks] == [task.seconds for task in first.tasks]


def test_a_changed_parameter_runs_its_task_and_what_follows(tmp_path: Path) -> None:
    pipeline = compiled(diamond, tmp_path / "p.yaml")
    execute(pipeline, tmp_path, [], jobs=2)

    run = execute(pipeline, tmp_path, ["size=4"], jobs=2)

    assert statuses(run) == {"count-left": "ran", "count-right": "cached", "total": "ran"}


def test_an_upstream_task_that_makes_the_same_again_reruns_nothing(tmp_path: Path) -> None:
    def with_image(image: str) -> Path:
        @dsl.pipeline(name="toy")
        def pipeline() -> None:
            part = counting("count", image=image).outputs["numbers"]
            TOTAL.task("total", image="toy:1", rerun="", parts=[part], factor=1.0)

        return compiled(pipeline.pipeline_func, tmp_path / "p.yaml")

    execute(with_image("toy:1"), tmp_path, [], jobs=1)

    run = execute(with_image("localhost/toy:2"), tmp_path, [], jobs=1)

    assert statuses(run) == {"count": "ran", "total": "cached"}


def test_a_task_whose_output_was_emptied_runs_again(tmp_path: Path) -> None:
    pipeline = compiled(diamond, tmp_path / "p.yaml")
    first = execute(pipeline, tmp_path, [], jobs=2)
    (left,) = (task for task in first.tasks if task.name == "count-left")
    Path(left.outputs["numbers"], "numbers.json").unlink()

    run = execute(pipeline, tmp_path, [], jobs=2)

    assert statuses(run) == {"count-left": "ran", "count-right": "cached", "total": "cached"}


def test_what_another_version_left_in_the_folder_is_made_again(tmp_path: Path) -> None:
    pipeline = compiled(diamond, tmp_path / "p.yaml")
    first = execute(pipeline, tmp_path, [], jobs=2)
    (left,) = (task for task in first.tasks if task.name == "count-left")
    entry = Path(left.outputs["numbers"]).parent / "entry.json"
    for path in (entry, tmp_path / "record.json"):
        path.write_text(path.read_text().replace('"format": 1', '"format": 2'))

    run = execute(pipeline, tmp_path, [], jobs=2)

    assert statuses(run) == {"count-left": "ran", "count-right": "cached", "total": "cached"}
    assert record.read(tmp_path) == run


def test_a_task_that_runs_again_finds_nothing_of_an_earlier_attempt(tmp_path: Path) -> None:
    pipeline = compiled(diamond, tmp_path / "p.yaml")
    first = execute(pipeline, tmp_path, [], jobs=2)
    folder = Path(first.tasks[0].outputs["numbers"]).parent
    (folder / "metrics").unlink()
    (folder / "numbers" / "half.json").touch()

    execute(pipeline, tmp_path, [], jobs=2)

    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"numbers/numbers.json", "metrics", "executor_output.json", "entry.json"}


def test_a_task_with_caching_off_always_runs(tmp_path: Path) -> None:
    def pipeline() -> None:
        counting("count").set_caching_options(enable_caching=False)

    path = compiled(pipeline, tmp_path / "p.yaml")
    execute(path, tmp_path, [], jobs=1)

    assert statuses(execute(path, tmp_path, [], jobs=1)) == {"count": "ran"}


def test_a_failure_skips_what_follows_and_nothing_else(tmp_path: Path) -> None:
    run = execute(compiled(diamond, tmp_path / "p.yaml"), tmp_path, ["size=-1"], jobs=1)

    assert statuses(run) == {"count-left": "failed", "count-right": "ran", "total": "skipped"}
    failed = run.tasks[0]
    assert failed.exit_code == 2
    assert "count: size=-1: it must not be negative" in Path(failed.log).read_text()


def test_a_failure_shows_the_end_of_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(compiled(diamond, tmp_path / "p.yaml"), tmp_path, ["size=-1"], jobs=1)

    assert "count: size=-1: it must not be negative" in capsys.readouterr().err


def test_eleven_models_arrive_in_the_order_given(tmp_path: Path) -> None:
    def pipeline() -> None:
        parts = [counting(f"count-{i}", label=chr(97 + i)).outputs["numbers"] for i in range(11)]
        TOTAL.task("total", image="toy:1", rerun="", parts=parts, factor=1.0)

    run = execute(compiled(pipeline, tmp_path / "p.yaml"), tmp_path, [], jobs=2)

    assert total(run) == ["abcdefghijk", 33.0]


def test_the_record_tells_what_was_done(tmp_path: Path) -> None:
    run = execute(compiled(diamond, tmp_path / "p.yaml"), tmp_path, [], jobs=2)

    read = record.read(tmp_path)

    assert read == run
    last = read.tasks[-1]
    assert (last.name, last.stage, last.dependencies) == (
        "total",
        "total",
        ["count-left", "count-right"],
    )
    assert last.parameters == {"factor": 0.5, "rerun": ""}
    assert json.loads(Path(last.outputs["metrics"]).read_text()) == {"sum": 6.0}
    assert last.peak_bytes > 1 << 20
    assert last.ended is not None and last.started is not None
    assert last.seconds == last.ended - last.started


def _condition(flag: str = "x") -> None:
    with dsl.If(flag == "x"):
        counting("count")


def _loop() -> None:
    with dsl.ParallelFor([1, 2]) as item:
        counting("count", start=item)


def _exit_handler() -> None:
    with dsl.ExitHandler(counting("last")):
        counting("count")


def _importer() -> None:
    bonus = dsl.importer(artifact_uri="s3://b/k", artifact_class=dsl.Model).output
    TOTAL.task("total", image="toy:1", rerun="", parts=[bonus], factor=1.0)


def _job_name() -> None:
    counting("count", label=f"run {dsl.PIPELINE_JOB_NAME_PLACEHOLDER}")


def _environment() -> None:
    counting("count").set_env_variable("A", "b")


@pytest.mark.parametrize(
    ("pipeline", "named"),
    [
        (_condition, "triggerPolicy"),
        (_loop, "parameterIterator"),
        (_exit_handler, "dag"),
        (_importer, "importer"),
        (_job_name, "pipeline_job_name"),
        (_environment, "env"),
    ],
)
def test_what_is_not_static_is_refused_by_name(tmp_path: Path, pipeline, named: str) -> None:
    with pytest.raises(UserError, match=named):
        execute(compiled(pipeline, tmp_path / "p.yaml"), tmp_path, [], jobs=1)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[1", b"a: 1", b"5\n---\n6", b"pipelineInfo: 5", b"{}", b"&a [*a]"],
)
def test_what_is_no_compiled_pipeline_is_refused_in_a_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(content)

    with pytest.raises(UserError, match=f"^{path}: damaged .*: compile it again$"):
        execute(path, tmp_path, [], jobs=1)


def test_a_clock_that_is_set_back_makes_no_time_negative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(2e9, -3_600)
    monkeypatch.setattr(time, "time", lambda: next(clock))

    run = execute(compiled(diamond, tmp_path / "p.yaml"), tmp_path, [], jobs=2)

    assert set(statuses(run).values()) == {"ran"}
    for task in run.tasks:
        assert task.started is not None and task.ended is not None
        assert task.seconds == task.ended - task.started > 0


def test_a_component_takes_every_parameter() -> None:
    with pytest.raises(TypeError, match="size is missing"):
        COUNT.task("count", image="toy:1", rerun="", start=0, label="a", twice=False)
