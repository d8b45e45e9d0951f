"""The TrainJob of a stage: its manifest, and what its status says.

Kubeflow Trainer has renamed the field with which a TrainJob patches the pods of its runtime:

    podSpecOverrides      2.0
    podTemplateOverrides  2.1
    runtimePatches        2.2 and newer
"""

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from components.shared.stage.errors import UserError
from components.trainjob.settings import Settings

GROUP, VERSION = "trainer.kubeflow.org", "v1alpha1"
# The name that a runtime must give the job of its nodes, and their container; Trainer's own do.
NODE = "node"
QUEUE, PRIORITY = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"
_MANAGER = "webly/trainjob"
# Variables of the task's environment that are for the launcher only.
_OWN = ("WEBLY_TRAINJOB_", "WEBLY_NODE_", "WEBLY_RETRIES")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainJob:
    """A stage on several nodes.

    Attributes:
        name: The TrainJob's name.
        module: The module that runs the stage.
        image: The nodes' image.
        num_nodes: How many nodes.
        handover: The URI of the handover.
        task_config: The KFP task's `TaskConfig`, as JSON.
        settings: What is not set on the task.
        owners: Owner references: it is deleted with these.
        service_account: The nodes' service account.
        labels: Labels of the TrainJob and of its pods.
    """

    name: str
    module: str
    image: str
    num_nodes: int
    handover: str
    task_config: Mapping[str, Any]
    settings: Settings
    owners: list[dict[str, str]]
    service_account: str
    labels: Mapping[str, str]

    def manifest(self, fields: Collection[str]) -> dict[str, Any]:
        """Return the object to create.

        Args:
            fields: The fields of a TrainJob's spec on this cluster.

        Raises:
            UserError: None of them can patch pods.
        """
        patch = next((field for field in _PATCHES if field in fields), None)
        if patch is None:
            raise UserError(_unsupported(fields))
        queue = _without_empty({QUEUE: self.settings.queue, PRIORITY: self.settings.priority})
        spec: dict[str, Any] = {
            "runtimeRef": {
                "apiGroup": GROUP,
                "kind": "ClusterTrainingRuntime",
                "name": self.settings.runtime,
            },
            "trainer": self._trainer(),
            patch: _PATCHES[patch](self._pod_labels(), self._pod_spec()),
        }
        if "activeDeadlineSeconds" in fields:  # else only the launcher enforces it
            spec["activeDeadlineSeconds"] = max(1, round(self.settings.seconds))
        return {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "TrainJob",
            "metadata": {
                "name": self.name,
                "labels": {**self.labels, **queue},
                "ownerReferences": self.owners,
            },
            "spec": spec,
        }

    def _trainer(self) -> dict[str, Any]:
        return _without_empty(
            {
                "image": self.image,
                "command": ["python", "-m", self.module],
                "args": [self.handover],
                "numNodes": self.num_nodes,
                "resourcesPerNode": self._resources(),
                # Not in the patch of the pod, where Trainer forbids it for this container.
                "env": self._environment(),
            }
        )

    def _resources(self) -> dict[str, Any]:
        given = self.task_config.get("resources") or {}
        return _without_empty(
            {**given, "limits": {**given.get("limits", {}), **self.settings.limits}}
        )

    def _environment(self) -> list[dict[str, Any]]:
        given = {
            variable["name"]: variable
            for variable in self.task_config.get("env") or []
            if not variable["name"].startswith(_OWN)
        }
        own = self.settings.environment.items()
        return list(
            (given | {name: {"name": name, "value": value} for name, value in own}).values()
        )

    def _pod_labels(self) -> dict[str, str]:
        # Istio's proxy, which Kubeflow's namespaces inject into pods, would not end with the node.
        # Said here too, beside `k8s/trainer/runtime.yaml`: Trainer's own runtimes do not say it.
        return {**self.labels, "sidecar.istio.io/inject": "false"}

    def _pod_spec(self) -> dict[str, Any]:
        volumes = [*(self.task_config.get("volumes") or []), *self.settings.volumes]
        mounts = [*(self.task_config.get("volumeMounts") or []), *self.settings.volume_mounts]
        secret = self.settings.pull_secret
        return _without_empty(
            {
                "serviceAccountName": self.service_account,
                "imagePullSecrets": [{"name": secret}] if secret else [],
                "nodeSelector": self.task_config.get("nodeSelector"),
                "tolerations": self.task_config.get("tolerations"),
                "affinity": self.task_config.get("affinity"),
                "volumes": volumes,
                "containers": [{"name": NODE, "volumeMounts": mounts}] if mounts else [],
            }
        )


