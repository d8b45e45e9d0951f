"""What the nodes of a TrainJob get beside what KFP's driver hands over to them.

A stage on several nodes is a task whose pod is light: it starts the nodes and follows them. The
driver hands over what is set on the task (`dsl.TaskConfig`): environment, resources, node selector
and tolerations. Not a pod's own disks, which it gives to the task's pod whatever is handed over.
So the launcher is told of these, and of what is said of them, in its environment:

    WEBLY_NODE_ENV        variables by name, as JSON; they go before those that are handed over
    WEBLY_NODE_VOLUMES    `volumes` and `volumeMounts` of a pod's specification, as JSON
    WEBLY_TRAINJOB_HOURS  after so many the nodes are ended
    WEBLY_TRAINJOB_QUEUE  Kueue's queue that they wait in, if there is one
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from kfp import dsl, kubernetes

from components.trainjob.job import QUEUE


class Placement(Protocol):
    """Where the stage of a task runs."""

    def set_env(self, name: str, value: str) -> None:
        """Set a variable of the environment."""

    def limit(self, timeout_hours: int, queue: str | None) -> None:
        """End a try after some time; let it begin when a queue of Kueue's says so, if any."""

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

    def limit(self, timeout_hours: int, queue: str | None) -> None:
        """End a try after some time."""
        kubernetes.set_timeout(self._task, 3600 * timeout_hours)
        if queue is not None:
            kubernetes.add_pod_label(self._task, QUEUE, queue)

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

    def limit(self, timeout_hours: int, queue: str | None) -> None:
        """End a try after some time.

        The launcher does. Its own pod has no limit: it is there while the nodes wait in a queue.
        """
        self._task.set_env_variable("WEBLY_TRAINJOB_HOURS", str(timeout_hours))
        if queue is not None:
            self._task.set_env_variable("WEBLY_TRAINJOB_QUEUE", queue)

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
