"""What the launcher logs of a TrainJob: its state changes, each once, and why it has failed."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from components.shared.stage.boundary import USER_ERROR
from components.shared.stage.errors import TransientError, UserError
from components.trainjob.job import TrainJob, conditions
from components.trainjob.logs import NodeLogs
from components.trainjob.pods import End, NodePod

logger = logging.getLogger(__name__)


class JobError(TransientError):
    """The nodes have failed, or were stopped."""


class Events:
    """Logs what happens to a TrainJob, each event once."""

    def __init__(self, job: TrainJob) -> None:
        """Begin with nothing logged."""
        self._name, self._num_nodes = job.name, job.num_nodes
        self._logged: dict[object, object] = {}
        self._ends: dict[int, End] = {}

    def conditions(self, job: Mapping[str, Any]) -> None:
        """Log conditions that have changed."""
        for each in conditions(job):
            kind, message = each["type"], each.get("message") or each.get("reason", "")
            negation = "" if each["status"] == "True" else "not "
            self._log(kind, each["status"], f"{negation}{kind.lower()}: {message}")

    def pods(self, pods: Sequence[NodePod]) -> None:
        """Log which nodes run, which cannot start, and which have failed."""
        for pod in pods:
            if pod.waiting:
                reason = pod.waiting.partition(":")[0]
                self._log((pod.uid, reason), True, f"node {pod.node} is waiting: {pod.waiting}")
            if pod.end is not None:
                known = self._ends.get(pod.node, pod.end)
                self._ends[pod.node] = max(known, pod.end, key=_weight)
                if pod.end.code:
                    self._log(pod.uid, pod.end, f"node {pod.node} ended with {pod.end}")
        running = [pod.node for pod in pods if pod.running]
        self._log("running", len(running), f"{len(running)} of {self._num_nodes} nodes running")
        for node in running:  # then its earlier end, such as a preemption, did not fail the job
            if node in self._ends and not _is_user_error(self._ends[node]):
                del self._ends[node]

    def warnings(self, texts: Iterable[str]) -> None:
        """Log what keeps pods from being created."""
        for text in texts:
            self._log(text, True, text, logging.WARNING)

    @property
    def is_user_error(self) -> bool:
        """Whether a node failed with an error for the user to fix: retrying is no use."""
        return any(map(_is_user_error, self._ends.values()))

    def failure(self, reason: str | None, logs: NodeLogs) -> Exception:
        """Return the error to raise when nodes have failed.

        Args:
            reason: Why the TrainJob has failed, if it has.
            logs: The nodes' logs.
        """
        text = f"TrainJob {self._name} failed ({reason or 'a node cannot continue'})"
        # The first to end is the cause; the others failed for lack of it.
        failures = [(node, end) for node, end in self._ends.items() if end.code]
        failures.sort(key=lambda each: each[1].time)
        for node, end in failures:
            text += f"\n  node {node} ended with {end}"
        if failures:
            lines = logs.end(failures[0][0])
            text += "".join(f"\n    {line}" for line in ["the end of its log:", *lines])
        return UserError(text) if self.is_user_error else JobError(text)

    def _log(self, what: object, state: object, text: str, level: int = logging.INFO) -> None:
        if self._logged.get(what) != state:
            self._logged[what] = state
            logger.log(level, "TrainJob %s: %s", self._name, text)


def _is_user_error(end: End) -> bool:
    return end.code == USER_ERROR


def _weight(end: End) -> tuple[bool, datetime]:
    """Return a key that puts a user's error above all other ends of a node, else its last one."""
    return _is_user_error(end), end.time
