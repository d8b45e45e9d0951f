"""What the launcher's environment says of the nodes; `pipelines/cluster/pod_settings.py` writes it.

WEBLY_TRAINJOB_QUEUE      Kueue's queue that the nodes wait in (none)
WEBLY_TRAINJOB_RUNTIME    the ClusterTrainingRuntime that they are made from (torch-distributed)
WEBLY_TRAINJOB_HOURS      after so many they are ended; waiting in the queue does not count (72)
WEBLY_TRAINJOB_RESOURCES  more of each node's resources, such as RDMA devices: a JSON object
WEBLY_NODE_ENV            environment that they have and the launcher has not: a JSON object
WEBLY_NODE_VOLUMES        likewise `volumes` and `volumeMounts`, as in a pod: a JSON object
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.shared.stage import environment
from components.shared.stage.errors import UserError

DEFAULT_RUNTIME = "torch-distributed"  # Trainer's own


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What nodes get that is not set on KFP's task.

    Attributes:
        queue: The name of Kueue's queue; empty for none.
        runtime: The name of the ClusterTrainingRuntime.
        seconds: How long they may run.
        limits: More of each node's resources, by name.
        environment: Variables by name.
        volumes: Volumes of each node.
        volume_mounts: Where they are mounted.
    """

    queue: str
    runtime: str
    seconds: float
    limits: Mapping[str, str]
    environment: Mapping[str, str]
    volumes: Sequence[Mapping[str, Any]]
    volume_mounts: Sequence[Mapping[str, Any]]


def from_environment() -> Settings:
    """Return what the environment says.

    Raises:
        UserError: A variable is not what it must be.
    """
    volumes = _object("WEBLY_NODE_VOLUMES")
    return Settings(
        queue=os.environ.get("WEBLY_TRAINJOB_QUEUE", ""),
        runtime=os.environ.get("WEBLY_TRAINJOB_RUNTIME") or DEFAULT_RUNTIME,
        seconds=3600 * environment.number("WEBLY_TRAINJOB_HOURS", 72.0),
        limits=_texts("WEBLY_TRAINJOB_RESOURCES"),
        environment=_texts("WEBLY_NODE_ENV"),
        volumes=volumes.get("volumes", []),
        volume_mounts=volumes.get("volumeMounts", []),
    )


def _texts(name: str) -> dict[str, str]:
    return {key: str(value) for key, value in _object(name).items()}


def _object(name: str) -> dict[str, Any]:
    text = os.environ.get(name) or "{}"
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UserError(f'{name}={text}: a JSON object is needed, such as {{"name": "value"}}')
    return content
