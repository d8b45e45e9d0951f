import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy.pipelines import TOTAL, compiled, counting

from components.shared.stage.errors import UserError
from pipelines.cluster import history
from pipelines.cluster.difference import Earlier, Verdict, compare, lines
from pipelines.cluster.submission import prepare
from pipelines.engine import cache
from pipelines.engine.execution import execute
from pipelines.run import graph
from pipelines.run.record import RunRecord
from tests.pipelines.kubeflow import answered

Spec = dict[str, Any]


@pytest.fixture(autouse=True)
def ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a cluster, what a task makes is new each time that it runs, whatever is in it."""
    numbers = itertools.count()
    monkeypatch.setattr(cache, "_digest", lambda path: f"id {next(numbers)}")


def counted(first: int = 1, size: int = 3, factor: float = 0.5, rerun_count: str = "") -> None:
    """Three counts, and two totals of some of them."""
    left = counting("left", start=first, rerun=rerun_count).outputs["numbers"]
    right = counting("right", label="b", size=size).outputs["numbers"]
    counting("alone", label="c")
    TOTAL.task("both", image="toy:1", rerun="", parts=[left, right], factor=factor)
    TOTAL.task("half", image="toy:1", rerun="", parts=[right], factor=1.0)


def more(first: int = 1, size: int = 3, factor: float = 0.5, rerun_count: str = "") -> None:
    counted(first, size, factor, rerun_count)
    counting("another", label="d")


def edited(folder: Path, edit: Callable[[Spec], None]) -> Path:
    """Compile the pipeline as it is after an edit."""
    path = compiled(counted, folder / "edited.yaml")
    spec, *platforms = graph.documents(path)
    edit(spec)
    path.write_text(yaml.safe_dump_all([spec, *platforms]))
    return path


def ran(run: RunRecord) -> set[str]:
    return {task.name for task in run.tasks if task.status != "cached"}


def running(verdicts: list[Verdict]) -> dict[str, str]:
    return {each.task: "; ".join(each.reasons) for each in verdicts if each.reasons}


def new_image(spec: Spec) -> None:
    spec["deploymentSpec"]["executors"]["exec-right"]["container"]["image"] = "localhost/toy:2"


def new_command(spec: Spec) -> None:
    spec["deploymentSpec"]["executors"]["exec-left"]["container"]["command"][2] = "toy.recount"


def new_constant(spec: Spec) -> None:
    arguments = spec["deploymentSpec"]["executors"]["exec-right"]["container"]["args"]
    arguments[arguments.index("--label=b")] = "--label=z"


def new_output(spec: Spec) -> None:
    outputs = spec["components"]["comp-right"]["outputDefinitions"]["artifacts"]
    outputs["metrics"]["artifactType"]["schemaTitle"] = "system.Artifact"


def other_input(spec: Spec) -> None:
    parts = spec["root"]["dag"]["tasks"]["half"]["inputs"]["artifacts"]
    parts["parts_0"]["taskOutputArtifact"]["producerTask"] = "alone"


def no_cache(spec: Spec) -> None:
    spec["root"]["dag"]["tasks"]["left"]["cachingOptions"] = {}


def nothing(spec: Spec) -> None:
    pass


BOTH_OF_RIGHT = {"both": "right runs", "half": "right runs"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edit", "overrides", "expected"),
    [
        (nothing, [], {}),
        (nothing, ["first=2"], {"left": "start 1→2", "both": "left runs"}),
        (nothing, ["size=4"], {"right": "size 3→4", **BOTH_OF_RIGHT}),
        (nothing, ["factor=1"], {"both": "factor 0.5→1"}),
        (nothing, ["rerun_count=2"], {"left": 'rerun ""→"2"', "both": "left runs"}),
        (nothing, ["first=2", "size=4"], {
            "left": "start 1→2",
            "right": "size 3→4",
            "both": "left runs; right runs",
            "half": "right runs",
        }),
        (new_image, [], {"right": "image 1→2", **BOTH_OF_RIGHT}),
        (new_command, [], {
            "left": "command python -m toy.count {{$}}→python -m toy.recount {{$}}",
            "both": "left runs",
        }),
        (new_constant, [], {"right": 'label "b"→"z"', **BOTH_OF_RIGHT}),
        (new_output, [], {
            "right": 'metrics "system.Metrics"→"system.Artifact"',
            **BOTH_OF_RIGHT,
        }),
        (other_input, [], {"half": "parts_0 \"right's numbers\"→\"alone's numbers\""}),
        (no_cache, [], {"left": "caching is off", "both": "left runs"}),
    ],
)  # fmt: skip
def test_diff_names_exactly_the_tasks_that_then_run(
    tmp_path: Path, edit: Callable[[Spec], None], overrides: list[str], expected: dict[str, str]
) -> None:
    execute(compiled(counted, tmp_path / "pipeline.yaml"), tmp_path, [], jobs=2)
    pipeline = edited(tmp_path, edit)

    verdicts = compare(graph.read(pipeline, overrides), [history.from_files(tmp_path, [])])
    then = execute(pipeline, tmp_path, overrides, jobs=2)

    assert running(verdicts) == expected
    assert ran(then) == set(expected)
    assert len(verdicts) == len(then.tasks)


def with_json(spec: Spec) -> None:
    """Give a stage parameters of all types, with whole numbers in all of them."""
    inputs = spec["components"]["comp-right"]["inputDefinitions"]["parameters"]
    values = spec["root"]["dag"]["tasks"]["right"]["inputs"]["parameters"]
    for name, kind, value in (
        ("weights", "LIST", [1.0, 2, [0.0], {"a": 5.0, "b": True, "c": 0.5}]),
        ("options", "STRUCT", {"x": {"y": [3.0, "3.0"]}, "z": False}),
        ("rate", "NUMBER_DOUBLE", 0.0),
        ("many", "NUMBER_INTEGER", 1281167.0),
    ):
        inputs[name] = {"parameterType": kind}
        values[name] = {"runtimeValue": {"constant": value}}


def test_numbers_that_kfp_answers_without_a_point_are_the_same(tmp_path: Path) -> None:
    pipeline = edited(tmp_path, with_json)
    now = graph.read(pipeline, ["factor=1"])
    there = answered(graph.documents(pipeline)), answered({**now.form, "factor": 1.0})

    before = graph.from_documents(*there)

    made = frozenset(task.name for task in before.tasks)
    assert running(compare(now, [Earlier("before", before, made)])) == {}
    assert [task.parameters for task in before.tasks] == [task.parameters for task in now.tasks]


def test_of_changed_numbers_the_change_is_shown(tmp_path: Path) -> None:
    pipeline = edited(tmp_path, with_json)
    before = graph.from_documents(answered(graph.documents(pipeline)), {"factor": 5})
    changed = graph.documents(pipeline)
    values = changed[0]["root"]["dag"]["tasks"]["right"]["inputs"]["parameters"]
    values["weights"]["runtimeValue"]["constant"] = [1.0, 2.5]
    values["options"]["runtimeValue"]["constant"]["z"] = 0.0

    now = graph.from_documents(changed, {"factor": 6})

    made = frozenset(task.name for task in before.tasks)
    assert running(compare(now, [Earlier("before", before, made)])) == {
        "right": 'options {"x": {"y": [3, "3.0"]}, "z": false}→{"x": {"y": [3, "3.0"]}, "z": 0}; '
        'weights [1, 2, [0], {"a": 5, "b": true, "c": 0.5}]→[1, 2.5]',
        "both": "factor 5→6; right runs",
        "half": "right runs",
    }


def test_a_task_that_is_new_runs(tmp_path: Path) -> None:
    execute(compiled(counted, tmp_path / "pipeline.yaml"), tmp_path, [], jobs=2)
    pipeline = compiled(more, tmp_path / "more.yaml")

    verdicts = compare(graph.read(pipeline, []), [history.from_files(tmp_path, [])])
    then = execute(pipeline, tmp_path, [], jobs=2)

    assert running(verdicts) == {"another": f"not in {tmp_path}"}
    assert ran(then) == {"another"}


def test_what_failed_and_what_it_kept_from_running_runs_again(tmp_path: Path) -> None:
    pipeline = compiled(counted, tmp_path / "pipeline.yaml")
    execute(pipeline, tmp_path, ["size=-1"], jobs=2)

    verdicts = compare(graph.read(pipeline, ["size=-1"]), [history.from_files(tmp_path, [])])
    then = execute(pipeline, tmp_path, ["size=-1"], jobs=2)

    assert running(verdicts) == {"right": f"{tmp_path} did not complete it", **BOTH_OF_RIGHT}
    assert ran(then) == {"right", "both", "half"}


def test_what_any_of_several_runs_has_made_is_cached(tmp_path: Path) -> None:
    pipeline = compiled(counted, tmp_path / "pipeline.yaml")
    runs = []
    for overrides in (["first=1"], ["first=2"], ["size=5"]):
        execute(pipeline, tmp_path, overrides, jobs=2)
        runs.insert(0, history.from_files(tmp_path, []))

    verdicts = compare(graph.read(pipeline, ["first=2", "size=5"]), runs)
    then = execute(pipeline, tmp_path, ["first=2", "size=5"], jobs=2)

    # Each of the inputs of the total is known, but not the two together.
    assert set(running(verdicts)) == ran(then) == {"both"}


@pytest.mark.parametrize(
    ("rerun", "uncached", "expected"),
    [
        ("count", set(), {"left", "both"}),  # the form has a field for it
        ("right", {"right"}, {"right", "both", "half"}),
        ("total", {"both", "half"}, {"both", "half"}),
    ],
)
def test_rerun_runs_what_it_names_and_what_follows(
    tmp_path: Path, rerun: str, uncached: set[str], expected: set[str]
) -> None:
    execute(compiled(counted, tmp_path / "pipeline.yaml"), tmp_path, [], jobs=2)
    submission = prepare(compiled(counted, tmp_path / "again.yaml"), [], [rerun])

    verdicts = compare(submission.graph, [history.from_files(tmp_path, [])])
    overrides = [f"rerun_count={submission.graph.form['rerun_count']}"]
    then = execute(submission.file, tmp_path, overrides, jobs=2)

    assert set(running(verdicts)) == ran(then) == expected
    assert submission.uncached == uncached


def test_what_follows_a_run_without_the_cache_is_not_in_it(tmp_path: Path) -> None:
    pipeline = edited(tmp_path, no_cache)
    earlier_run = history.from_files(pipeline, [])

    verdicts = compare(graph.read(compiled(counted, tmp_path / "p.yaml"), []), [earlier_run])

    found = running(verdicts)
    assert set(found) == {"left", "both"}
    assert "without the cache" in found["left"]


def test_lines_count_what_will_run() -> None:
    verdicts = [Verdict("a", ()), Verdict("bc", ("x 1→2", "a runs"))]

    assert list(lines(verdicts)) == [
        "= a   cached",
        "+ bc  runs: x 1→2; a runs",
        "1 of 2 tasks will run",
    ]


def test_long_values_are_cut(tmp_path: Path) -> None:
    pipeline = compiled(counted, tmp_path / "p.yaml")
    before = history.from_files(pipeline, [f"rerun_count={'x' * 200}"])

    found = running(compare(graph.read(pipeline, []), [before]))

    assert found["left"] == f'rerun "{"x" * 58}…→""'


def test_a_recipe_that_ran_on_a_cluster_is_cached(
    name: str, compiled_recipe: Callable[..., Path]
) -> None:
    path = compiled_recipe(name)
    now = graph.read(path, [])

    before = graph.from_documents(answered(graph.documents(path)), answered(now.form))

    made = frozenset(task.name for task in now.tasks)
    assert running(compare(now, [Earlier("before", before, made)])) == {}


def test_another_number_of_gpus_reruns_the_stage_and_is_named_as_in_the_form(
    compiled_recipe: Callable[..., Path],
) -> None:
    pipeline = compiled_recipe("smoke")

    before = history.from_files(pipeline, [])
    found = running(compare(graph.read(pipeline, ["gpus_pseudo_label=4"]), [before]))

    assert 'gpus_pseudo_label "1"→"4"' in found["pseudo-label"]
    assert "ensemble" in found
    assert "finetune-resnet18-wt" not in found


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{tmp_path}: not a run's folder"):
        history.from_files(tmp_path, [])
