import time
from pathlib import Path

import pytest

from components.shared.reports.titles import Name
from pipelines.run import remaining
from pipelines.run.record import RunRecord, TaskRecord
from pipelines.run.remaining import Earlier, Left, Remaining

TRAINING = {"backbone": "resnet18", "backbone_args": "{}", "epoch_images": 0, "image_size": 32}


def task(name: str, stage: str = "tagging", *dependencies: str, **values: object) -> TaskRecord:
    fields = {"step": stage, "candidate": Name(), "parameters": {}}
    return TaskRecord(name=name, stage=stage, dependencies=[*dependencies], **{**fields, **values})


def training(name: str, *dependencies: str, epochs: int, **values: object) -> TaskRecord:
    parameters = TRAINING | {"epochs": epochs}
    return task(name, "finetune", *dependencies, parameters=parameters, **values)


def run(*tasks: TaskRecord) -> RunRecord:
    return RunRecord(pipeline="p", recipe="r", parameters={}, started=time.time(), tasks=[*tasks])


def test_without_any_earlier_run_nothing_is_known() -> None:
    left = Remaining([], jobs=2)(run(task("a"), training("b", "a", epochs=3)))

    assert str(left) == "unknown"


def test_what_is_known_of_a_part_is_a_lower_bound() -> None:
    left = Remaining([Earlier("a", "tagging", {}, 90.0)], jobs=1)(
        run(task("a"), task("b", "weighting", "a"))
    )

    assert left == Left(90.0, known=False)
    assert str(left) == "more than 1 min 30 s"


def test_tasks_take_as_long_as_they_did_and_run_side_by_side() -> None:
    earlier = [Earlier(name, name, {}, seconds) for name, seconds in (("a", 10.0), ("b", 4.0))]
    tasks = [task("a", "a"), task("b", "b"), task("c", "b", "b"), task("d", "a", "a", "c")]

    assert Remaining(earlier, jobs=2)(run(*tasks)) == Left(20.0, known=True)
    assert Remaining(earlier, jobs=1)(run(*tasks)) == Left(28.0, known=True)
    assert Remaining(earlier, jobs=2)(run(*tasks), {"b", "c"}) == Left(8.0, known=True)


def test_a_training_takes_time_in_proportion_to_epochs_and_pixels() -> None:
    before = Earlier("other", "wt_pretrain", TRAINING | {"epochs": 10}, 100.0)
    larger = training("c", "b", epochs=1)
    larger.parameters["image_size"] = 64
    others = training("d", epochs=1)
    others.parameters["backbone"] = "resnet50"

    assert Remaining([before], jobs=1)(run(training("b", epochs=3))) == Left(30.0, known=True)
    assert Remaining([before], jobs=1)(run(larger)) == Left(40.0, known=True)
    assert Remaining([before], jobs=1)(run(others)) == Left(0.0, known=False)


def test_this_run_tells_the_pace_too() -> None:
    ran = training("a", epochs=2, status="ran", seconds=8.0)

    assert Remaining([], jobs=1)(run(ran, training("b", epochs=3))) == Left(12.0, known=True)


def test_a_running_training_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, now = tmp_path / "a.log", 1_000.0
    for name in ("time", "monotonic"):
        monkeypatch.setattr(time, name, lambda: now)
    running = training("a", epochs=4, status="running", started=900.0, log=str(log))
    record, left = run(running, training("b", epochs=2)), Remaining([], jobs=1)
    log.write_text("12:00:00 INFO epoch 1 of 4: 50 of 100 steps, 10/s, 5 s left\n")

    assert not left(record).known  # one look tells no pace: it may have resumed
    now = 1_010.0
    log.write_text("12:00:10 INFO epoch 2 of 4: 50 of 100 steps, 10/s, 5 s left\nvalidating\n")

    # A quarter in ten seconds: 25 s from 3/8 to its end; 110 + 25 s in all, b half of that.
    assert left(record) == Left(25.0 + 67.5, known=True)


def test_a_clock_that_is_set_back_takes_no_time_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, now = tmp_path / "a.log", 10.0
    monkeypatch.setattr(time, "time", lambda: 900.0)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    running = training("a", epochs=2, status="running", started=1_000.0, log=str(log))
    left, known = Remaining([], jobs=1), Remaining([Earlier("b", "tagging", {}, 30.0)], jobs=1)
    log.write_text("epoch 1 of 2: 0 of 100 steps, 10/s, 5 s left\n")
    left(run(running))
    now = 20.0
    log.write_text("epoch 1 of 2: 50 of 100 steps, 10/s, 5 s left\n")

    assert left(run(running)) == Left(30.0, known=True)
    assert known(run(task("b", status="running", started=1_000.0))) == Left(30.0, known=True)


def test_a_task_that_takes_longer_than_before_is_not_known_any_more() -> None:
    running = task("a", status="running", started=time.time() - 60)

    left = Remaining([Earlier("a", "tagging", {}, 30.0)], jobs=1)(run(running))

    assert str(left) == "unknown"


@pytest.mark.parametrize(
    ("log", "share"),
    [
        ("epoch 1 of 2: 1,000 of 2,000 steps, 9/s, 1 s left", 0.25),
        ("epoch 1 of 2: images 64, seconds 3", 0.5),
        ("epoch 1 of 2: images 64, seconds 3\nepoch 2 of 2: 3 of 4 steps, 1/s", 0.875),
        ("Tagging: 3 of 4 row groups, 1/s, 1 s left", None),
        ("", None),
    ],
)
def test_what_a_log_says_of_epochs_is_read(tmp_path: Path, log: str, share: float | None) -> None:
    (tmp_path / "log").write_text(log)

    assert remaining.done(str(tmp_path / "log")) == share
    assert remaining.done(str(tmp_path / "none")) is None
