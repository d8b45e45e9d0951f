"""What a run prints while it runs."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pipelines.run.record import RunRecord, TaskRecord

_MARKS = {
    "pending": ".",
    "running": ">",
    "cached": "=",
    "ran": "+",
    "failed": "!",
    "skipped": "-",
    "cancelled": "x",
}
_LINES_OF_A_FAILED_LOG = 15
_NO_TIME = " " * len(f"{0:7.1f} s")


class LiveTable:
    """The tasks of a run: a line for each that is done, and below, those that are running.

    On a terminal the lines of running tasks are redrawn on each call, with the last line of their
    log; elsewhere there is one line when a task starts, one when it is done, and one for each
    reason that keeps it from starting.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write to a stream."""
        self._stream = stream
        self._terminal = stream.isatty()
        self._shown: set[tuple[str, str, str]] = set()
        self._drawn = 0

    def __call__(self, record: RunRecord) -> None:
        """Print what has changed, and what is running."""
        width = max((len(task.name) for task in record.tasks), default=0)
        self._erase()
        for task in record.tasks:
            state = (task.name, task.status, task.reason)
            if state not in self._shown and not self._silent(task):
                self._shown.add(state)
                self._stream.writelines(f"{line}\n" for line in _lines(task, width))
        live = list(self._live(record, width)) if self._terminal else []
        self._stream.writelines(f"{line}\n" for line in live)
        self._drawn = len(live)
        self._stream.flush()

    def say(self, line: str) -> None:
        """Print a line above the running tasks, which the next call draws again."""
        self._erase()
        self._stream.write(f"{line}\n")
        self._stream.flush()

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

    def _live(self, record: RunRecord, width: int) -> Iterator[str]:
        columns = shutil.get_terminal_size().columns
        for task in record.tasks:
            if task.status in ("running", "pending"):
                seconds = time.time() - (task.started or time.time())
                said = _last_line(task.log) if task.status == "running" else _note(task).strip()
                line = f"{_MARKS[task.status]} {task.name:{width}} {seconds:7.0f} s  {said}"
                yield line[: columns - 1]
        waiting = sum(task.status == "waiting" for task in record.tasks)
        if waiting:
            yield f"  {waiting} more to come"


def _lines(task: TaskRecord, width: int) -> Iterator[str]:
    yield f"{_MARKS[task.status]} {task.name:{width}} {_note(task)}".rstrip()
    if task.status == "failed" and task.log:
        log = Path(task.log)
        lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
        yield from (f"    {line}" for line in lines[-_LINES_OF_A_FAILED_LOG:])
        yield f"    (full log: {task.log})"


def _note(task: TaskRecord) -> str:
    seconds = f"{task.seconds:7.1f} s"
    match task.status:
        case "cached":
            return f"{seconds}  from an earlier run"
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
    path = Path(log)
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").splitlines()
    return lines[-1] if lines else ""


def failures(record: RunRecord) -> Iterator[str]:
    """Yield a line for each task that failed on a cluster: why, and where its log is."""
    for task in record.tasks:
        if task.status == "failed":
            yield f"{task.name}: {_cause(task)}; log: {task.log or 'in the UI'}"
