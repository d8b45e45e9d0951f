"""What a run did: one entry per task, in `record.json` of the run's folder.

The live table, the results at the end, and the report are all drawn from it.
"""

import dataclasses
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from components.compare.names import Names
from components.shared.reports.titles import Name
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem, formats
from pipelines.steps import PRETRAINING_TITLES

if TYPE_CHECKING:
    from pipelines.run.graph import Task  # imports kfp, which takes a second

Status = Literal["waiting", "pending", "running", "cached", "ran", "failed", "skipped", "cancelled"]
FILE, FORMAT = "record.json", 1


@dataclass(kw_only=True, slots=True)
class TaskRecord:
    """One task of a run.

    Attributes:
        name: The task, such as `finetune-large-resnest101e-wt`.
        stage: The stage that it runs, such as `finetune`.
        step: Its step, such as `finetune_large`; see `pipelines/steps.py`.
        candidate: The candidate that it is for.
        dependencies: The tasks whose outputs it reads.
        parameters: The stage's parameters, as resolved.
        status: `cached` means that an earlier run had made the same outputs already; `pending`,
            on a cluster, that its pod has not started.
        reason: Why it is pending or has failed, if the cluster says so.
        key: The cache key; empty until the dependencies are done.
        outputs: Paths of the outputs by name; empty until they are complete.
        log: The path of the stage's log.
        seconds: How long the stage took, possibly in an earlier run.
        peak_bytes: The peak memory of any of the stage's processes; 0 if unknown.
        started: When it started, in seconds since the epoch; None if it did not run.
        ended: When it ended.
        exit_code: None until it has ended, and on a cluster; negative: the signal that killed it.
    """

    name: str
    stage: str
    step: str
    candidate: Name
    dependencies: list[str]
    parameters: dict[str, Any]
    status: Status = "waiting"
    reason: str = ""
    key: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    log: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None

    @classmethod
    def of(cls, task: "Task") -> "TaskRecord":
        """Return the record of a task that has not started."""
        return cls(
            name=task.name,
            stage=task.stage,
            step=task.step,
            candidate=task.candidate,
            dependencies=list(task.dependencies),
            parameters=dict(task.parameters),
        )


@dataclass(kw_only=True, slots=True)
class RunRecord:
    """One run of a pipeline.

    Attributes:
        pipeline: The pipeline's name.
        recipe: The recipe that it was compiled from.
        parameters: The values of the run's form.
        started: When it started, in seconds since the epoch.
        revision: The commit of the code that ran it; empty if unknown.
        ended: When it ended; None while it runs.
        tasks: The tasks, each after those that it depends on.
    """

    pipeline: str
    recipe: str
    parameters: dict[str, Any]
    started: float
    revision: str = ""
    ended: float | None = None
    tasks: list[TaskRecord] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write the record into a run's folder."""
        with filesystem.complete(folder / FILE) as temporary:
            content = {"format": FORMAT, **dataclasses.asdict(self)}
            temporary.write_text(json.dumps(content, indent=1))


def pretraining_titles(tasks: Iterable[TaskRecord]) -> dict[str, str]:
    """Return the pretrainings' display names, as the comparison of these tasks was told them."""
    names = (task.parameters["names"] for task in tasks if "names" in task.parameters)
    told = (Names.parse(each).pretrainings for each in names)
    return PRETRAINING_TITLES | {name: way.title for ways in told for name, way in ways.items()}


def read(folder: Path) -> RunRecord:
    """Return the record of a run's folder.

    Raises:
        UserError: There is none, or it has another format.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{folder}: not a run's folder ({FILE} is missing)")
    with formats.reading_file(path, FORMAT) as content:
        tasks = [
            formats.fill(TaskRecord, task | {"candidate": _name(task["candidate"])})
            for task in content["tasks"]
        ]
        return formats.fill(RunRecord, content | {"tasks": tasks})


def _name(candidate: Any) -> Name:
    """Return a candidate's name in parts; records without a number have it in one."""
    return Name(candidate) if isinstance(candidate, str) else formats.fill(Name, candidate)


def since(started: float | None) -> float:
    """Return the seconds since a time; 0 if there is none, or the clock was set back beyond it."""
    return max(0.0, time.time() - started) if started else 0.0


def duration(seconds: float) -> str:
    """Return a duration for people to read; between times of two clocks it may be negative."""
    minutes, seconds = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