def number_of_nodes(text: str) -> int:
    """Parse `num_nodes`.

    Raises:
        UserError: It is not a positive integer.
    """
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise UserError(
            f"num_nodes={text}: must be a positive integer, at most 9999; 1 needs no Trainer"
        )
    return int(text)


def job_name(module: str, executor_input: Mapping[str, Any]) -> str:
    """Return the name of a stage's TrainJob: the same for all attempts of a task, else unique.

    JobSet derives names from it that must be DNS labels, too: `<name>-node-0-<number>`.
    """
    outputs = executor_input["outputs"]["artifacts"]
    uris = sorted(entry["uri"] for each in outputs.values() for entry in each["artifacts"])
    digest = hashlib.sha256("\n".join(uris).encode()).hexdigest()[:12]
    return f"{module.rpartition('.')[2].replace('_', '-')}-{digest}"


def condition(job: Mapping[str, Any], kind: str) -> str | None:
    """Return the text of a condition that holds, such as Complete or Failed; else None."""
    for each in conditions(job):
        if each["type"] == kind and each["status"] == "True":
            return f"{each.get('reason', kind)}: {each.get('message', '')}".rstrip(": ")
    return None


def conditions(job: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the conditions in a TrainJob's status."""
    found: list[dict[str, str]] = job.get("status", {}).get("conditions", [])
    return found


def running_since(job: Mapping[str, Any]) -> datetime | None:
    """Return when a TrainJob was resumed; None while it is suspended, as in a queue."""
    # Kueue resumes it in its spec; Trainer then records the time in its status.
    if job["spec"].get("suspend") or condition(job, "Suspended") is not None:
        return None
    since = job["metadata"]["creationTimestamp"]
    for each in conditions(job):
        if each["type"] == "Suspended" and each["status"] == "False":
            since = each["lastTransitionTime"]
    return datetime.fromisoformat(since)


def _pod_spec_overrides(labels: Mapping[str, str], spec: Mapping[str, Any]) -> list[Any]:
    """Leave out what it cannot set: labels, and the secret, which the service account may have."""
    spec = {name: value for name, value in spec.items() if name != "imagePullSecrets"}
    return [{"targetJobs": [{"name": NODE}], **spec}]


def _pod_template_overrides(labels: Mapping[str, str], spec: Mapping[str, Any]) -> list[Any]:
    return [{"targetJobs": [{"name": NODE}], "metadata": {"labels": labels}, "spec": spec}]


def _runtime_patches(labels: Mapping[str, str], spec: Mapping[str, Any]) -> list[Any]:
    pod = {"metadata": {"labels": labels}, "spec": spec}
    job = {"name": NODE, "template": {"spec": {"template": pod}}}
    runtime = {"template": {"spec": {"replicatedJobs": [job]}}}
    return [{"manager": _MANAGER, "trainingRuntimeSpec": runtime}]


_PATCHES: Mapping[str, Callable[[Mapping[str, str], Mapping[str, Any]], list[Any]]] = {
    "runtimePatches": _runtime_patches,
    "podTemplateOverrides": _pod_template_overrides,
    "podSpecOverrides": _pod_spec_overrides,
}


def _unsupported(fields: Collection[str]) -> str:
    remedy = "install Kubeflow Trainer 2.0 or newer, or run the stage with num_nodes=1"
    if not fields:
        return f"this cluster has no TrainJobs ({GROUP}/{VERSION}): {remedy}"
    return (
        f"this cluster's TrainJobs have none of {', '.join(_PATCHES)} (Kubeflow Trainer 2.2 and "
        f"newer, 2.1, 2.0), but {', '.join(sorted(fields))}: {remedy}"
    )


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out values that KFP has written as null or empty."""
    return {name: value for name, value in values.items() if value}
