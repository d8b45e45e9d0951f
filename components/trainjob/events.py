"""What the launcher tells of a TrainJob: its states, each once, and why it has failed."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from components.shared.stage import cli
from components.shared.stage.errors import UserError
from components.trainjob.job import TrainJob, conditions
from components.trainjob.logs import NodeLogs
from components.trainjob.pods import End, NodePod

logger = logging.getLogger(__name__)


class JobError(RuntimeError):
    """The nodes have failed, or were ended."""


class Told:
    """What was told of a TrainJob, for what is new to be told once."""

    def __init__(self, job: TrainJob) -> None:
        """Begin with nothing."""
        self._name, self._num_nodes = job.name, job.num_nodes
        self._told: dict[object, object] = {}
        self._ends: dict[int, End] = {}

    def conditions(self, job: Mapping[str, Any]) -> None:
        """Tell of conditions that have changed."""
        for each in conditions(job):
            kind, message = each["type"], each.get("message") or each.get("reason", "")
            negation = "" if each["status"] == "True" else "not "
            self._tell(kind, each["status"], f"{negation}{kind.lower()}: {message}")

    def pods(self, pods: Sequence[NodePod]) -> None:
        """Tell of nodes that run, that cannot, and that have ended before their time."""
        for pod in pods:
            if pod.waiting:
                reason = pod.waiting.partition(":")[0]
                self._tell((pod.uid, reason), True, f"node {pod.node} waits: {pod.waiting}")
            if pod.end is not None:
                known = self._ends.get(pod.node, pod.end)
                self._ends[pod.node] = max(known, pod.end, key=_weight)
                if pod.end.code:
                    self._tell(pod.uid, pod.end, f"node {pod.node} has ended with {pod.end}")
        running = [pod.node for pod in pods if pod.running]
        self._tell("running", len(running), f"{len(running)} of {self._num_nodes} nodes run")
        for node in running:  # then its earlier end, such as a preemption, is no cause of failure
            if node in self._ends and not _is_user_error(self._ends[node]):
                del self._ends[node]

    def warnings(self, texts: Iterable[str]) -> None:
        """Tell of what keeps pods from being made."""
        for text in texts:
            self._tell(text, True, text, logging.WARNING)

    @property
    def is_user_error(self) -> bool:
        """Whether a node has found what a user can put right: starting it again is no use."""
        return any(map(_is_user_error, self._ends.values()))

    def failure(self, reason: str | None, logs: NodeLogs) -> Exception:
        """Return what to raise when nodes have failed.

        Args:
            reason: Why the TrainJob has, if it has.
            logs: Of its nodes.
        """
        text = f"TrainJob {self._name} failed ({reason or 'a node cannot go on'})"
        # The first to end is the cause; the others have missed it.
        failures = [(node, end) for node, end in self._ends.items() if end.code]
        failures.sort(key=lambda each: each[1].time)
        for node, end in failures:
            text += f"\n  node {node} ended with {end}"
        if failures:
            lines = logs.end(failures[0][0])
            text += "".join(f"\n    {line}" for line in ["its log's end:", *lines])
        return UserError(text) if self.is_user_error else JobError(text)

    def _tell(self, what: object, state: object, text: str, level: int = logging.INFO) -> None:
        if self._told.get(what) != state:
            self._told[what] = state
            logger.log(level, "TrainJob %s: %s", self._name, text)


def _is_user_error(end: End) -> bool:
    return end.code == cli.USER_ERROR


def _weight(end: End) -> tuple[bool, datetime]:
    """Return what makes one of a node's ends count: that of its last pod, or a user's error."""
    return _is_user_error(end), end.time
