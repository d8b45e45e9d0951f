"""Where a task's stage runs: in its own pod, or on the nodes of a TrainJob.

The pod of a stage on several nodes is light: it starts the nodes and follows them. KFP's driver
passes it the task's settings for them (`dsl.TaskConfig`): environment, resources, node selector and
tolerations, but not ephemeral disks, which it always mounts in the task's own pod. So the launcher
gets these, and the variables that depend on them, in its environment:

    WEBLY_NODE_ENV           variables by name, as JSON; they take precedence over the driver's
    WEBLY_NODE_VOLUMES       `volumes` and `volumeMounts` of a pod's spec, as JSON
    WEBLY_TRAINJOB_HOURS     the nodes' time limit
    WEBLY_TRAINJOB_QUEUE     the Kueue queue that they wait in, if any
    WEBLY_TRAINJOB_PRIORITY  their priority class there, if any
    WEBLY_TRAINJOB_PULL      the secret with their registry's password, if any
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from kfp import dsl, kubernetes

from components.trainjob.job import PRIORITY, QUEUE


class Placement(Protocol):
    """Where the stage of a task runs."""

    def set_env(self, name: str, value: str) -> None:
        """Set a variable of the environment."""

    def limit(self, timeout_hours: int) -> None:
        """Limit the duration of a pod, with all the tries in it."""

    def wait_in(self, queue: str | None, priority: str | None) -> None:
        """Let it wait in a Kueue queue, with a priority class, if these are given."""

    def pull_with(self, secret: str) -> None:
        """Pull images with a secret."""

    def mount_folder(self, path: str, size: str) -> None:
        """Mount an empty folder of the node's disk."""

    def mount_disk(self, path: str, size: str, storage_class: str | None) -> None:
        """Mount an empty disk; the class None is the cluster's default."""

    def mount_memory(self, path: str, size: str) -> None:
        """Mount memory as a file system."""


class Pod:
    """The task's own pod."""

    def __init__(self, task: dsl.PipelineTask) -> None:
        """Set up the pod of a task."""
        self._task = task

    def set_env(self, name: str, value: str) -> None:
        """Set a variable of the environment."""
        self._task.set_env_variable(name, value)

    def limit(self, timeout_hours: int) -> None:
        """Limit the duration of a pod, with all the tries in it."""
        kubernetes.set_timeout(self._task, 3600 * timeout_hours)

    def wait_in(self, queue: str | None, priority: str | None) -> None:
        """Label the pod for Kueue."""
        for label, value in ((QUEUE, queue), (PRIORITY, priority)):
            if value is not None:
                kubernetes.add_pod_label(self._task, label, value)

    def pull_with(self, secret: str) -> None:
        """Pull images with a secret."""
        kubernetes.set_image_pull_secrets(self._task, [secret])

    def mount_folder(self, path: str, size: str) -> None:
        """Mount an empty folder of the node's disk."""
        kubernetes.empty_dir_mount(self._task, "disk", path, size_limit=size)

    def mount_disk(self, path: str, size: str, storage_class: str | None) -> None:
        """Mount an empty disk."""
        kubernetes.add_ephemeral_volume(
            self._task,
            "disk",
            path,
            access_modes=["ReadWriteOnce"],
            size=size,
            storage_class_name=storage_class,
        )

    def mount_memory(self, path: str, size: str) -> None:
        """Mount memory as a file system."""
        kubernetes.empty_dir_mount(self._task, "shm", path, medium="Memory", size_limit=size)


class Nodes:
    """The nodes that the task's pod starts."""

    def __init__(self, task: dsl.PipelineTask) -> None:
        """Set up the nodes of a task."""
        self._task = task
        self._environment: dict[str, str] = {}
        self._volumes: list[Mapping[str, Any]] = []
        self._mounts: list[Mapping[str, str]] = []

    def set_env(self, name: str, value: str) -> None:
        """Set a variable of the environment."""
        self._environment[name] = value
        self._task.set_env_variable("WEBLY_NODE_ENV", json.dumps(self._environment))

    def limit(self, timeout_hours: int) -> None:
        """Have the launcher limit the nodes' duration.

        Its own pod has no limit: it runs while the nodes wait in a queue.
        """
        self._task.set_env_variable("WEBLY_TRAINJOB_HOURS", str(timeout_hours))

    def wait_in(self, queue: str | None, priority: str | None) -> None:
        """Have the launcher label the TrainJob for Kueue."""
        if queue is not None:
            self._task.set_env_variable("WEBLY_TRAINJOB_QUEUE", queue)
        if priority is not None:
            self._task.set_env_variable("WEBLY_TRAINJOB_PRIORITY", priority)

    def pull_with(self, secret: str) -> None:
        """Pull the launcher's and the nodes' images with a secret."""
        kubernetes.set_image_pull_secrets(self._task, [secret])
        self._task.set_env_variable("WEBLY_TRAINJOB_PULL", secret)

    def mount_folder(self, path: str, size: str) -> None:
        """Mount an empty folder of the node's disk."""
        self._mount("disk", path, {"emptyDir": {"sizeLimit": size}})

    def mount_disk(self, path: str, size: str, storage_class: str | None) -> None:
        """Mount an empty disk."""
        claim: dict[str, Any] = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
        }
        if storage_class is not None:
            claim["storageClassName"] = storage_class
        self._mount("disk", path, {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}})

    def mount_memory(self, path: str, size: str) -> None:
        """Mount memory as a file system."""
        self._mount("shm", path, {"emptyDir": {"medium": "Memory", "sizeLimit": size}})

    def _mount(self, name: str, path: str, source: Mapping[str, Any]) -> None:
        self._volumes.append({"name": name, **source})
        self._mounts.append({"name": name, "mountPath": path})
        content = {"volumes": self._volumes, "volumeMounts": self._mounts}
        self._task.set_env_variable("WEBLY_NODE_VOLUMES", json.dumps(content))
