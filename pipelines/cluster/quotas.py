"""Whether a namespace's quotas leave room for a pipeline's pods."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from kubernetes.utils import parse_quantity

from pipelines.cluster.checks import Check, looked_up
from pipelines.cluster.kubernetes_api import Namespace, UnknownError
from pipelines.cluster.node_pools import requests, written
from pipelines.run.graph import Task


def quotas(namespace: Namespace, tasks: Sequence[Task]) -> Iterator[Check]:
    """Check that the largest pods fit quotas: others may have to wait, but these would for ever."""
    found = looked_up(namespace.quotas)
    if isinstance(found, UnknownError):
        yield Check("quota", "unknown", f"not checked: {found}")
        return
    for name, allowed in found.items():
        excess: dict[str, str] = {}
        for task in tasks:
            for resource, amount in counted(task).items():
                if amount > allowed.get(resource, amount):
                    excess.setdefault(resource, f"{task.step} asks for {written(amount)}")
        for resource, asked in excess.items():
            detail = (
                f"{name}: allows {written(allowed[resource])} of {resource}, but {asked}: raise it"
            )
            yield Check("quota", "missing", detail)
        if not excess:
            yield Check("quota", "ok", f"{name}: the largest pods fit")


def counted(task: Task) -> dict[str, Decimal]:
    """Return what quotas count for a task while it runs, by the names that they have for it."""
    pod = task.pod
    amounts = {"pods": "1"}
    for name, amount in requests(pod).items():
        amounts |= {name: amount, f"requests.{name}": amount, f"limits.{name}": amount}
    if pod.disk_class:
        amounts |= {"requests.storage": pod.disk, "persistentvolumeclaims": "1"}
    number = task.num_nodes or 1
    return {name: number * parse_quantity(amount) for name, amount in amounts.items()}
