"""A stand-in for a cluster with Kubeflow Trainer: Kubernetes' API as its client speaks it.

It takes only TrainJobs that have the schema of its generation, and that Trainer's webhook takes. A
test plays Trainer's controller, and the nodes.
"""

import copy
import itertools
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import yaml

from tests.double import Double
from tests.trainjob.generations import NEWEST, PATCHES, schema

NAMESPACE = "team"
LAUNCHER = "run-finetune-1"
_JOBS = f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{NAMESPACE}/trainjobs"
_PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
_EVENTS = f"/api/v1/namespaces/{NAMESPACE}/events"
_OPENAPI = "/openapi/v3/apis/trainer.kubeflow.org/v1alpha1"
_KIND = {"group": "trainer.kubeflow.org", "version": "v1alpha1", "kind": "TrainJob"}
_TORCH = ("PET_NNODES", "PET_NPROC_PER_NODE", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT")

Job = dict[str, Any]


class Node:
    """A pod of a TrainJob, which a test lets log and end."""

    def __init__(self, job: str, number: int, attempt: int) -> None:
        self.number, self.restarts, self.created = number, 0, _time()
        self.state: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: dict[str, Any] = {}
        self.phase, self.conditions = "Pending", list[dict[str, str]]()
        self.logs: list[list[tuple[str, str]]] = [[]]
        self.name = f"{job}-node-0-{number}-{attempt}"
        self.job, self._grown = job, threading.Condition()

    def unschedulable(self, message: str) -> None:
        self.conditions = [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": message,
            }
        ]

    def waits(self, reason: str, message: str) -> None:
        self.state = {"waiting": {"reason": reason, "message": message}}

    def run(self) -> None:
        self.conditions, self.phase = [], "Running"
        self.state = {"running": {"startedAt": _time()}}

    def log(self, *lines: str) -> None:
        with self._grown:
            self.logs[-1] += [(_time(nanoseconds=True), line) for line in lines]
            self._grown.notify_all()

    def end(self, code: int, reason: str = "") -> None:
        with self._grown:
            self.phase = "Failed" if code else "Succeeded"
            self.state = {"terminated": _terminated(code, reason)}
            self._grown.notify_all()

    def restart(self, code: int, reason: str = "") -> None:
        """End the container, and start it again in the same pod."""
        with self._grown:
            self.last_state = {"terminated": _terminated(code, reason)}
            self.restarts += 1
            self.logs.append([])
            self.run()
            self._grown.notify_all()

    def lines(self, previous: bool, follow: bool, since: datetime | None) -> Iterator[str]:
        """Yield what the log holds, and as long as the container runs what comes."""
        if previous:
            yield from self._after(self.logs[-2], since)
            return
        run, given = len(self.logs), 0
        while True:
            with self._grown:
                log = self.logs[run - 1]
                over = "running" not in self.state or len(self.logs) > run or not follow
                new = log[given:]
                given = len(log)
                if not new and not over:
                    self._grown.wait(0.05)
            yield from self._after(new, since)
            if not new and over:
                return

    def _after(self, lines: list[tuple[str, str]], since: datetime | None) -> Iterator[str]:
        for written, line in lines:
            if since is None or datetime.fromisoformat(written) >= since:
                yield f"{written} {line}\n"

    def pod(self) -> dict[str, Any]:
        return {
            "metadata": {
                "name": self.name,
                "uid": f"uid-{self.name}",
                "creationTimestamp": self.created,
                "labels": {
                    "jobset.sigs.k8s.io/jobset-name": self.job,
                    "jobset.sigs.k8s.io/replicatedjob-name": "node",
                    "batch.kubernetes.io/job-completion-index": str(self.number),
                },
            },
            "status": {
                "phase": self.phase,
                "conditions": self.conditions,
                "containerStatuses": []
                if self.conditions
                else [
                    {
                        "name": "node",
                        "state": self.state,
                        "lastState": self.last_state,
                        "restartCount": self.restarts,
                        "ready": False,
                        "image": "",
                        "imageID": "",
                    }
                ],
            },
        }


