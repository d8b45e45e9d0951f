"""Following a run on a cluster: from KFP's API to a record, like a local run's."""

import datetime
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.cluster.kfp_api import Cluster
from pipelines.cluster.kubernetes_api import Namespace, UnknownError
from pipelines.cluster.pods import Pods
from pipelines.run.graph import Graph, Task
from pipelines.run.record import RunRecord, Status, TaskRecord

logger = logging.getLogger(__name__)
_SECONDS_BETWEEN_LOOKS = 5.0
_OVER = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"})
# A pod takes longer than this to start; a task whose pod is skipped ends at once.
_SECONDS_OF_A_CACHED_TASK = 2.0
# KFP hears from Argo within this time: what ends so long before a termination did not end by it.
_SECONDS_TO_REPORT = 10.0


def follow(
    cluster: Cluster,
    run: str,
    pipeline: Graph,
    logs: Path,
    namespace: Namespace,
    show: Callable[[RunRecord], None],
) -> tuple[str, RunRecord]:
    """Follow a run to its end; return how it ended, such as `cancelled`, and its record.

    Args:
        cluster: Where it runs.
        run: Its id.
        pipeline: Its pipeline.
        logs: A folder for the logs of failed tasks.
        namespace: Where the pods are, which say more than KFP if they can be read.
        show: Called with every update.
    """
    pods = Pods(namespace, run)
    failed: dict[str, TaskRecord] = {}
    while True:
        answer = cluster.run(run)
        run_record = record(pipeline, answer)
        _explain_waiting(run_record, pipeline, pods, len(_pending(answer)))
        _explain_failures(run_record, pods, logs / run, failed)
        show(run_record)
        if answer.state in _OVER:
            cancelled = _Course.of(answer).cancelled < math.inf
            return "cancelled" if cancelled else answer.state.lower(), run_record
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def record(pipeline: Graph, run: Any) -> RunRecord:
    """Return a run's record so far.

    KFP 2's API lists the nodes of Argo's graph by name: for a task `a` these are `a-driver`, which
    resolves inputs and asks the cache, and `a`, which waits for a pod unless that was a hit. The
    pods' nodes are all called `executor`, and do not say whose they are.
    """
    course = _Course.of(run)
    # A retried node may be listed twice.
    nodes = {
        node.display_name: node
        for node in sorted(_nodes(run), key=_started)
        if node.state != "FAILED" or _ended(node) > course.retried
    }
    tasks = [_task(task, nodes, course) for task in pipeline.tasks]
    _mark_pending(tasks, pipeline, nodes, _pending(run))
    return RunRecord(
        pipeline=pipeline.name,
        recipe="",
        parameters=dict(pipeline.form),
        started=run.created_at.timestamp() if run.created_at else time.time(),
        tasks=tasks,
    )


@dataclass(frozen=True, slots=True)
class _Course:
    """The turns that a run has taken, in seconds since the epoch.

    Attributes:
        over: Whether it has ended.
        retried: When it was last retried; 0 if never.
        cancelled: When it was terminated since; infinity if it was not. Argo ends it as failed.
    """

    over: bool
    retried: float
    cancelled: float

    @classmethod
    def of(cls, run: Any) -> "_Course":
        retried, cancelled, before = 0.0, math.inf, ""
        for turn in run.state_history or []:
            if turn.state in ("CANCELING", "CANCELED"):
                cancelled = min(cancelled, turn.update_time.timestamp())
            elif before in _OVER and turn.state not in _OVER:
                retried, cancelled = turn.update_time.timestamp(), math.inf
            before = turn.state
        return cls(run.state in _OVER, retried, cancelled)


def _task(task: Task, nodes: Mapping[str, Any], course: _Course) -> TaskRecord:
    task_record = TaskRecord.of(task)
    node, driver = _node(nodes, task), _node(nodes, task, "-driver")
    task_record.status = _status(node, driver, course)
    latest = node or driver
    if latest is not None and task_record.status != "waiting":
        task_record.started = _started(latest).timestamp()
    if latest is not None and task_record.status in ("ran", "failed", "cancelled"):
        task_record.seconds = _seconds(latest)
        task_record.ended = _ended(latest)
    return task_record


