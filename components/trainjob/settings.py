"""The nodes' settings in the launcher's environment; `pipelines/cluster/pod_settings.py` writes it.

WEBLY_TRAINJOB_QUEUE      the Kueue queue that the nodes wait in (none)
WEBLY_TRAINJOB_PRIORITY   their priority class there (none)
WEBLY_TRAINJOB_PULL       the secret with their registry's password (none)
WEBLY_TRAINJOB_RUNTIME    their ClusterTrainingRuntime (torch-distributed)
WEBLY_TRAINJOB_HOURS      time limit, not counting the wait in the queue (72)
WEBLY_TRAINJOB_RESOURCES  more resources of each node, such as RDMA devices: a JSON object
WEBLY_NODE_ENV            environment variables of the nodes alone: a JSON object
WEBLY_NODE_VOLUMES        their `volumes` and `volumeMounts`, as in a pod: a JSON object
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.shared.stage import environment
from components.shared.stage.errors import UserError, shown
from components.shared.stage.interface import Range

DEFAULT_RUNTIME = "torch-distributed"  # Trainer's own


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Settings of the nodes that are not set on KFP's task.

    Attributes:
        queue: The name of the Kueue queue; empty for none.
        priority: The name of the nodes' priority class there; empty for none.
        pull_secret: The name of the secret to pull their image with; empty for none.
        runtime: The name of the ClusterTrainingRuntime.
        seconds: How long they may run.
        limits: More resources of each node, by name.
        environment: Variables by name.
        volumes: Volumes of each node.
        volume_mounts: Where they are mounted.
    """

    queue: str
    priority: str
    pull_secret: str
    runtime: str
    seconds: float
    limits: Mapping[str, str]
    environment: Mapping[str, str]
    volumes: Sequence[Mapping[str, Any]]
    volume_mounts: Sequence[Mapping[str, Any]]


def from_environment() -> Settings:
    """Read the settings from the environment.

    Raises:
        UserError: A variable has an invalid value.
    """
    volumes = _object("WEBLY_NODE_VOLUMES")
    for name, value in volumes.items():
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise UserError(
                f"WEBLY_NODE_VOLUMES={shown(volumes)}: {shown(name)} must be a list of mappings"
            )
    return Settings(
        queue=os.environ.get("WEBLY_TRAINJOB_QUEUE", ""),
        priority=os.environ.get("WEBLY_TRAINJOB_PRIORITY", ""),
        pull_secret=os.environ.get("WEBLY_TRAINJOB_PULL", ""),
        runtime=os.environ.get("WEBLY_TRAINJOB_RUNTIME") or DEFAULT_RUNTIME,
        seconds=3600
        * environment.number("WEBLY_TRAINJOB_HOURS", 72.0, Range(above=0, at_most=8_760)),
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
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f'{name}={shown(text)}: must be a JSON object, such as {{"name": "value"}}')
    return content