class KubernetesApi(Double):
    """The server; its attributes may be read and set at any time.

    Attributes:
        fields: What it says a TrainJob's spec has; None if it has no TrainJobs.
        jobs: The TrainJobs by name.
        nodes: Their pods.
        events: Warnings: kind and name of an object, reason and message.
        created: A queue of the TrainJobs that were created.
        requests: Method and path of each request.
        faults: By method and path: statuses to answer the next such requests with.
        refusals: By method and path: a status and a message for all such requests.
        deletes_at_once: Whether a TrainJob that is deleted is gone at once.
        cuts: After how many lines each of the next streams of logs breaks.
    """

    def __init__(self, generation: str = NEWEST) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.schema = schema(generation)
        spec = self.schema["$defs"]["TrainerV1alpha1TrainJobSpec"]["properties"]
        self.fields: list[str] | None = list(spec)
        self.patch = PATCHES[generation]
        self.jobs: dict[str, Job] = {}
        self.nodes: list[Node] = []
        self.events: list[tuple[str, str, str, str]] = []
        self.created: queue.Queue[Job] = queue.Queue()
        self.requests: list[tuple[str, str]] = []
        self.faults: dict[tuple[str, str], list[int]] = {}
        self.refusals: dict[tuple[str, str], tuple[int, str]] = {}
        self.deletes_at_once = True
        self.cuts: list[int] = []
        self.attempts = itertools.count(1)

    def kubeconfig(self, path: Path) -> Path:
        """Write a configuration of kubectl's that leads here."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "c", "cluster": {"server": self.endpoint}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [
                {"name": "x", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}
            ],
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def start(self, job: Job) -> list[Node]:
        """Make the pods of a TrainJob, as Trainer and JobSet do."""
        number = job["spec"]["trainer"]["numNodes"]
        attempt = next(self.attempts)
        nodes = [Node(job["metadata"]["name"], each, attempt) for each in range(number)]
        self.nodes += nodes
        return nodes

    def another(self, node: Node) -> Node:
        """Make the pod that comes after a node's."""
        self.nodes.append(Node(node.job, node.number, next(self.attempts)))
        return self.nodes[-1]

    def condition(self, job: Job, kind: str, status: str = "True", message: str = "") -> None:
        """Set a condition of a TrainJob."""
        conditions = job.setdefault("status", {}).setdefault("conditions", [])
        conditions[:] = [each for each in conditions if each["type"] != kind]
        conditions.append(
            {
                "type": kind,
                "status": status,
                "reason": f"{kind}Reason",
                "message": message,
                "lastTransitionTime": _time(),
            }
        )

    def deleted(self) -> list[str]:
        """Return the names of TrainJobs that somebody wanted to delete."""
        return [
            path.removeprefix(f"{_JOBS}/") for method, path in self.requests if method == "DELETE"
        ]

    def refused(self, method: str, what: str, status: int, message: str) -> None:
        """Refuse requests for `trainjobs`, `pods`, `events` or `log` from now on."""
        self.refusals[method, what] = (status, message)

    def take(self, job: Job) -> str | None:
        """Return why a TrainJob is not taken; None if it is."""
        errors = jsonschema.Draft202012Validator(self.schema).iter_errors(job)
        for error in errors:
            return f"strict decoding error: {error.json_path}: {error.message}"
        variables = [each["name"] for each in job["spec"]["trainer"].get("env", [])]
        if len(set(variables)) < len(variables):
            return "spec.trainer.env: Duplicate value"
        return None

    def deny(self, job: Job) -> str | None:
        """Return why Trainer's webhook denies a TrainJob; None if it does not."""
        for name in _names(job["spec"][self.patch]):
            if name != "node":
                return f"must not have {name} that doesn't exist in the runtime"
        for container in _containers(job["spec"][self.patch]):
            if container.get("env"):
                return "must not have envs for the node container"
        if any(each["name"] in _TORCH for each in job["spec"]["trainer"].get("env", [])):
            return "must not have reserved envs"
        return None


