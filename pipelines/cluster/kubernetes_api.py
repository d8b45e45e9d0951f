"""What Kubernetes itself knows of a namespace, if a configuration for it is found.

KFP's API provides no secrets, nodes or pod logs.
"""

import base64
import contextlib
import functools
import gzip
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import kubernetes
from kubernetes.client import ApiException
from kubernetes.config import ConfigException
from kubernetes.utils import parse_quantity
from urllib3.exceptions import HTTPError

from components.shared.stage.errors import TransientError
from components.trainjob.job import GROUP, VERSION

_LINES_OF_A_LOG = 1000
_SECONDS_TO_ANSWER = 30.0
_OF_RUN = "pipeline/runid={}"  # the label that KFP gives to a run's workflow and pods
_KUEUE = "kueue.x-k8s.io"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_MANAGER = "webly"  # of the fields that are set here


class UnknownError(TransientError):
    """Something could not be looked at or changed; the message says why."""


class ConflictError(UnknownError):
    """Something has changed since it was read."""


@dataclass(frozen=True, slots=True)
class ConfigMap:
    """A config map as it was read, in a version of it."""

    name: str
    version: str
    data: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster.

    Attributes:
        allocatable: What it offers to pods, by resource.
        taints: Taints that keep pods away which do not tolerate them.
    """

    allocatable: Mapping[str, Decimal]
    taints: Sequence[Any]


class Namespace:
    """The objects of a namespace."""

    def __init__(self, name: str) -> None:
        """Connect with `KUBECONFIG`, `~/.kube/config` or a pod's own credentials.

        All methods may raise `UnknownError`, also when there are none of these.
        """
        self.name = name

    @functools.cached_property
    def _client(self) -> Any:
        with contextlib.suppress(ConfigException):
            kubernetes.config.load_kube_config(os.environ.get("KUBECONFIG"))
            return kubernetes.client.ApiClient()
        with contextlib.suppress(ConfigException):
            kubernetes.config.load_incluster_config()
            return kubernetes.client.ApiClient()
        raise UnknownError("no kubectl configuration found")

    @functools.cached_property
    def _core(self) -> Any:
        return kubernetes.client.CoreV1Api(self._client)

    def config_map(self, name: str) -> Mapping[str, str] | None:
        """Return a config map's content, or None if there is none of that name."""
        found = self._get(self._core.read_namespaced_config_map, name, self.name)
        return None if found is None else found.data or {}

    def annotated_config_map(self, name: str) -> ConfigMap | None:
        """Return a config map, or None if there is none of that name."""
        found = self._get(self._core.read_namespaced_config_map, name, self.name)
        if found is None:
            return None
        about = found.metadata
        return ConfigMap(name, about.resource_version, found.data or {}, about.annotations or {})

    def merge_config_map(
        self,
        read: ConfigMap,
        data: Mapping[str, str | None],
        annotations: Mapping[str, str | None],
    ) -> bool:
        """Set some keys and annotations of a config map, or remove those that are None.

        Returns:
            Whether it was written; it is not if it has changed since it was read.
        """
        # Server-side apply would remove what its manager applied before and leaves out now.
        about = {"resourceVersion": read.version, "annotations": annotations}
        request = self._core.patch_namespaced_config_map
        body = {"metadata": about, "data": data}
        try:
            found = self._get(request, read.name, self.name, body, field_manager=_MANAGER)
        except ConflictError:
            return False
        return found is not None

    def secret_keys(self, name: str) -> frozenset[str] | None:
        """Return a secret's keys, or None if there is none of that name."""
        found = self._get(self._core.read_namespaced_secret, name, self.name)
        return None if found is None else frozenset(found.data or {})

    def service_account(self, name: str) -> Mapping[str, str] | None:
        """Return a service account's annotations, or None if there is none of that name."""
        found = self._get(self._core.read_namespaced_service_account, name, self.name)
        return None if found is None else found.metadata.annotations or {}

    def quotas(self) -> Mapping[str, Mapping[str, Decimal]]:
        """Return what the namespace's pods may use at a time, by the name of the quota."""
        found = self._get(self._core.list_namespaced_resource_quota, self.name).items
        return {
            quota.metadata.name: _quantities(quota.spec.hard)
            for quota in found
            if not quota.spec.scopes and not quota.spec.scope_selector  # for all pods
        }

    def nodes(self, labels: Mapping[str, str]) -> list[Node]:
        """Return the nodes that have these labels."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        found = self._get(self._core.list_node, label_selector=selector).items
        return [
            Node(
                _quantities(node.status.allocatable),
                [taint for taint in node.spec.taints or [] if taint.effect != "PreferNoSchedule"],
            )
            for node in found
        ]

    def storage_classes(self) -> Mapping[str, bool]:
        """Return the cluster's storage classes by name, and which is the default."""
        classes = kubernetes.client.StorageV1Api(self._client)
        return {
            each.metadata.name: (each.metadata.annotations or {}).get(_DEFAULT_CLASS) == "true"
            for each in self._get(classes.list_storage_class).items
        }

    def has_queue(self, name: str) -> bool:
        """Return whether the namespace has a queue of Kueue's."""
        return self._kueue_has("localqueues", name, self.name)

    def has_queue_priority(self, name: str) -> bool:
        """Return whether Kueue has a priority class."""
        return self._kueue_has("workloadpriorityclasses", name)

    def _kueue_has(self, plural: str, name: str, *namespace: str) -> bool:
        path = f"/apis/{_KUEUE}"
        options = {"auth_settings": ["BearerToken"], "_return_http_data_only": True}
        group = self._get(self._client.call_api, path, "GET", response_type="V1APIGroup", **options)
        if group is None:
            return False
        objects = kubernetes.client.CustomObjectsApi(self._client)
        request = (
            objects.get_namespaced_custom_object if namespace else objects.get_cluster_custom_object
        )
        version = group.preferred_version.version
        return self._get(request, _KUEUE, version, *namespace, plural, name) is not None

    def knows_train_jobs(self) -> bool:
        """Return whether Kubeflow Trainer is installed."""
        jobs = kubernetes.client.CustomObjectsApi(self._client)
        found = self._get(jobs.get_api_resources, GROUP, VERSION)
        return found is not None and any(each.name == "trainjobs" for each in found.resources)

    def has_training_runtime(self, name: str) -> bool:
        """Return whether the cluster has a runtime for TrainJobs."""
        jobs = kubernetes.client.CustomObjectsApi(self._client)
        where = (GROUP, VERSION, "clustertrainingruntimes", name)
        return self._get(jobs.get_cluster_custom_object, *where) is not None

    def may_create_train_jobs(self, service_account: str) -> bool:
        """Return whether a service account of the namespace may create TrainJobs there."""
        attributes = {
            "namespace": self.name,
            "group": GROUP,
            "resource": "trainjobs",
            "verb": "create",
        }
        user = f"system:serviceaccount:{self.name}:{service_account}"
        groups = ["system:authenticated", "system:serviceaccounts"]
        groups.append(f"system:serviceaccounts:{self.name}")
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "LocalSubjectAccessReview",
            "metadata": {"namespace": self.name},
            "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
        }
        rights = kubernetes.client.AuthorizationV1Api(self._client)
        request = rights.create_namespaced_local_subject_access_review
        return bool(self._get(request, self.name, review).status.allowed)

    def pods(self, run: str) -> list[Any]:
        """Return the pods of a KFP run."""
        selector = _OF_RUN.format(run)
        found = self._get(self._core.list_namespaced_pod, self.name, label_selector=selector)
        return list(found.items) if found else []

    def warnings(self) -> list[Any]:
        """Return the events that warn of something."""
        selector = "type=Warning"
        found = self._get(self._core.list_namespaced_event, self.name, field_selector=selector)
        return list(found.items) if found else []

    def nodes_of_argo(self, run: str) -> list[Mapping[str, Any]]:
        """Return the nodes of a KFP run's workflow, as Argo describes them."""
        workflows = kubernetes.client.CustomObjectsApi(self._client)
        found = self._get(
            workflows.list_namespaced_custom_object,
            *("argoproj.io", "v1alpha1", self.name, "workflows"),
            label_selector=_OF_RUN.format(run),
        )
        nodes: list[Mapping[str, Any]] = []
        for workflow in found["items"] if found else []:
            status = workflow.get("status", {})
            packed = base64.b64decode(status.get("compressedNodes", ""))  # of large workflows
            with contextlib.suppress(gzip.BadGzipFile):
                known = json.loads(gzip.decompress(packed)) if packed else status.get("nodes", {})
                nodes += known.values()
        return nodes

    def log(self, pod: str) -> str:
        """Return the end of the log of a pod of KFP's."""
        log: str | None = self._get(
            self._core.read_namespaced_pod_log,
            pod,
            self.name,
            container="main",
            tail_lines=_LINES_OF_A_LOG,
        )
        return log or ""

    def _get(self, request: Any, *args: Any, **options: Any) -> Any:
        try:
            return request(*args, _request_timeout=_SECONDS_TO_ANSWER, **options)
        except ApiException as error:
            if error.status == 404:
                return None
            kind = ConflictError if error.status == 409 else UnknownError
            raise kind(f"Kubernetes answers {error.status} {error.reason}") from None
        except HTTPError as error:
            raise UnknownError(f"Kubernetes does not answer ({type(error).__name__})") from None


def _quantities(texts: Mapping[str, str] | None) -> dict[str, Decimal]:
    return {name: parse_quantity(text) for name, text in (texts or {}).items()}
