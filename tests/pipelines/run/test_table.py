import io
import time
from pathlib import Path

import pytest

from components.shared.reports.titles import Name
from pipelines.run import table as module
from pipelines.run.record import RunRecord, TaskRecord
from pipelines.run.remaining import Left
from pipelines.run.table import LiveTable

LEGEND = "> running  + done  = from an earlier run  ! failed  - not run"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def task(name: str, **values: object) -> TaskRecord:
    fields = {"stage": "finetune", "step": "finetune", "candidate": Name(), "dependencies": []}
    return TaskRecord(name=name, parameters={}, **{**fields, **values})


def run(*tasks: TaskRecord) -> RunRecord:
    started = time.time()
    return RunRecord(pipeline="p", recipe="r", parameters={}, started=started, tasks=list(tasks))


def test_elsewhere_than_on_a_terminal_each_change_is_one_line() -> None:
    stream, record = io.StringIO(), run(task("a"), task("b"))
    table = LiveTable(stream)

    table(record)
    record.tasks[0].status = "running"
    table(record)
    table(record)
    record.tasks[0].status, record.tasks[0].seconds = "ran", 61.5
    record.tasks[0].peak_bytes = 3 << 20
    record.tasks[1].status = "cached"
    table(record)

    assert stream.getvalue().splitlines() == [
        LEGEND,
        "> a",
        "+ a    61.5 s  3 MiB",
        "= b     0.0 s",
    ]


def test_on_a_terminal_running_tasks_are_drawn_anew_with_the_end_of_their_log(
    tmp_path: Path,
) -> None:
    log = tmp_path / "a.log"
    log.write_text("starting\n12:34:56 INFO epoch 3 of 9\n")
    stream = Terminal()
    record = run(
        task("a", status="running", started=time.time() - 5, log=str(log)), task("b"), task("c")
    )
    table = LiveTable(stream, lambda record: Left(130.0, known=False))

    table(record)
    record.tasks[0].status, record.tasks[1].status = "ran", "running"
    table(record)

    first, second = stream.getvalue().split("\x1b[2F\x1b[J")
    assert first.splitlines() == [
        LEGEND,
        "> a       5 s  epoch 3 of 9",
        "[....................] 0 of 3 tasks, 0 s, time left: more than 2 min 10 s",
    ]
    assert second.splitlines()[0].startswith("+ a ")
    assert second.splitlines()[-1].startswith("[######..............] 1 of 3 tasks, 0 s")


def test_on_a_terminal_a_waiting_task_says_why_and_messages_come_above() -> None:
    stream, record = Terminal(), run(task("a", status="pending", started=time.time() - 5))
    table = LiveTable(stream)

    table(record)
    record.tasks[0].reason = "Unschedulable"
    table(record)
    table.say("the API answers again")
    table(record)

    progress = "[....................] 0 of 1 tasks, 0 s\n"
    drawn = stream.getvalue().split("\x1b[2F\x1b[J")
    assert drawn == [
        f"{LEGEND}\n. a       5 s  pending\n{progress}",
        f". a       5 s  pending: Unschedulable\n{progress}",
        f"the API answers again\n. a       5 s  pending: Unschedulable\n{progress}",
    ]


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_every_line_fits_in_eighty_columns(
    stream: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    log = tmp_path / "a.log"
    log.write_text("word " * 40)
    name = "finetune-again-large-tf-efficientnet-b4-ns-jft-in1k-{}-longer-seed4"
    reason = "0/12 nodes are available: 3 Insufficient cpu, 9 node(s) had untolerated taints."
    states = ("running", "ran", "cached", "failed", "skipped", "cancelled")
    tasks = [task(name.format(state), status=state, log=str(log)) for state in states]
    tasks.append(task(name.format("pending"), status="pending", reason=reason))

    LiveTable(stream, lambda record: Left(99_999.0, known=True))(run(*tasks))

    lines = stream.getvalue().splitlines()
    assert len(lines) > 10
    # Words stay whole: the path of a log can be copied.
    assert max(len(line) for line in lines if str(log) not in line) <= 80
    assert all(any(line[2:].startswith("finetune-again") for line in lines) for _ in states)


def test_elsewhere_the_progress_of_the_run_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream, record = io.StringIO(), run(task("a", status="running"), task("b"))
    table = LiveTable(stream, lambda record: Left(0.0, known=False))
    table(record)
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_SUMMARIES", 0.0)

    table(record)

    told = stream.getvalue().splitlines()
    assert told[-1] == "[....................] 0 of 2 tasks, 0 s, time left: unknown"
    assert len(told) == 3


def test_a_clock_that_is_set_back_makes_no_time_negative() -> None:
    stream, later = Terminal(), time.time() + 3_600
    record = run(task("a", status="running", started=later))
    record.started = later

    LiveTable(stream)(record)

    assert stream.getvalue().splitlines()[1:] == [
        "> a       0 s  ",
        "[....................] 0 of 1 tasks, 0 s",
    ]


def test_of_tasks_that_run_alone_no_others_are_shown() -> None:
    stream, record = io.StringIO(), run(task("a", status="cached"), task("b", status="ran"))

    LiveTable(stream, only={"b"})(record)

    assert [line[:3] for line in stream.getvalue().splitlines()[1:]] == ["+ b"]


def test_elsewhere_a_reason_to_wait_is_one_line_and_none_is_silent() -> None:
    stream, record = io.StringIO(), run(task("a", status="pending"))
    table = LiveTable(stream)

    table(record)
    record.tasks[0].reason = "Unschedulable"
    table(record)
    table(record)

    assert stream.getvalue() == f"{LEGEND}\n. a            pending: Unschedulable\n"


def test_a_failed_task_shows_the_end_of_its_log_and_where_it_is(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"line {i}\n" for i in range(40)))
    stream = io.StringIO()

    LiveTable(stream)(run(task("a", status="failed", exit_code=-9, log=str(log))))

    lines = stream.getvalue().splitlines()[1:]
    assert lines[0] == "! a     0.0 s  killed by signal 9; the end of its log:"
    assert lines[1:16] == [f"    line {i}" for i in range(25, 40)]
    assert " ".join(line.strip() for line in lines[16:]) == f"(full log: {log})"