class _Handler(BaseHTTPRequestHandler):
    server: KubernetesApi
    protocol_version = "HTTP/1.1"  # for chunks

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:  # noqa: N802
        self._answer("GET", self._read)

    def do_POST(self) -> None:  # noqa: N802
        self._answer("POST", self._create)

    def do_DELETE(self) -> None:  # noqa: N802
        self._answer("DELETE", self._delete)

    def _answer(self, method: str, answer: Callable[[str, dict[str, str], Any], None]) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((method, url.path))
        what = (method, "log" if url.path.endswith("/log") else _what(url.path))
        if self.server.faults.get(what):
            self._fail(self.server.faults[what].pop(0), "not now")
        elif what in self.server.refusals:
            self._fail(*self.server.refusals[what])
        else:
            answer(url.path, query, json.loads(content) if content else None)

    def _read(self, path: str, query: dict[str, str], body: Any) -> None:
        jobs, name = self.server.jobs, path.rpartition("/")[2]
        if path == _OPENAPI and self.server.fields is not None:
            self._send(200, _document(self.server.fields))
        elif path.startswith(f"{_JOBS}/") and name in jobs:
            self._send(200, jobs[name])
        elif path == _PODS:
            wanted = dict(each.split("=") for each in query["labelSelector"].split(","))
            pods = [node.pod() for node in self.server.nodes]
            found = [pod for pod in pods if wanted.items() <= pod["metadata"]["labels"].items()]
            self._send(200, {"items": found})
        elif path == _EVENTS:
            assert query["fieldSelector"] == "type=Warning"
            self._send(200, {"items": [_event(*event) for event in self.server.events]})
        elif path == f"{_PODS}/{LAUNCHER}":
            self._send(200, _launcher())
        elif path.endswith("/log"):
            self._log(path.split("/")[-2], query)
        else:
            self._fail(404, f"{path} not found")

    def _create(self, path: str, query: dict[str, str], job: Any) -> None:
        assert path == _JOBS and query["fieldValidation"] == "Strict"
        name = job["metadata"]["name"]
        if (error := self.server.take(job)) is not None:
            self._fail(400, error)
        elif (error := self.server.deny(job)) is not None:
            webhook = "validator.trainjob.trainer.kubeflow.org"
            self._fail(403, f'admission webhook "{webhook}" denied the request: {error}')
        elif name in self.server.jobs:
            self._fail(409, f'trainjobs.trainer.kubeflow.org "{name}" already exists')
        else:
            job["metadata"]["creationTimestamp"] = _time()
            self.server.jobs[name] = job
            self.server.created.put(job)
            self._send(201, copy.deepcopy(job))

    def _delete(self, path: str, query: dict[str, str], body: Any) -> None:
        name = path.rpartition("/")[2]
        assert query["propagationPolicy"] == "Foreground"
        if name not in self.server.jobs:
            self._fail(404, f"{name} not found")
            return
        if self.server.deletes_at_once:
            del self.server.jobs[name]
        else:
            self.server.jobs[name]["metadata"]["deletionTimestamp"] = _time()
        self._send(200, {"status": "Success"})

    def _log(self, name: str, query: dict[str, str]) -> None:
        found = [node for node in self.server.nodes if node.name == name]
        if not found or (
            "previous" in query and len(found[0].logs) == 1 and _is(query, "previous")
        ):
            self._fail(404 if not found else 400, "no such container")
            return
        since = None
        if "sinceSeconds" in query:
            since = datetime.now(UTC) - timedelta(seconds=int(query["sinceSeconds"]))
        left = self.server.cuts.pop(0) if self.server.cuts else None
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in found[0].lines(_is(query, "previous"), _is(query, "follow"), since):
            if left == 0:
                self._chunk(line[:-3].encode())  # in the middle of a line
                self.close_connection = True
                return
            self._chunk(line.encode())
            left = None if left is None else left - 1
        self._chunk(b"")

    def _chunk(self, content: bytes) -> None:
        try:
            self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
            self.wfile.flush()
        except OSError:  # nobody listens any more
            self.close_connection = True

    def _fail(self, status: int, message: str) -> None:
        self._send(status, {"kind": "Status", "status": "Failure", "message": message})

    def _send(self, status: int, content: Any) -> None:
        encoded = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)


def _what(path: str) -> str:
    return next((kind for kind in ("trainjobs", "pods", "events") if kind in path), "openapi")


def _is(query: dict[str, str], name: str) -> bool:
    return query.get(name, "False").lower() == "true"


def _document(fields: list[str]) -> dict[str, Any]:
    """Return an OpenAPI document as the API server publishes it of a CRD, as far as we read it."""
    spec = {"type": "object", "properties": {field: {} for field in fields}}
    schemas = {
        "org.kubeflow.trainer.v1alpha1.TrainJobList": {"x-kubernetes-group-version-kind": []},
        "org.kubeflow.trainer.v1alpha1.TrainJob": {
            "type": "object",
            "properties": {"spec": spec},
            "x-kubernetes-group-version-kind": [_KIND],
        },
    }
    return {"openapi": "3.0.0", "components": {"schemas": schemas}}


def _launcher() -> dict[str, Any]:
    """Return the pod of the launcher, as KFP and Argo make it."""
    return {
        "metadata": {
            "name": LAUNCHER,
            "labels": {
                "app.kubernetes.io/name": "webly",
                "app.kubernetes.io/part-of": "paper",
                "app.kubernetes.io/component": "finetune",
                "workflows.argoproj.io/workflow": "run",
            },
            "ownerReferences": [
                {
                    "apiVersion": "argoproj.io/v1alpha1",
                    "kind": "Workflow",
                    "name": "run",
                    "uid": "uid-run",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {"serviceAccountName": "pipeline-runner", "containers": []},
        "status": {"phase": "Running"},
    }


def _event(kind: str, name: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{name}.1"},
        "involvedObject": {"kind": kind, "name": name},
        "type": "Warning",
        "reason": reason,
        "message": message,
    }


def _names(patch: Any) -> Iterator[str]:
    """Yield the names of the jobs and containers that a patch is for."""
    for found in _objects(patch):
        for key in ("targetJobs", "replicatedJobs", "containers"):
            yield from (each["name"] for each in found.get(key, []))


def _containers(patch: Any) -> Iterator[dict[str, Any]]:
    for found in _objects(patch):
        yield from found.get("containers", [])


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    for child in children:
        yield from _objects(child)


def _terminated(code: int, reason: str) -> dict[str, Any]:
    reason = reason or ("Error" if code else "Completed")
    # Of a container that was lost with its machine a kubelet knows no times.
    now = None if reason == "ContainerStatusUnknown" else _time()
    return {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now}


def _time(nanoseconds: bool = False) -> str:
    now = time.time_ns()
    text = datetime.fromtimestamp(now // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{now % 10**9:09d}Z" if nanoseconds else f"{text}Z"