def _status(node: Any, driver: Any, course: _Course) -> Status:
    known = [each for each in (node, driver) if each is not None]
    states = {each.state for each in known}
    ends = [_ended(each) for each in known if each.state == "FAILED"]
    if ends and max(ends) < course.cancelled - _SECONDS_TO_REPORT:
        return "failed"
    if ends or "CANCELED" in states:
        return "cancelled"
    if node is not None and node.state == "SUCCEEDED":
        return "cached" if _seconds(node) <= _SECONDS_OF_A_CACHED_TASK else "ran"
    if course.over or "SKIPPED" in states:
        return "skipped" if course.cancelled == math.inf else "cancelled"
    return "running" if states & {"RUNNING", "PENDING", "SUCCEEDED"} else "waiting"


def _mark_pending(
    tasks: Sequence[TaskRecord], pipeline: Graph, nodes: Mapping[str, Any], pending: Sequence[str]
) -> None:
    """Mark the tasks of which a pod is known to be pending; which of several may not be known."""
    executing = []
    for task, task_record in zip(pipeline.tasks, tasks, strict=True):
        drivers = {f"{name}-driver" for name in _names(task)}
        if task_record.status in ("waiting", "running") and not drivers.isdisjoint(pending):
            task_record.status = "pending"
        elif task_record.status == "running" and _node(nodes, task) is not None:
            executing.append(task_record)
    if len(executing) == sum(name == "executor" for name in pending):
        for task_record in executing:
            task_record.status = "pending"


def _node(nodes: Mapping[str, Any], task: Task, end: str = "") -> Any:
    return nodes.get(f"{task.name}{end}") or nodes.get(f"{task.label}{end}")


def _nodes(run: Any) -> list[Any]:
    return list(run.run_details.task_details or []) if run.run_details else []


def _pending(run: Any) -> list[str]:
    """Return the names of nodes whose pods have not started, without the numbers of tries."""
    return [node.display_name.partition("(")[0] for node in _nodes(run) if node.state == "PENDING"]


def _names(task: Task) -> Iterator[str]:
    """Yield the names of nodes that a task may be waiting for."""
    yield from (task.name, task.label)
    if not task.dependencies:  # the whole pipeline's driver comes before the first tasks
        yield "root"


def _started(node: Any) -> datetime.datetime:
    earliest = datetime.datetime.fromtimestamp(0, datetime.UTC)
    started: datetime.datetime | None = node.start_time
    return max(started, earliest) if started is not None else earliest


def _seconds(node: Any) -> float:
    end: datetime.datetime | None = node.end_time  # in the year 1 while it runs
    return max(0.0, (end - _started(node)).total_seconds()) if end is not None else 0.0


def _ended(node: Any) -> float:
    return _started(node).timestamp() + _seconds(node)


def _explain_waiting(run: RunRecord, pipeline: Graph, pods: Pods, number: int) -> None:
    """Mark the tasks whose pods wait, and say for what; `number` is how many pods do."""
    waiting = pods.waiting(number) if number else {}
    for task, task_record in zip(pipeline.tasks, run.tasks, strict=True):
        reasons = [waiting[name] for name in _names(task) if name in waiting]
        if reasons and task_record.status in ("waiting", "running", "pending"):
            task_record.status, task_record.reason = "pending", reasons[0]


def _explain_failures(
    run: RunRecord, pods: Pods, folder: Path, known: dict[str, TaskRecord]
) -> None:
    """Say why tasks failed and where their logs are; `known` are those of earlier looks."""
    failed = [task for task in run.tasks if task.status == "failed"]
    new = [task for task in failed if task.name not in known]
    reasons = pods.failures() if new else {}
    for task in new:
        task.reason, task.log = reasons.get(task.name, ""), _log(pods, task.name, folder)
        known[task.name] = task
    for task in failed:
        task.reason, task.log = known[task.name].reason, known[task.name].log


def _log(pods: Pods, task: str, folder: Path) -> str:
    """Return the path of a task's log, fetched into a folder; empty if it cannot be read."""
    try:
        content = pods.log(task)
    except UnknownError as error:
        logger.debug("%s: %s", task, error)
        return ""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{task}.log"
    path.write_text(content)
    return str(path)
