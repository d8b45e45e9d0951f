"""What a stage runs on: logged first, and on a cluster compared with what was requested.

A pod with fewer GPUs than requested would train for days instead of hours. The pod's environment
describes it (`pipelines/cluster/pod_settings.py`): `KFP_POD_NAME`, `WEBLY_NODE`, `WEBLY_IMAGE`, and
`WEBLY_GPUS` where a recipe fixes their number.
"""

import logging
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from components.shared.stage import environment
from components.shared.stage.errors import UserError
from components.shared.stage.fingerprint import ROOT
from components.shared.stage.interface import Range
from components.shared.stage.parallel import cores

logger = logging.getLogger(__name__)
# How KFP's compiler refers to another of a task's parameters.
OWN_INPUT = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")


def revision() -> str:
    """Return the commit of this code, marked if the tree differs from it; empty if unknown.

    Images have it in their environment.
    """
    if "WEBLY_REVISION" in os.environ:
        return os.environ["WEBLY_REVISION"]
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


def look(values: Mapping[str, object]) -> None:
    """Log what this stage runs on; on a cluster, compare it with what was requested.

    Args:
        values: The parameters of KFP's ExecutorInput. Stages on GPUs have `accelerator_count`,
            which KFP adds to their own.

    Raises:
        UserError: The pod's GPUs differ from the request, or its disk is not writable.
    """
    pod, gpus = os.environ.get("KFP_POD_NAME"), _requested(values)
    where = f"pod {pod} of node {os.environ.get('WEBLY_NODE', '?')}" if pod else platform.node()
    image = f", image {os.environ['WEBLY_IMAGE']}" if "WEBLY_IMAGE" in os.environ else ""
    logger.info(
        "%s: %d cores, %.1f GiB of memory, Python %s%s, revision %s",
        where,
        cores(),
        _memory() / 2**30,
        platform.python_version(),
        image,
        revision() or "unknown",
    )
    if gpus is not None:
        _check_gpus(gpus, where, in_pod=pod is not None)
    if pod and "WEBLY_CACHE" in os.environ:
        _check_disk(environment.cache())


def _requested(values: Mapping[str, object]) -> int | None:
    """Return how many GPUs were requested for the pod; None if it is not a training stage's."""
    count = values.get("accelerator_count", os.environ.get("WEBLY_GPUS"))
    reference = OWN_INPUT.fullmatch(str(count))  # not every launcher resolves it
    if reference:
        count = values[reference[1]]
    if count is None:
        return None
    return int(environment.parsed("WEBLY_GPUS", str(count), int, Range(at_least=0, at_most=999)))


def _check_gpus(requested: int, where: str, in_pod: bool) -> None:
    try:
        import torch
    except ImportError as error:
        if requested:
            raise UserError(
                f"{requested} GPUs were requested, but this image cannot use them ({error}): "
                "compile the pipeline with WEBLY_IMAGE_<STAGE> set to an image that can"
            ) from None
        return
    found = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    logger.info("torch %s, GPUs: %s", torch.__version__, ", ".join(found) or "none")
    if in_pod and len(found) != requested:
        raise UserError(_difference(requested, len(found), where, str(torch.version.cuda)))


def _difference(requested: int, found: int, where: str, cuda: str) -> str:
    if found > requested:
        cause = (
            "the node exposes its GPUs to pods that did not request them (NVIDIA's runtime "
            "does, unless accept-nvidia-visible-devices-envvar-when-unprivileged = false)"
        )
    elif found:
        cause = "a process sees only one of several MIG slices: request one, or whole GPUs"
    else:
        cause = (
            f"check nvidia-smi there, and that the driver supports this image's CUDA {cuda}; "
            "if the pod's resources show no GPU, gpu_type is not what the nodes offer"
        )
    return f"{requested} GPUs were requested, but torch sees {found} in {where}: {cause}"


def _check_disk(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        raise UserError(
            f"WEBLY_CACHE={folder}: user {os.getuid()} cannot write there: the pod's "
            "securityContext needs an fsGroup, which pipelines.argo sets for pipelines' pods, and "
            "k8s/trainer for the nodes of stages on several nodes"
        )


def _memory() -> int:
    """Return how many bytes this process may use, considering a container's limit."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(FileNotFoundError, ValueError):  # "max", or not in a cgroup v2
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return memory
