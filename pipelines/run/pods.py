"""What a compiled task asks of a cluster for its pod, or for each of the nodes that it starts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.shared.stage.machine import OWN_INPUT
from components.trainjob.job import PRIORITY, QUEUE

DISK = "disk"  # the name of its volume


@dataclass(frozen=True, kw_only=True, slots=True)
class Pod:
    """What a task asks for.

    Attributes:
        node_selector: Labels of the nodes that it may run on.
        tolerations: Kubernetes tolerations for their taints.
        gpu_type: The resource name of its GPUs; empty if it has none.
        gpus: How many.
        cpu: Its cores, as Kubernetes writes them; empty if it asks for none.
        memory: Its memory, likewise.
        disk: The size of its disk, such as `128Gi`; empty if it has none.
        disk_class: The disk's storage class, or `default`; empty if it is a folder of the node's
            own disk.
        pull_secret: The secret that its image is pulled with; empty if none.
        queue: The Kueue queue that it waits in; empty if none.
        queue_priority: Its priority class there; empty if none.
    """

    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    gpu_type: str = ""
    gpus: int = 0
    cpu: str = ""
    memory: str = ""
    disk: str = ""
    disk_class: str = ""
    pull_secret: str = ""
    queue: str = ""
    queue_priority: str = ""


def pod(
    config: Mapping[str, Any],
    container: Mapping[str, Any],
    parameters: Mapping[str, Any],
    form: Mapping[str, Any],
) -> Pod:
    """Read what a task asks for.

    Args:
        config: Its KubernetesExecutorConfig.
        container: Its container in the IR.
        parameters: Its parameters, resolved.
        form: The values of the form, which its configuration refers to.
    """

    def given(source: Mapping[str, Any]) -> Any:
        if "componentInputParameter" in source:
            return form[source["componentInputParameter"]]
        return source["runtimeValue"]["constant"]

    resources = container.get("resources", {})
    accelerator = resources.get("accelerator", {})
    gpus = int(resolved(accelerator.get("resourceCount", "0"), parameters))
    selector = config.get("nodeSelector", {}).get("nodeSelectorJson")
    tolerations = [given(each["tolerationJson"]) for each in config.get("tolerations", [])]
    secrets = [given(each["secretNameParameter"]) for each in config.get("imagePullSecret", [])]
    variables = {each["name"]: each["value"] for each in container.get("env", [])}
    disk, disk_class = _disk(config, variables)
    labels = config.get("podMetadata", {}).get("labels", {})
    return Pod(
        node_selector=given(selector) if selector else {},
        tolerations=[each for several in tolerations for each in several],
        gpu_type=resolved(accelerator["resourceType"], parameters) if gpus else "",
        gpus=gpus,
        cpu=resolved(resources.get("resourceCpuRequest", ""), parameters),
        memory=resolved(resources.get("resourceMemoryRequest", ""), parameters),
        disk=disk,
        disk_class=disk_class,
        pull_secret="".join(secrets),
        queue=labels.get(QUEUE, variables.get("WEBLY_TRAINJOB_QUEUE", "")),
        queue_priority=labels.get(PRIORITY, variables.get("WEBLY_TRAINJOB_PRIORITY", "")),
    )


def resolved(text: str, parameters: Mapping[str, Any]) -> Any:
    """Return what a text stands for, if it is KFP's reference to another parameter."""
    own = OWN_INPUT.fullmatch(text)
    return parameters[own[1]] if own else text


def _disk(config: Mapping[str, Any], variables: Mapping[str, str]) -> tuple[str, str]:
    """Return size and class of a disk: as KFP mounts it, or as the pod passes it on to nodes."""
    for folder in config.get("emptyDirMounts", []):
        if folder["volumeName"] == DISK:
            return folder["sizeLimit"], ""
    for volume in config.get("genericEphemeralVolume", []):
        return volume["size"], volume.get("storageClassName", "default")
    for volume in json.loads(variables.get("WEBLY_NODE_VOLUMES", "{}")).get("volumes", []):
        if volume["name"] == DISK and "emptyDir" in volume:
            return volume["emptyDir"]["sizeLimit"], ""
        if volume["name"] == DISK:
            claim = volume["ephemeral"]["volumeClaimTemplate"]["spec"]
            return claim["resources"]["requests"]["storage"], claim.get(
                "storageClassName", "default"
            )
    return "", ""
