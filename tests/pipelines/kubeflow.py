"""A stand-in for a cluster: KFP's REST API as its SDK speaks it, and some of Kubernetes'.

It keeps what is uploaded, and plays the states that a test has prepared for runs.
"""

import email
import itertools
import json
import re
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.double import Double

_NEVER = "0001-01-01T00:00:00Z"  # KFP's time of what has not happened


def at(seconds: int) -> str:
    """Return the time so many seconds after the start of runs."""
    return f"2026-01-01T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z"


START = at(0)


def nodes(start: int = 0, /, **tasks: tuple[str, int]) -> list[dict[str, Any]]:
    """Return what KFP tells of the nodes of Argo's graph.

    Args:
        start: When they started, in seconds.
        tasks: A state and its end in seconds by task; `_` for `-`. `CACHED` is a task without a
            pod, `PENDING` one whose pod has not started, `DRIVER` one whose driver has not.
    """
    found = [_node("root", "RUNNING", 0, 0), _node("root-driver", "SUCCEEDED", 0, 3)]
    for name, (state, end) in tasks.items():
        task = name.replace("_", "-")
        match state:
            case "OMITTED":  # a phase of Argo's for which KFP has no state
                found += [_node(each, None, start, start) for each in (task, f"{task}-driver")]
                continue
            case "DRIVER":
                found.append(_node(f"{task}-driver", "PENDING", start, end))
                continue
            case "CACHED":
                states = ["SUCCEEDED", "SKIPPED"]
            case "PENDING":
                states = ["RUNNING", "RUNNING", "PENDING"]
            case _:
                states = [state] * 3
        found.append(_node(f"{task}-driver", "SUCCEEDED", start, start + 1))
        names = (task, "executor", "executor(0)")
        found += [_node(*each, start, end) for each in zip(names, states, strict=False)]
    return found


def _node(name: str, state: str | None, start: int, end: int) -> dict[str, Any]:
    unfinished = state in ("RUNNING", "PENDING")
    times = {"start_time": at(start), "end_time": _NEVER if unfinished else at(end)}
    return {"display_name": name, **times} | ({"state": state} if state else {})


def answered(content: Any) -> Any:
    """Return JSON as KFP answers it, from protobuf: all numbers are floating point to it.

    Go writes whole ones without a decimal point.
    """
    match content:
        case dict():
            return {name: answered(each) for name, each in content.items()}
        case list():
            return [answered(each) for each in content]
        case int() | float() if not isinstance(content, bool):
            number = float(content)
            return int(number) if number.is_integer() else number
    return content


class Kubeflow(Double):
    """The server; its attributes may be read and set at any time.

    Attributes:
        token: If not empty, the only one that is let in.
        multi_user: What healthz says.
        requests: Method, path, query and body of each request.
        plays: What runs tell, one after the other; the last one for ever.
        history: The states that they have been in, and from which second on.
        faults: Statuses to answer the next looks at runs with; 0 is no answer for half a second,
            and then none at all.
        objects: Kubernetes' objects by path.
        forbidden: Paths that are answered with 403.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.token, self.multi_user = "", False
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.plays: list[tuple[str, list[dict[str, Any]]]] = [("SUCCEEDED", [])]
        self.history: list[tuple[str, int]] = []
        self.faults: list[int] = []
        self.objects: dict[str, Any] = {}
        self.forbidden: set[str] = set()
        self.kept: dict[str, dict[str, Any]] = {
            kind: {} for kind in ("pipelines", "versions", "experiments", "runs")
        }
        self.ids = itertools.count(1)

    def posted(self, path: str) -> list[Any]:
        """Return the bodies posted to a path."""
        return [
            body for method, where, _, body in self.requests if (method, where) == ("POST", path)
        ]

    def keep(self, kind: str, key: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Keep something under a new id."""
        identity = f"{kind[:-1]}-{next(self.ids)}"
        self.kept[kind][identity] = {**content, key: identity}
        return self.kept[kind][identity]

    def kubeconfig(self, path: Path, namespace: str = "kubeflow") -> Path:
        """Write a configuration of kubectl's that leads here."""
        context = {"cluster": "c", "user": "u", "namespace": namespace}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "c", "cluster": {"server": self.endpoint}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": context}],
        }
        path.write_text(yaml.safe_dump(content))
        return path


