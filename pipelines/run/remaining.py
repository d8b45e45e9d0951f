"""How long a run will still take, as far as that can be known.

A training takes time in proportion to its work, epochs times pixels, at the pace of the trainings
of the same network that this run or an earlier one has done; other stages take as long as they
did. A training that runs says how far it is. What nothing is known of counts as nothing, and the
whole is then called more than that.
"""

import re
import time
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from pipelines.run.record import RunRecord, TaskRecord, duration, since

# What the training loop logs: see components/shared/stage/progress.py.
_EPOCH = re.compile(r"\bepoch (\d+) of (\d+): (?:([\d,]+) of ([\d,]+) steps)?")
_END_OF_LOG = 4096
_ENOUGH = 0.01  # of a training, between two looks that tell its pace


class Earlier(NamedTuple):
    """A task of an earlier run, with the same name or not."""

    name: str
    stage: str
    parameters: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Left:
    """The time that a run still takes.

    Attributes:
        seconds: Of all that is known.
        known: Whether that is all.
    """

    seconds: float
    known: bool

    def __str__(self) -> str:
        """Return it in words."""
        if not self.known and self.seconds < 1:
            return "unknown"
        return f"{'about' if self.known else 'more than'} {duration(self.seconds)}"


class Remaining:
    """Estimates the rest of a run; remembers how far its running trainings were."""

    def __init__(self, earlier: Iterable[Earlier], jobs: int) -> None:
        """Know what earlier runs took; so many tasks run in parallel."""
        self._earlier, self._jobs = list(earlier), jobs
        self._first: dict[str, tuple[float, float]] = {}

    def __call__(self, record: RunRecord, only: Collection[str] | None = None) -> Left:
        """Return what is left of a run, or of some of its tasks."""
        tasks = [task for task in record.tasks if only is None or task.name in only]
        ran = [
            Earlier(task.name, task.stage, task.parameters, task.seconds)
            for task in record.tasks
            if task.status in ("ran", "cached")
        ]
        running = [task for task in tasks if task.status == "running"]
        said = {task.name: whole for task in running if (whole := self._by_its_log(task))}
        of_logs = [
            Earlier(task.name, task.stage, task.parameters, said[task.name])
            for task in running
            if task.name in said
        ]
        paces = _Paces([*self._earlier, *ran, *of_logs])
        seconds: dict[str, float | None] = {
            task.name: paces.seconds(task)
            for task in tasks
            if task.status in ("waiting", "pending", "running")
        }
        for task in running:
            whole = said.get(task.name) or seconds[task.name]
            if whole is not None:
                rest = whole - since(task.started)
                seconds[task.name] = rest if rest > 0 else None  # it takes longer than expected
        return Left(self._scheduled(tasks, seconds), None not in seconds.values())

    def _by_its_log(self, task: TaskRecord) -> float | None:
        """Return the seconds that a running training takes in all, once two looks differ."""
        now, share = time.monotonic(), done(task.log)
        if share is None:
            return None
        before, first = self._first.setdefault(task.name, (now, share))
        if share - first < _ENOUGH:
            return None
        return since(task.started) + (1 - share) * (now - before) / (share - first)

    def _scheduled(self, tasks: Iterable[TaskRecord], seconds: Mapping[str, float | None]) -> float:
        """Return when the last task ends, if each starts as soon as there is room for it."""
        ends: dict[str, float] = {}
        busy: list[float] = []  # when each of the places is free again
        for task in sorted(tasks, key=lambda task: task.status != "running"):
            if task.name in seconds:
                ready = max((ends.get(name, 0.0) for name in task.dependencies), default=0.0)
                if len(busy) >= self._jobs:
                    ready = max(ready, busy.pop(busy.index(min(busy))))
                ends[task.name] = ready + (seconds[task.name] or 0.0)
                busy.append(ends[task.name])
        return max(ends.values(), default=0.0)


class _Paces:
    """The seconds per unit of work that tasks have taken, those of the same name before others."""

    def __init__(self, earlier: Iterable[Earlier]) -> None:
        self._found: dict[Hashable, list[float]] = {}
        for each in earlier:
            pace = each.seconds / _work(each.parameters)
            self._found[each.name, _kind(each.stage, each.parameters)] = [pace]  # the latest
            self._found.setdefault(_kind(each.stage, each.parameters), []).append(pace)

    def seconds(self, task: TaskRecord) -> float | None:
        kind = _kind(task.stage, task.parameters)
        for found in ((task.name, kind), kind):
            if found in self._found:
                return fmean(self._found[found]) * _work(task.parameters)
        return None


def _kind(stage: str, parameters: Mapping[str, Any]) -> Hashable:
    """Return what tasks have in common whose pace is the same: trainings, their network."""
    if "epochs" not in parameters:
        return stage
    names = ("backbone", "backbone_args", "epoch_images")
    return ("training", *(str(parameters.get(name)) for name in names))


def _work(parameters: Mapping[str, Any]) -> float:
    """Return how much there is to do, for a training in epochs times pixels."""
    if "epochs" not in parameters:
        return 1.0
    return float(parameters["epochs"]) * float(parameters.get("image_size", 1)) ** 2


def done(log: str) -> float | None:
    """Return which share of its epochs a training has done, by its log; None if that has none."""
    found = None
    for line in end_of(log):
        found = _EPOCH.search(line) or found
    if found is None:
        return None
    epoch, epochs = int(found[1]), int(found[2])
    if found[3] is None:  # the line at an epoch's end
        return epoch / epochs
    steps, total = (int(number.replace(",", "")) for number in found.group(3, 4))
    return (epoch - 1 + steps / max(1, total)) / epochs


def end_of(log: str) -> Iterator[str]:
    """Yield the last lines of a log."""
    path = Path(log)
    if log and path.is_file():
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _END_OF_LOG))
            yield from file.read().decode(errors="replace").splitlines()
