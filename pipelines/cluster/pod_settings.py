"""Settings of the pipeline's pods on a cluster. The local engine ignores them.

All of them travel in the compiled pipeline: Kubeflow's own defaults need no change, except for
disks of a storage class (see `_with_disk`). Only image, GPUs, CPU and memory are in KFP's cache
key: a larger disk, other nodes or another bucket retrain nothing.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kfp import dsl, kubernetes

from components.shared.stage.container import Component
from pipelines.cluster.placement import Nodes, Placement, Pod
from pipelines.run.graph import IDENTITY

# The oldest version of KFP's backend to support.
Backend = Literal["2.15", "2.16", "2.17"]

# Created by `k8s/` in the runs' namespace.
CONFIG_MAP = "webly"
SECRET = "webly-s3"
CERTIFICATES = "webly-ca"
CERTIFICATES_FOLDER = "/etc/webly/ca"  # for AWS_CA_BUNDLE
_LOCATIONS = ("WEBLY_STORE", "WEBLY_CHECKPOINTS")
_SETTINGS = (
    "WEBLY_CHECKPOINT_MINUTES",
    "WEBLY_STORAGE_TIMEOUT",
    "WEBLY_LOG_LEVEL",
    "AWS_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
    "AWS_CA_BUNDLE",
)
# For nodes: their ClusterTrainingRuntime, and more resources of each (JSON).
_NODE_SETTINGS = ("WEBLY_TRAINJOB_RUNTIME", "WEBLY_TRAINJOB_RESOURCES")
HUB_SECRET = "webly-hub"  # with the key `token`; few need one
_DISK = "/mnt/webly"
NODE_DISK = "node"  # the `disk_class` of a disk without one
_UNITS = {"M": 1e6, "G": 1e9, "T": 1e12, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
# Workers pass batches through shared memory; the default of 64 MiB ends in bus errors.
_SHARED_MEMORY = "16Gi"
_HOURS_OF_A_YEAR = 365 * 24


def configure(
    task: dsl.PipelineTask,
    *,
    pipeline: str,
    component: Component,
    identity: Mapping[str, Any],
    candidate: str,
    label: str,
    image: str,
    values: Mapping[str, Any],
    backend: Backend,
    several_nodes: bool = False,
) -> None:
    """Configure a task's pod, and the nodes that it starts.

    Args:
        task: The task.
        pipeline: The pipeline's name.
        component: The stage that the task runs.
        identity: The task's step and candidate.
        candidate: The candidate's name; empty if there is none.
        label: The task's display name, which the names of its artifacts begin with.
        image: The stage's image.
        values: The step's values of `steps.POD`, by name; some may be pipeline parameters.
        backend: The oldest version of KFP's backend to support.
        several_nodes: Whether the stage runs on nodes that the pod starts.
    """
    placement: Placement = Nodes(task) if several_nodes else Pod(task)
    _with_environment(task, (*_SETTINGS, *_NODE_SETTINGS) if several_nodes else _SETTINGS)
    if component.name == "initial_model":
        hub = {"HF_ENDPOINT": "HF_ENDPOINT"}
        kubernetes.use_config_map_as_env(task, CONFIG_MAP, hub, optional=True)
        kubernetes.use_secret_as_env(task, HUB_SECRET, {"token": "HF_TOKEN"}, optional=True)
    placement.set_env("WEBLY_IMAGE", image)
    placement.set_env("WEBLY_TASK", label)
    if candidate:
        placement.set_env("WEBLY_CANDIDATE", candidate)
    _on_cpus(task, values["cpu"], values["memory"])
    queue, priority, secret = (
        None if values[name] == "none" else values[name]
        for name in ("queue", "queue_priority", "pull_secret")
    )
    is_queued = several_nodes or queue is not None
    _with_retries(task, values["retries"], values["timeout_hours"], is_queued=is_queued)
    _labelled(task, pipeline, component.name)
    kubernetes.add_pod_annotation(task, IDENTITY, json.dumps(identity))
    placement.limit(values["timeout_hours"])
    placement.wait_in(queue, priority)
    # A tag changes only with what can change a result: newer code of a tag may log better.
    kubernetes.set_image_pull_policy(task, "Always")
    if secret is not None:
        placement.pull_with(secret)
    if "disk" in values:
        _with_disk(placement, values["disk"], values["disk_class"])
    # Training pods get WEBLY_GPUS=0, too. (A pipeline parameter never equals "0" at compile time.)
    if "gpus" in values and (component.target == "train" or str(values["gpus"]) != "0"):
        _on_gpus(task, placement, values["gpu_type"], values["gpus"])
    kubernetes.add_node_selector_json(task, values["node_selector"])
    kubernetes.add_toleration_json(task, values["tolerations"])
    if backend != "2.15":
        # No user id: OpenShift assigns its own; elsewhere the image's applies.
        kubernetes.set_security_context(task, run_as_non_root=True)


def _with_environment(task: dsl.PipelineTask, optional: Sequence[str]) -> None:
    """Give a task the storage locations, its credentials, and the names of its pod and node."""
    locations = {name: name for name in _LOCATIONS}
    settings = {name: name for name in optional}
    keys = {
        "accesskey": "AWS_ACCESS_KEY_ID",
        "secretkey": "AWS_SECRET_ACCESS_KEY",
        "sessiontoken": "AWS_SESSION_TOKEN",  # of temporary keys
    }
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, locations)
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, settings, optional=True)
    # Optional: the run's service account may give access instead.
    kubernetes.use_secret_as_env(task, SECRET, keys, optional=True)
    kubernetes.use_config_map_as_volume(task, CERTIFICATES, CERTIFICATES_FOLDER, optional=True)
    kubernetes.use_field_path_as_env(task, "KFP_POD_NAME", "metadata.name")
    kubernetes.use_field_path_as_env(task, "WEBLY_NODE", "spec.nodeName")


def _on_cpus(task: dsl.PipelineTask, cpu: Any, memory: Any) -> None:
    """Give a task cores and memory; both are strings, or pipeline parameters of that type.

    Stages start a worker per core that they may use: without a limit, per core of the node.
    """
    task.set_cpu_request(cpu).set_cpu_limit(cpu)
    task.set_memory_request(memory).set_memory_limit(memory)


def _on_gpus(task: dsl.PipelineTask, placement: Placement, kind: Any, number: Any) -> None:
    """Give a task GPUs.

    Args:
        task: A task.
        placement: Where its stage runs.
        kind: Their resource name.
        number: How many; a string: KFP's driver silently takes a number as none.
    """
    task.set_accelerator_type(kind).set_accelerator_limit(number)
    if isinstance(number, str):
        # A parameter reaches the stage as `accelerator_count`, a constant does not.
        placement.set_env("WEBLY_GPUS", number)
    placement.mount_memory("/dev/shm", _SHARED_MEMORY)


def _with_disk(placement: Placement, size: str, storage_class: str) -> None:
    """Give a stage a disk for fetched shards and temporary files.

    By default it is a folder on the node's disk (`emptyDir`), which any user may write to and which
    goes when the pod ends. A disk of a storage class stays as long as the pod's object and belongs
    to root, unless `python -m pipelines.argo` has changed Argo's defaults.
    """
    number, unit = re.findall(r"[\d.]+|[MGTi]+", size)
    gigabytes = float(number) * _UNITS[unit] / 1e9
    if storage_class == NODE_DISK:
        placement.mount_folder(_DISK, size)
    else:
        placement.mount_disk(_DISK, size, None if storage_class == "default" else storage_class)
    placement.set_env("WEBLY_CACHE", _DISK)
    # The rest is for the file system and for temporary files.
    placement.set_env("WEBLY_CACHE_GIGABYTES", f"{0.8 * gigabytes:g}")
    placement.set_env("TMPDIR", _DISK)


def _with_retries(
    task: dsl.PipelineTask, retries: int, timeout_hours: int, *, is_queued: bool
) -> None:
    """Retry a task when it fails.

    KFP only says how often: when Argo retries is the cluster's choice. Until KFP 2.16 it does when
    a container exits with a code other than 0 or its node evicts it, since 2.17 when a pod is
    deleted. So a stage is told, too, and retries within its pod what Argo does not
    (`components.shared.stage.tries`). Either way it resumes from its checkpoint, saved every
    WEBLY_CHECKPOINT_MINUTES: KFP's launcher forwards no signals, so a pod that is terminated cannot
    save another one.
    """
    if retries:
        # Argo counts `backoff_max_duration` from the first attempt's start: with the default of an
        # hour, later failures would not be retried, and retries would end with that hour. It
        # counts the time in a queue, too, which may be days before each attempt.
        hours = _HOURS_OF_A_YEAR if is_queued else (retries + 1) * (timeout_hours + 1)
        task.set_retry(
            retries,
            backoff_duration="60s",
            backoff_factor=2,
            backoff_max_duration=f"{3600 * hours}s",
        )
        task.set_env_variable("WEBLY_RETRIES", str(retries))


def _labelled(task: dsl.PipelineTask, pipeline: str, stage: str) -> None:
    """Label a task's pod, for `kubectl get pods -l …` and network policies."""
    labels = {
        "app.kubernetes.io/name": "webly",
        "app.kubernetes.io/part-of": pipeline,
        "app.kubernetes.io/component": stage,
    }
    for key, value in labels.items():
        kubernetes.add_pod_label(task, key, value)
