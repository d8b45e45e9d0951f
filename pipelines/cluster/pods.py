"""What Kubernetes says of a run's pods: why they wait, why they failed, and their logs."""

import datetime
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pipelines.cluster.kubernetes_api import Namespace, UnknownError

logger = logging.getLogger(__name__)
_NODE = "workflows.argoproj.io/node-name"  # the annotation that says what a pod is for
# Argo's names: `toy-x2b.root.total-driver`, `toy-x2b.root.total.executor(0)`. A number in
# parentheses is that of a try; with retries in Argo's own defaults any part may have one.
_TASK = re.compile(r"\.([^.(]+?)(\(\d+\))?(-driver|\.(?P<own>executor))(\(\d+\))?$")
_STARTING = frozenset({"ContainerCreating", "PodInitializing"})  # pods that lack nothing
_RECENT = datetime.timedelta(minutes=5)
_LONGEST = 200


class Pods:
    """The pods of a run, as far as Kubernetes tells: without access to it, there are none."""

    def __init__(self, namespace: Namespace, run: str) -> None:
        """Ask in a namespace about a KFP run."""
        self._namespace, self._run = namespace, run

    def waiting(self, number: int) -> dict[str, str]:
        """Return the tasks whose pods wait, and for what; that may be empty.

        Args:
            number: How many there are, for all that KFP knows.
        """
        pods = [pod for pod in self._pods() if pod.status.phase == "Pending"]
        warnings = _known(self._namespace.warnings) if pods else []
        found = {
            match[1]: _shortened(_lacks(pod, warnings))
            for pod in pods
            if (match := _TASK.search(_node(pod)))
        }
        if len(found) < number:  # there is no pod yet: quota, or a webhook, refuse it
            found = self._messages({"Pending"}) | found
        return found

    def failures(self) -> dict[str, str]:
        """Return why the last pods of tasks failed, by task."""
        return self._messages({"Failed", "Error"})

    def log(self, task: str) -> str:
        """Return the end of the log of a task's last pod.

        Raises:
            UnknownError: It has none, or it cannot be read.
        """
        tries = [
            pod
            for pod in self._pods()
            if (match := _TASK.search(_node(pod))) and match[1] == task and match["own"]
        ]
        if not tries:
            raise UnknownError(f"no pod of {task} is left")
        last = max(tries, key=lambda pod: pod.metadata.creation_timestamp)
        return self._namespace.log(last.metadata.name)

    def _pods(self) -> Sequence[Any]:
        return _known(lambda: self._namespace.pods(self._run))

    def _messages(self, phases: set[str]) -> dict[str, str]:
        """Return Argo's messages on pods in some phases; the last of each task."""
        nodes = _known(lambda: self._namespace.nodes_of_argo(self._run))
        return {
            match[1]: _shortened(node.get("message", "").removeprefix("main: "))
            for node in sorted(nodes, key=lambda node: node.get("startedAt") or "")
            if node.get("phase") in phases and (match := _TASK.search(node["name"]))
            if node.get("type") == "Pod"
        }


def _known(request: Callable[[], Sequence[Any]]) -> Sequence[Any]:
    try:
        return request()
    except UnknownError as error:
        logger.debug("%s", error)
        return []


def _node(pod: Any) -> str:
    return str((pod.metadata.annotations or {}).get(_NODE, ""))


def _lacks(pod: Any, warnings: Iterable[Any]) -> str:
    """Return what a pod that has not started lacks."""
    status = pod.status
    for container in [*(status.init_container_statuses or []), *(status.container_statuses or [])]:
        waiting = container.state.waiting
        if waiting is not None and waiting.reason not in _STARTING:
            return _sentence(waiting)
    unscheduled = [
        condition
        for condition in status.conditions or []
        if condition.type == "PodScheduled" and condition.status == "False"
    ]
    # The scheduler's words are in the condition, but not why a claim has no volume.
    now = datetime.datetime.now(datetime.UTC)
    about = [
        warning
        for warning in warnings
        if warning.reason != "FailedScheduling"
        and f"{warning.involved_object.name}-".startswith(f"{pod.metadata.name}-")
        and (unscheduled or now - _time(warning) < _RECENT)
    ]
    latest = [max(about, key=_time)] if about else unscheduled
    return _sentence(latest[0]) if latest else ""


def _time(event: Any) -> datetime.datetime:
    time: datetime.datetime = (
        event.last_timestamp or event.event_time or event.metadata.creation_timestamp
    )
    return time


def _sentence(said: Any) -> str:
    return ": ".join(filter(None, [said.reason, said.message]))


def _shortened(text: str) -> str:
    """Return a message without what nobody can act on, on one line."""
    text = " ".join(text.split())
    text = re.sub(r"\.?( no new claims to deallocate,)? preemption: .*", "", text)
    text = re.sub(r".*(?=exceeded quota)", "", text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
