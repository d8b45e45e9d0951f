"""Following a run on a cluster: from KFP's API to a record, like a local run's."""

import datetime
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines.cluster.kfp_api import Cluster
from pipelines.cluster.kubernetes_api import Namespace, UnknownError
from pipelines.run.graph import Graph, Task
from pipelines.run.record import RunRecord, Status, TaskRecord

logger = logging.getLogger(__name__)
_SECONDS_BETWEEN_LOOKS = 5.0
_OVER = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"})
# A pod takes longer than this to start; a task whose pod is skipped ends at once.
_SECONDS_OF_A_CACHED_TASK = 2.0


def follow(
    cluster: Cluster,
    run: str,
    pipeline: Graph,
    logs: Path,
    namespace: Namespace,
    show: Callable[[RunRecord], None],
) -> str:
    """Follow a run to its end, and return its state.

    Args:
        cluster: Where it runs.
        run: Its id.
        pipeline: Its pipeline.
        logs: A folder for the logs of failed tasks.
        namespace: Where those are read from, if possible.
        show: Called with every update.
    """
    fetched: dict[str, str] = {}
    while True:
        answer = cluster.run(run)
        run_record = record(pipeline, answer)
        for task in run_record.tasks:
            if task.status == "failed":
                if task.name not in fetched:
                    fetched[task.name] = _log(namespace, run, task.name, logs / run)
                task.log = fetched[task.name]
        show(run_record)
        if answer.state in _OVER:
            return str(answer.state)
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def record(pipeline: Graph, run: Any) -> RunRecord:
    """Return a run's record so far.

    KFP 2's API lists the nodes of Argo's graph by name: for a task `a` these are `a-driver`, which
    resolves inputs and asks the cache, and `a`, which waits for a pod unless that was a hit.
    """
    details = run.run_details.task_details if run.run_details else None
    # A retried node may be listed twice.
    nodes = {node.display_name: node for node in sorted(details or [], key=_started)}
    over = run.state in _OVER
    return RunRecord(
        pipeline=pipeline.name,
        recipe="",
        parameters=dict(pipeline.form),
        started=run.created_at.timestamp() if run.created_at else time.time(),
        tasks=[_task(task, nodes, over) for task in pipeline.tasks],
    )


def _task(task: Task, nodes: Mapping[str, Any], over: bool) -> TaskRecord:
    task_record = TaskRecord.of(task)
    node, driver = nodes.get(task.name), nodes.get(f"{task.name}-driver")
    task_record.status = _status(node, driver, over)
    latest = node or driver
    if latest is not None and task_record.status != "waiting":
        task_record.started = _started(latest).timestamp()
    if latest is not None and task_record.status in ("ran", "failed"):
        task_record.seconds = _seconds(latest)
        task_record.ended = _started(latest).timestamp() + task_record.seconds
    return task_record


def _status(node: Any, driver: Any, over: bool) -> Status:
    states = {each.state for each in (node, driver) if each is not None}
    if states & {"FAILED", "CANCELED"}:
        return "failed"
    if node is not None and node.state == "SUCCEEDED":
        return "cached" if _seconds(node) <= _SECONDS_OF_A_CACHED_TASK else "ran"
    if over or "SKIPPED" in states:
        return "skipped"
    return "running" if states & {"RUNNING", "PENDING", "SUCCEEDED"} else "waiting"


def _started(node: Any) -> datetime.datetime:
    earliest = datetime.datetime.fromtimestamp(0, datetime.UTC)
    started: datetime.datetime | None = node.start_time
    return max(started, earliest) if started is not None else earliest


def _seconds(node: Any) -> float:
    end: datetime.datetime | None = node.end_time
    return max(0.0, (end - _started(node)).total_seconds()) if end is not None else 0.0


def _log(namespace: Namespace, run: str, task: str, folder: Path) -> str:
    """Return the path of a task's log, fetched into a folder; empty if it cannot be read."""
    try:
        content = namespace.log(run, task)
    except UnknownError as error:
        logger.debug("%s: %s", task, error)
        return ""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{task}.log"
    path.write_text(content)
    return str(path)
