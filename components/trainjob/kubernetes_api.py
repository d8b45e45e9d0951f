"""Kubernetes' API: TrainJobs, and the pods of their nodes.

Permissions needed, besides every service account's: `create`, `get` and `delete` on
`trainjobs.trainer.kubeflow.org`, `get` and `list` on `pods`, `get` on `pods/log`, and, to say why
there are no pods, `list` on `events`.
"""

import json
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes
from kubernetes.client import ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from components.shared.stage import retry
from components.shared.stage.errors import TransientError, UserError
from components.trainjob.job import GROUP, NODE, VERSION
from components.trainjob.pods import Launcher, NodePod, launcher, node_pod, nodes_of

logger = logging.getLogger(__name__)

# An API server that is updated or moved is back within minutes. Nodes must not run out of patience
# (`components.trainjob.node`) meanwhile: between heartbeats two requests may take that long each.
_PATIENCE, _FIRST_PAUSE, _LONGEST_PAUSE = 280.0, 1.0, 30.0  # seconds
_TIMEOUTS = (10, 60)  # seconds to connect, and to wait for an answer
_LOG_TIMEOUTS = (10, 300)  # nodes may be silent for long; then their log is requested again
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class ClusterError(TransientError):
    """The API does not answer: nothing is wrong with the request, try again later."""