class Handler(BaseHTTPRequestHandler):
    """Answers a request."""

    server: Kubeflow

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:  # noqa: N802
        self._answer("GET")

    def do_POST(self) -> None:  # noqa: N802
        self._answer("POST")

    def do_PATCH(self) -> None:  # noqa: N802
        self._answer("PATCH")

    def _answer(self, method: str) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = self._body()
        self.server.requests.append((method, url.path, query, body))
        if self.server.token and self.headers["Authorization"] != f"Bearer {self.server.token}":
            self._send(401, {"message": "Unauthenticated"})
        elif url.path in self.server.forbidden:
            self._send(403, {"message": "Forbidden"})
        elif not url.path.startswith("/apis/v2beta1/"):
            found = self.server.objects.get(url.path)
            if method == "PATCH" and found is not None:
                self._send(*self._patched(found, body))
            else:
                self._send(200 if found is not None else 404, found or {})
        else:
            path = url.path.removeprefix("/apis/v2beta1/")
            status, content = self._kubeflow(method, path, query, body)
            if status:
                self._send(status, answered(content))
            else:
                time.sleep(0.5)

    def _patched(self, held: dict[str, Any], patch: Any) -> tuple[int, Any]:
        """Merge a patch into an object, unless it is for another version of it."""
        about = held["metadata"]
        if patch["metadata"].pop("resourceVersion") != about["resourceVersion"]:
            return 409, {"message": "the object has been modified"}
        _merge(held, patch)
        about["resourceVersion"] = str(int(about["resourceVersion"]) + 1)
        return 200, held

    def _kubeflow(
        self, method: str, path: str, query: Mapping[str, str], body: Any
    ) -> tuple[int, Any]:
        keep, kept = self.server.keep, self.server.kept
        match method, path.split("/"):
            case "GET", ["healthz"]:
                return 200, {"multi_user": self.server.multi_user}
            case "GET", ["pipelines" | "experiments" as kind]:
                return 200, {kind: self._named(kept[kind], query)}
            case "POST", ["pipelines"]:
                return 200, keep("pipelines", "pipeline_id", body)
            case "POST", ["pipelines", "upload_version"]:
                spec, *platforms = yaml.safe_load_all(body)
                content = {"pipeline_spec": spec, "platform_spec": dict(*platforms)}
                version = {
                    "pipeline_id": query["pipelineid"],
                    "display_name": query["name"],
                    "description": query.get("description", ""),
                    "pipeline_spec": content if platforms else spec,
                }
                return 200, keep("versions", "pipeline_version_id", version)
            case "GET", ["pipelines", pipeline, "versions"]:
                own = {k: v for k, v in kept["versions"].items() if v["pipeline_id"] == pipeline}
                return 200, {"pipeline_versions": self._named(own, query)}
            case "GET", ["pipelines", _, "versions", version]:
                return 200, kept["versions"][version]
            case "POST", ["experiments"]:
                return 200, keep("experiments", "experiment_id", body)
            case "POST", ["runs"]:
                return 200, keep("runs", "run_id", {**body, "created_at": START})
            case "GET", ["runs"]:
                own = [
                    run
                    for run in kept["runs"].values()
                    if run["experiment_id"] == query["experiment_id"]
                ]
                return 200, {"runs": own[::-1][: int(query["page_size"])]}
            case "GET", ["runs", identity]:
                return self._run(identity)
            case "POST", ["runs", action] if action.endswith(":retry"):
                return 200, {}
        return 404, {"message": f"{method} {path}: not found"}

    def _run(self, identity: str) -> tuple[int, Any]:
        if self.server.faults and (status := self.server.faults.pop(0)) != 200:
            return status, {}
        if identity not in self.server.kept["runs"]:
            return 404, {"message": f"Run {identity} not found"}
        plays = self.server.plays
        state, details = plays.pop(0) if len(plays) > 1 else plays[0]
        run = self.server.kept["runs"][identity]
        turns = [
            {"state": state, "update_time": at(seconds)} for state, seconds in self.server.history
        ]
        run |= {"state": state, "state_history": turns}
        return 200, {**run, "run_details": {"task_details": details}}

    def _named(self, kept: Mapping[str, Any], query: Mapping[str, str]) -> list[Any]:
        predicate = json.loads(query["filter"])["predicates"][0]
        assert (predicate["operation"], predicate["key"]) == (1, "display_name")
        name = predicate["stringValue"]
        return [each for each in kept.values() if each["display_name"] == name]

    def _body(self) -> Any:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/"):
            message = email.message_from_bytes(f"Content-Type: {kind}\n\n".encode() + content)
            (part,) = message.get_payload()
            return part.get_payload(decode=True).decode()
        return json.loads(content) if content else None

    def _send(self, status: int, content: Any) -> None:
        text = isinstance(content, str)
        encoded = content.encode() if text else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if text else "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)


def _merge(held: dict[str, Any], patch: Mapping[str, Any]) -> None:
    for name, value in patch.items():
        if isinstance(value, dict):
            _merge(held.setdefault(name, {}), value)
        elif value is None:
            held.pop(name, None)
        else:
            held[name] = value


def argo_pod(
    workflow: str, task: str, attempt: int, phase: str = "Failed", **status: Any
) -> dict[str, Any]:
    """Return a task's pod, as Argo names it."""
    node = f"{workflow}.root.{task}.executor({attempt})"
    return {
        "metadata": {
            "name": re.sub("[^a-z0-9]+", "-", node).strip("-"),
            "annotations": {"workflows.argoproj.io/node-name": node},
            "creationTimestamp": f"2026-01-01T00:0{attempt}:00Z",
        },
        "status": {"phase": phase, **status},
    }


def argo_workflow(**messages: str) -> dict[str, Any]:
    """Return a workflow with a node for each message; names are `task__Phase`, `_` for `-`."""
    found = {}
    for number, (name, message) in enumerate(messages.items()):
        task, phase = name.replace("__", ".").replace("_", "-").split(".")
        found[f"toy-1-{number}"] = {
            "name": f"toy-1.root.{task}.executor(0)",
            "type": "Pod",
            "phase": phase,
            "message": message,
        }
    return {"items": [{"status": {"nodes": found}}]}
