"""Whether the cluster has nodes for a pipeline's pods."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from kubernetes.utils import parse_quantity

from pipelines.cluster.checks import Check, looked_up
from pipelines.cluster.kubernetes_api import Namespace, Node, UnknownError
from pipelines.run.graph import Graph, Task
from pipelines.run.pods import Pod

_REMEDY = "change the pod's settings, or the nodes (a pool that scales from zero shows none)"


def requests(pod: Pod) -> dict[str, str]:
    """Return how much of each of a node's resources a pod requests."""
    wanted = {pod.gpu_type: str(pod.gpus or ""), "cpu": pod.cpu, "memory": pod.memory}
    return {name: amount for name, amount in wanted.items() if amount}


def _room(pod: Pod) -> dict[str, str]:
    """Return what a node must have for a pod."""
    on_node = pod.disk and not pod.disk_class  # counts against the node, though it is not requested
    return requests(pod) | ({"ephemeral-storage": pod.disk} if on_node else {})


def node_pools(namespace: Namespace, pipeline: Graph) -> Iterator[Check]:
    """Check that there is room for pods, on nodes that they may run on."""
    kinds: dict[str, list[Task]] = {}
    for task in pipeline.tasks:
        place = [task.pod.node_selector, list(task.pod.tolerations), task.num_nodes]
        kinds.setdefault(json.dumps([*place, _room(task.pod)]), []).append(task)
    for tasks in kinds.values():
        found = looked_up(namespace.nodes, tasks[0].pod.node_selector)
        if isinstance(found, UnknownError):
            yield Check("node pool", "unknown", f"not checked: {found}")
            return
        steps = ", ".join(dict.fromkeys(task.step for task in tasks))
        yield _found(steps, tasks[0], found)


def _found(steps: str, task: Task, nodes: Sequence[Node]) -> Check:
    pod, number, wanted = task.pod, task.num_nodes or 1, _room(task.pod)

    def fit(repels: Callable[[Any], bool]) -> int:
        return sum(_has(node, wanted) for node in nodes if not any(map(repels, node.taints)))

    def repels(taint: Any) -> bool:
        return not any(_tolerates(each, taint) for each in pod.tolerations)

    asked = ", ".join(f"{amount} {name}" for name, amount in wanted.items())
    on = f" on each of {number} nodes" if number > 1 else ""
    labels = ",".join(f"{name}={value}" for name, value in pod.node_selector.items())
    pool = f"{len(nodes)} nodes{f' with {labels}' if labels else ''}"
    if fit(repels) >= number:
        detail = f"{steps}: {asked}{on}: {fit(repels)} of {pool} offer it"
        return Check("node pool", "ok", detail)
    others = fit(lambda taint: repels(taint) and taint.key != pod.gpu_type)
    if others >= number:
        return Check(
            "node pool",
            "unknown",
            f"{steps}: {asked}{on}: {others} of {pool} offer it, if the cluster itself makes pods "
            f"with GPUs tolerate the taint {pod.gpu_type}, as GKE does; if not, set tolerations",
        )
    detail = f"{steps}: {asked}{on}: {fit(repels)} of {pool} offer it"
    return Check("node pool", "missing", f"{detail}{_why(nodes, wanted, repels)}: {_REMEDY}")


def _why(nodes: Sequence[Node], wanted: Mapping[str, str], repels: Callable[[Any], bool]) -> str:
    """Return what keeps pods from nodes."""
    taints = {
        f"{taint.key}={taint.value or ''}:{taint.effect}"
        for node in nodes
        for taint in node.taints
        if repels(taint)
    }
    reasons = [f"taints that are not tolerated: {', '.join(sorted(taints))}"] if taints else []
    for name, amount in wanted.items() if nodes else ():
        most = max(node.allocatable.get(name, Decimal(0)) for node in nodes)
        if most < parse_quantity(amount):
            reasons.append(f"the most {name} is {written(most)}")
    return "".join(f"; {reason}" for reason in reasons)


def _has(node: Node, wanted: Mapping[str, str]) -> bool:
    return all(
        node.allocatable.get(name, Decimal(0)) >= parse_quantity(amount)
        for name, amount in wanted.items()
    )


def _tolerates(toleration: Mapping[str, Any], taint: Any) -> bool:
    """Return whether a pod with a toleration may run on a node with a taint, as Kubernetes says."""
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    if toleration["key"] != taint.key:
        return False
    same = toleration.get("value", "") == (taint.value or "")
    return toleration.get("operator") == "Exists" or same


def written(amount: Decimal) -> str:
    """Return an amount as Kubernetes writes it."""
    return f"{amount / 2**30:.0f}Gi" if amount >= 2**20 else f"{amount.normalize():f}"