class Cluster:
    """The TrainJobs of the namespace that this process runs in.

    All methods retry with backoff while the API cannot answer.

    Raises:
        ClusterError: It could not for almost five minutes.
        UserError: It never will: no permission, or an object that it rejects.
    """

    def __init__(self) -> None:
        """Connect with this pod's credentials, or with `KUBECONFIG`'s.

        Raises:
            UserError: This is not a pod of a cluster.
        """
        configuration = kubernetes.client.Configuration()
        try:
            if "KUBECONFIG" in os.environ:
                _, context = kubernetes.config.list_kube_config_contexts(os.environ["KUBECONFIG"])
                self._namespace = context["context"].get("namespace", "default")
                kubernetes.config.load_kube_config(
                    os.environ["KUBECONFIG"], client_configuration=configuration
                )
            else:
                kubernetes.config.load_incluster_config(client_configuration=configuration)
                self._namespace = _NAMESPACE.read_text().strip()
        except ConfigException:
            raise UserError(
                "not in a pod: a stage runs on several nodes only on a Kubernetes cluster; run the "
                "stage itself here: `python -m components.<stage>`"
            ) from None
        # `_ask` says what is wrong, once.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        self._client = kubernetes.client.ApiClient(configuration)
        self._core = kubernetes.client.CoreV1Api(self._client)
        jobs = kubernetes.client.CustomObjectsApi(self._client)
        self._get, self._create = (
            jobs.get_namespaced_custom_object,
            jobs.create_namespaced_custom_object,
        )
        self._delete = jobs.delete_namespaced_custom_object
        self._jobs = {
            "group": GROUP,
            "version": VERSION,
            "namespace": self._namespace,
            "plural": "trainjobs",
        }

    def launcher(self) -> Launcher:
        """Return this process's own pod."""
        name = os.environ.get("KFP_POD_NAME")
        if not name:
            raise UserError("KFP_POD_NAME is not set: a TrainJob's launcher must be started by KFP")
        return launcher(self._ask(self._core.read_namespaced_pod, name, self._namespace))

    def job_fields(self) -> Collection[str]:
        """Return the fields of a TrainJob's spec on this cluster; none if it has no TrainJobs.

        From the schema that the API server publishes to every service account: reading the CRD
        itself takes cluster-wide permissions.
        """
        document = self._ask(
            self._client.call_api,
            f"/openapi/v3/apis/{GROUP}/{VERSION}",
            "GET",
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
            response_type="object",
            _return_http_data_only=True,
            expected=404,
        )
        kind = {"group": GROUP, "version": VERSION, "kind": "TrainJob"}
        for schema in (document or {}).get("components", {}).get("schemas", {}).values():
            if kind in schema.get("x-kubernetes-group-version-kind", []):
                fields: dict[str, Any] = schema["properties"]["spec"]["properties"]
                return fields.keys()
        return ()

    def job(self, name: str) -> dict[str, Any] | None:
        """Return a TrainJob, or None if there is none of that name."""
        found: dict[str, Any] | None = self._ask(self._get, **self._jobs, name=name, expected=404)
        return found

    def create(self, manifest: Mapping[str, Any]) -> bool:
        """Create a TrainJob; return False if there is one of that name."""
        # Strict: the cluster would silently drop a field that it does not know.
        created = self._ask(
            self._create, **self._jobs, body=manifest, field_validation="Strict", expected=409
        )
        return created is not None

    def delete(self, name: str) -> None:
        """Delete a TrainJob, if there is one; it disappears once its nodes have ended."""
        self._ask(
            self._delete, **self._jobs, name=name, propagation_policy="Foreground", expected=404
        )

    def pods(self, job: str) -> list[NodePod]:
        """Return the pods of a TrainJob's nodes; a node may have had several."""
        found = self._ask(
            self._core.list_namespaced_pod, self._namespace, label_selector=nodes_of(job)
        )
        return [node_pod(pod) for pod in found.items]

    def warnings(self, job: str) -> list[str]:
        """Return why pods of a TrainJob's nodes cannot be created, or why that is not known.

        Without retries, and nothing is raised: a job can do without.
        """
        names = (job, f"{job}-{NODE}-0")  # the TrainJob and its JobSet, and their Job
        try:
            events = self._core.list_namespaced_event(
                self._namespace, field_selector="type=Warning", _request_timeout=_TIMEOUTS
            ).items
        except (ApiException, HTTPError) as error:
            return [f"no events: {_refusal(error)}"]
        # A pod that cannot be created has another name each time.
        pod = re.compile(rf"{re.escape(names[1])}-\d+-\w+")
        return [
            f"{about.kind}: {each.reason}: {pod.sub(NODE, each.message or '')}"
            for each in events
            if (about := each.involved_object).name in names
        ]

    def log(self, pod: str, *, seconds: int | None, previous: bool = False) -> Iterator[str]:
        """Yield a node's log lines, each with its timestamp in front, until its container ends.

        Args:
            pod: The pod's name.
            seconds: How old the first line may be; None for the whole log.
            previous: Whether to read the log from before the container's last restart.

        Raises:
            ClusterError: The connection is broken; there are no retries here.
        """
        since = {} if seconds is None else {"since_seconds": seconds}
        try:
            answer = self._core.read_namespaced_pod_log(
                pod,
                self._namespace,
                container=NODE,
                follow=not previous,
                previous=previous,
                timestamps=True,
                _preload_content=False,
                _request_timeout=_LOG_TIMEOUTS,
                **since,
            )
        except (ApiException, HTTPError) as error:
            if isinstance(error, ApiException) and error.status in (400, 404):
                return  # the container or the pod is gone
            raise ClusterError(_text(error)) if _transient(error) else _refusal(error) from None
        try:
            rest = b""
            for part in answer.stream(2**16):
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace")
            if rest:
                yield rest.decode(errors="replace")
        except HTTPError as error:
            raise ClusterError(_text(error)) from None
        finally:
            answer.close()

    def _ask(
        self, request: Callable[..., Any], *args: Any, expected: int | None = None, **options: Any
    ) -> Any:
        """Return a request's result; None for an expected status."""
        pauses = retry.pauses(_PATIENCE, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
        while True:
            try:
                return request(*args, **options, _request_timeout=_TIMEOUTS)
            except (ApiException, HTTPError) as error:
                if isinstance(error, ApiException) and error.status == expected:
                    return None
                if not _transient(error):
                    raise _refusal(error) from None
                pause = next(pauses, None)
                if pause is None:
                    raise ClusterError(_text(error)) from None
                logger.warning("%s; retrying in %.1f s", _text(error), pause)
            time.sleep(pause)


def _transient(error: Exception) -> bool:
    if isinstance(error, ApiException):
        return error.status in (0, 408, 429) or error.status >= 500
    return True


def _refusal(error: Exception) -> UserError:
    text = _text(error)
    # A webhook that denies a request, and an exceeded quota, also answer with 403.
    if isinstance(error, ApiException) and error.status in (401, 403) and "cannot" in text:
        text += ": apply k8s/trainer, whose Role gives the run's service account these permissions"
    return UserError(text)


def _text(error: Exception) -> str:
    """Return the error on one line, without the headers in the client's own text."""
    if not isinstance(error, ApiException):
        return f"Kubernetes does not answer ({type(error).__name__})"
    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = error.reason
    return f"Kubernetes answers {error.status}: {message}"
