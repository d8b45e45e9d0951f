"""What a run prints while it runs."""

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from pipelines.run import terminal
from pipelines.run.record import RunRecord, TaskRecord, duration, since
from pipelines.run.remaining import Left, end_of

_MARKS = {
    "pending": ".",
    "running": ">",
    "cached": "=",
    "ran": "+",
    "failed": "!",
    "skipped": "-",
    "cancelled": "x",
}
_LEGEND = "> running  + done  = from an earlier run  ! failed  - not run"
_LINES_OF_A_FAILED_LOG = 15
_NO_TIME = " " * len(f"{0:7.1f} s")
_COLUMNS_BESIDE_NAMES = 28
_BAR = 20  # columns
_SECONDS_BETWEEN_SUMMARIES = 60.0
_TIME_AND_LEVEL = re.compile(r"\d\d:\d\d:\d\d [A-Z]+ ")


class LiveTable:
    """The tasks of a run: a line for each that is done, and below, those that are running.

    On a terminal the lines of running tasks are redrawn on each call, with the last line of their
    log, and below them the progress of the whole run. Elsewhere there is one line when a task
    starts, one when it is done, one for each reason that keeps it from starting, and now and then
    the progress.
    """

    def __init__(
        self,
        stream: TextIO,
        left: Callable[[RunRecord], Left] | None = None,
        only: Collection[str] = (),
    ) -> None:
        """Write to a stream.

        Args:
            stream: The stream.
            left: Estimates how long the run still takes.
            only: The tasks to show; if there are none, all.
        """
        self._stream, self._left, self._only = stream, left, only
        self._terminal = stream.isatty()
        self._shown: set[tuple[str, str, str]] = set()
        self._unsaid = [_LEGEND]
        self._drawn = 0
        self._summarized = time.monotonic()

    def __call__(self, record: RunRecord) -> None:
        """Print what has changed, and what is running."""
        tasks = [task for task in record.tasks if not self._only or task.name in self._only]
        columns = terminal.columns(self._stream)
        width = max((len(task.name) for task in tasks), default=0)
        width = min(width, max(_COLUMNS_BESIDE_NAMES, columns) - _COLUMNS_BESIDE_NAMES)
        self._erase()
        self._write(self._unsaid)
        self._unsaid = []
        for task in tasks:
            state = (task.name, task.status, task.reason)
            if state not in self._shown and not self._silent(task):
                self._shown.add(state)
                for line in _lines(task, width):
                    self._write(terminal.wrapped(line, columns))
        if self._terminal:
            live = [line[:columns] for line in self._live(record, tasks, width)]
            self._write(live)
            self._drawn = len(live)
        elif time.monotonic() - self._summarized >= _SECONDS_BETWEEN_SUMMARIES:
            self._summarized = time.monotonic()
            self._write(self._summary(record, tasks))
        self._stream.flush()

    def say(self, line: str) -> None:
        """Print a line above the running tasks, which the next call draws again."""
        self._erase()
        self._write(terminal.wrapped(line, terminal.columns(self._stream)))
        self._stream.flush()

    def _write(self, lines: Iterable[str]) -> None:
        self._stream.writelines(f"{line}\n" for line in lines)

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}F\x1b[J")
        self._drawn = 0

    def _silent(self, task: TaskRecord) -> bool:
        match task.status:
            case "waiting":
                return True
            case "running":
                return self._terminal
            case "pending":
                return self._terminal or not task.reason
        return False

    def _live(self, record: RunRecord, tasks: Sequence[TaskRecord], width: int) -> Iterator[str]:
        for task in tasks:
            if task.status in ("running", "pending"):
                seconds = since(task.started)
                said = _last_line(task.log) if task.status == "running" else _note(task).strip()
                name = terminal.shortened(task.name, width)
                yield f"{_MARKS[task.status]} {name:{width}} {seconds:7.0f} s  {said}"
        yield from self._summary(record, tasks)

    def _summary(self, record: RunRecord, tasks: Sequence[TaskRecord]) -> Iterator[str]:
        """Yield how far the whole is, unless it is at its end."""
        left = [task for task in tasks if task.status in ("waiting", "pending", "running")]
        if any(task.status != "waiting" for task in left):
            done = len(tasks) - len(left)
            bar = "#" * (_BAR * done // len(tasks))
            took = duration(since(record.started))
            rest = f", time left: {self._left(record)}" if self._left else ""
            yield f"[{bar:.<{_BAR}}] {done} of {len(tasks)} tasks, {took}{rest}"


def _lines(task: TaskRecord, width: int) -> Iterator[str]:
    name = terminal.shortened(task.name, width)
    yield f"{_MARKS[task.status]} {name:{width}} {_note(task)}".rstrip()
    if task.status == "failed" and task.log:
        log = Path(task.log)
        lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
        yield from (f"    {line}" for line in lines[-_LINES_OF_A_FAILED_LOG:])
        yield f"    (full log: {task.log})"


def _note(task: TaskRecord) -> str:
    seconds = f"{task.seconds:7.1f} s"
    match task.status:
        case "cached":
            return seconds
        case "ran":
            memory = f"  {task.peak_bytes / 2**20:,.0f} MiB" if task.peak_bytes else ""
            return f"{seconds}{memory}"
        case "failed":
            log = "; the end of its log:" if task.log else ""
            return f"{seconds}  {_cause(task)}{log}"
        case "skipped":
            return f"{_NO_TIME}  not run: a task that it needs failed"
        case "cancelled":
            return f"{seconds}  cancelled" if task.seconds else f"{_NO_TIME}  cancelled"
        case "pending":
            return f"{_NO_TIME}  pending" + (f": {task.reason}" if task.reason else "")
    return ""


def _cause(task: TaskRecord) -> str:
    exit_code = task.exit_code
    if exit_code is None:  # Kubernetes knows, not KFP
        return task.reason or "failed"
    if exit_code < 0:
        return f"killed by signal {-exit_code}"
    return f"exit code {exit_code}" if exit_code else "an output is missing"


def _last_line(log: str) -> str:
    *_, last = "", *end_of(log)
    return _TIME_AND_LEVEL.sub("", last, count=1)


def failures(record: RunRecord) -> Iterator[str]:
    """Yield a line for each task that failed on a cluster: why, and where its log is."""
    for task in record.tasks:
        if task.status == "failed":
            yield f"{task.name}: {_cause(task)}; log: {task.log or 'in the UI'}"
