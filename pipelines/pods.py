"""What the pipeline's pods get on a cluster. None of it matters to the local engine."""

from typing import Any

from kfp import dsl, kubernetes

# `k8s/` makes the config map; the secret is KFP's own.
_CONFIG_MAP = "webly"
_SECRET = "mlpipeline-minio-artifact"
_PLACES = ("WEBLY_STORE", "WEBLY_CHECKPOINTS", "WEBLY_CACHE")
_SETTINGS = (
    "WEBLY_CACHE_GIGABYTES",
    "WEBLY_CHECKPOINT_MINUTES",
    "WEBLY_STORAGE_TIMEOUT",
    "AWS_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
)
# Workers hand batches to the trainer through shared memory; the default 64 MiB end in bus errors.
_SHARED_MEMORY = "16Gi"


def with_storage(task: dsl.PipelineTask) -> None:
    """Tell a task by its environment where images, checkpoints and its cache lie; let it in.

    The environment is not in KFP's cache key: moving a bucket retrains nothing.
    """
    places = {name: name for name in _PLACES}
    settings = {name: name for name in _SETTINGS}
    keys = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
    kubernetes.use_config_map_as_env(task, _CONFIG_MAP, places)
    kubernetes.use_config_map_as_env(task, _CONFIG_MAP, settings, optional=True)
    kubernetes.use_secret_as_env(task, _SECRET, keys, optional=True)


def on_cpus(task: dsl.PipelineTask, cpu: Any, memory: Any) -> None:
    """Give a task cores and memory; both are texts, or pipeline parameters of that type."""
    task.set_cpu_request(cpu).set_memory_request(memory).set_memory_limit(memory)


def on_gpus(
    task: dsl.PipelineTask, gpus: Any, kind: Any, node_selector: Any, tolerations: Any
) -> None:
    """Send a task to nodes with GPUs.

    Args:
        task: A training task.
        gpus: How many; a text, for KFP's driver takes a number for none, silently.
        kind: The resource's name, such as `nvidia.com/gpu`; a text.
        node_selector: Labels of the nodes; a pipeline parameter of type dict.
        tolerations: Taints that it tolerates; a pipeline parameter of type list.
    """
    task.set_accelerator_type(kind).set_accelerator_limit(gpus)
    kubernetes.add_node_selector_json(task, node_selector)
    kubernetes.add_toleration_json(task, tolerations)
    kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=_SHARED_MEMORY)
