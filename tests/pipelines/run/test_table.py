import io
import time
from pathlib import Path

from components.shared.reports.titles import Name
from pipelines.run.record import RunRecord, TaskRecord
from pipelines.run.table import LiveTable


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def task(name: str, **values: object) -> TaskRecord:
    fields = {"stage": "finetune", "step": "finetune", "candidate": Name(), "dependencies": []}
    return TaskRecord(name=name, parameters={}, **{**fields, **values})


def run(*tasks: TaskRecord) -> RunRecord:
    return RunRecord(pipeline="p", recipe="r", parameters={}, started=0.0, tasks=list(tasks))


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
        "> a",
        "+ a    61.5 s  3 MiB",
        "= b     0.0 s  from an earlier run",
    ]


def test_on_a_terminal_running_tasks_are_drawn_anew_with_the_end_of_their_log(
    tmp_path: Path,
) -> None:
    log = tmp_path / "a.log"
    log.write_text("starting\nepoch 3 of 9\n")
    stream = Terminal()
    record = run(
        task("a", status="running", started=time.time() - 5, log=str(log)), task("b"), task("c")
    )
    table = LiveTable(stream)

    table(record)
    record.tasks[0].status = "ran"
    table(record)

    first, second = stream.getvalue().split("\x1b[2F\x1b[J")
    assert first.splitlines() == ["> a       5 s  epoch 3 of 9", "  2 more to come"]
    assert second.splitlines()[0].startswith("+ a ")


def test_on_a_terminal_a_waiting_task_says_why_and_messages_come_above() -> None:
    stream, record = Terminal(), run(task("a", status="pending", started=time.time() - 5))
    table = LiveTable(stream)

    table(record)
    record.tasks[0].reason = "Unschedulable"
    table(record)
    table.say("the API answers again")
    table(record)

    drawn = stream.getvalue().split("\x1b[1F\x1b[J")
    assert drawn == [
        ". a       5 s  pending\n",
        ". a       5 s  pending: Unschedulable\n",
        "the API answers again\n. a       5 s  pending: Unschedulable\n",
    ]


def test_elsewhere_a_reason_to_wait_is_one_line_and_none_is_silent() -> None:
    stream, record = io.StringIO(), run(task("a", status="pending"))
    table = LiveTable(stream)

    table(record)
    record.tasks[0].reason = "Unschedulable"
    table(record)
    table(record)

    assert stream.getvalue() == ". a            pending: Unschedulable\n"


def test_a_failed_task_shows_the_end_of_its_log_and_where_it_is(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"line {i}\n" for i in range(40)))
    stream = io.StringIO()

    LiveTable(stream)(run(task("a", status="failed", exit_code=-9, log=str(log))))

    lines = stream.getvalue().splitlines()
    assert lines[0] == "! a     0.0 s  killed by signal 9; the end of its log:"
    assert lines[1:-1] == [f"    line {i}" for i in range(25, 40)]
    assert lines[-1] == f"    (full log: {log})"
