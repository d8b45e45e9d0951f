"""Pods, as far as a launcher needs to know them: its own and its nodes'."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from components.trainjob.job import NODE

# What JobSet and Kubernetes write on the pods of a TrainJob.
_JOB_SET = "jobset.sigs.k8s.io/jobset-name"
_REPLICATED_JOB = "jobset.sigs.k8s.io/replicatedjob-name"
_INDEX = "batch.kubernetes.io/job-completion-index"
_STARTING = {"ContainerCreating", "PodInitializing"}


@dataclass(frozen=True, slots=True)
class Launcher:
    """The pod that this process runs in.

    Attributes:
        owners: References to its owners, such as Argo's workflow.
        service_account: The name of its service account.
        labels: Its labels.
    """

    owners: list[dict[str, str]]
    service_account: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class End:
    """How a container has ended.

    Attributes:
        code: Its exit code.
        reason: Kubernetes' reason, such as OOMKilled.
        time: When; if that is unknown, when the pod was created.
    """

    code: int
    reason: str
    time: datetime

    def __str__(self) -> str:
        reason = "" if self.reason in ("", "Error", "Completed") else f" ({self.reason})"
        return f"exit code {self.code}{reason}"


@dataclass(frozen=True, slots=True)
class NodePod:
    """A pod that is, or was, one of the nodes.

    Attributes:
        uid: Its unique id.
        name: Its name.
        node: The node's number among all, from 0.
        started: Whether its container has run.
        running: Whether its container runs.
        over: Whether it has ended for good.
        restarts: How often its container was restarted.
        waiting: Why it does not run, if that is worth knowing.
        end: How its container last ended, if it has.
    """

    uid: str
    name: str
    node: int
    started: bool
    running: bool
    over: bool
    restarts: int
    waiting: str
    end: End | None


def launcher(pod: Any) -> Launcher:
    """Return what the API says of this process's own pod."""
    owners = [
        {
            "apiVersion": owner.api_version,
            "kind": owner.kind,
            "name": owner.name,
            "uid": owner.uid,
        }
        for owner in pod.metadata.owner_references or []
    ]
    return Launcher(owners, pod.spec.service_account_name, pod.metadata.labels or {})


def nodes_of(job: str) -> str:
    """Return the label selector of the pods of a TrainJob's nodes."""
    return f"{_JOB_SET}={job},{_REPLICATED_JOB}={NODE}"


def node_pod(pod: Any) -> NodePod:
    """Return what the API says of a node's pod."""
    statuses = [each for each in pod.status.container_statuses or [] if each.name == NODE]
    state = statuses[0].state if statuses else None
    running = state is not None and state.running is not None
    states = [statuses[0].state, statuses[0].last_state] if statuses else []
    ended = [each.terminated for each in states if each is not None and each.terminated is not None]
    # Kubernetes does not know when a lost container ended.
    ends = [
        End(each.exit_code, each.reason or "", each.finished_at or pod.metadata.creation_timestamp)
        for each in ended
    ]
    return NodePod(
        uid=pod.metadata.uid,
        name=pod.metadata.name,
        node=int((pod.metadata.labels or {}).get(_INDEX, 0)),
        started=running or bool(ends),
        running=running,
        over=pod.status.phase in ("Succeeded", "Failed"),
        restarts=statuses[0].restart_count if statuses else 0,
        waiting=_waiting(pod),
        end=ends[0] if ends else None,
    )


def _waiting(pod: Any) -> str:
    """Return why a pod does not run, if that is worth knowing."""
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"{condition.reason}: {condition.message}"
    statuses = [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]
    for status in statuses:
        waiting = status.state.waiting if status.state else None
        if waiting is not None and waiting.reason not in _STARTING:
            return f"{waiting.reason}: {waiting.message or status.name}"
    return ""
