"""Checks of what must be in place before a run of days is started."""

import itertools
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import boto3

from components.shared.stage.errors import StorageError, UserError
from components.shared.storage import filesystem
from components.trainjob.settings import DEFAULT_RUNTIME
from pipelines.cluster.estimate import Estimate, estimate
from pipelines.cluster.kubernetes_api import Namespace, UnknownError
from pipelines.run import graph
from pipelines.run.graph import Graph

_MOST_ENTRIES = 10_000
# KFP's service accounts of pods: single-user, and on a multi-user Kubeflow.
_SERVICE_ACCOUNTS = ("pipeline-runner", "default-editor")
# Seconds after which a store is reported as not reachable from this machine.
_SECONDS_FOR_STORAGE = "15"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check.

    Attributes:
        what: What was checked.
        state: `unknown` if it could not be checked from here.
        detail: What was found, or what to do.
    """

    what: str
    state: Literal["ok", "missing", "unknown"]
    detail: str

    def __str__(self) -> str:
        return f"{self.state:8} {self.what:12} {self.detail}"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a compiled pipeline's pods need from their namespace.

    Attributes:
        config_maps: Keys by config map; only the required ones.
        secrets: Keys by secret.
    """

    config_maps: Mapping[str, frozenset[str]]
    secrets: Mapping[str, frozenset[str]]


def needs(file: Path) -> Needs:
    """Return what the pods of a compiled pipeline need from their namespace."""
    _, *platforms = graph.documents(file)
    executors = [
        executor
        for platform in platforms
        for executor in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
    ]

    def keys(kind: str, name: str, key: str, optional: bool) -> Mapping[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for executor in executors:
            for source in executor.get(kind, []):
                if optional or not source.get("optional"):
                    entries = frozenset(entry[key] for entry in source["keyToEnv"])
                    found[source[name]] = found.get(source[name], frozenset()) | entries
        return found

    return Needs(
        keys("configMapAsEnv", "configMapName", "configMapKey", optional=False),
        # A pod starts without an optional secret, but S3 denies it access.
        keys("secretAsEnv", "secretName", "secretKey", optional=True),
    )


def run(
    connect: Callable[[], str],
    namespace: Namespace,
    pipeline: Graph,
    file: Path,
    service_account: str = "",
) -> Iterator[Check]:
    """Yield the result of each check.

    Args:
        connect: Connects to KFP's API and returns its address; raises what `Cluster` does.
        namespace: Where the pods will run.
        pipeline: The pipeline to run, with the values of its form.
        file: Its compiled file.
        service_account: The pods'; empty for KFP's own.
    """
    try:
        yield Check("API", "ok", connect())
    except (RuntimeError, UserError) as error:
        yield Check("API", "missing", str(error))
    needed = needs(file)
    settings: dict[str, str] = {}
    for name, keys in needed.config_maps.items():
        content: Any = _looked_up(namespace.config_map, name)
        settings |= content if isinstance(content, dict) else {}
        yield _object("config map", name, content, keys, "kubectl apply -k k8s/overlays/cluster")
    for name, keys in needed.secrets.items():
        content = _looked_up(namespace.secret_keys, name)
        remedy = (
            f"kubectl -n {namespace.name} create secret generic {name} "
            "--from-literal=accesskey=… --from-literal=secretkey=…"
        )
        yield _object("secret", name, content, keys, remedy)
    yield from _nodes(namespace, pipeline)
    if any(task.num_nodes for task in pipeline.tasks):
        accounts = [service_account] if service_account else _SERVICE_ACCOUNTS
        yield from _trainer(namespace, settings, accounts)
    os.environ.setdefault("WEBLY_STORAGE_TIMEOUT", _SECONDS_FOR_STORAGE)
    for name in ("WEBLY_STORE", "WEBLY_CHECKPOINTS"):
        uri = settings.get(name) or os.environ.get(name, "")
        yield (
            _writable("bucket", uri)
            if uri
            else Check("bucket", "unknown", f"set {name} to the config map's future value")
        )
    yield _data_set(str(pipeline.form.get("dataset", "")))


def estimates(pipeline: Graph, images: int, images_per_second: float) -> Iterator[str]:
    """Yield lines with an estimate of what the pipeline takes."""
    found = estimate(pipeline, images, images_per_second)
    total = sum(found.gpu_hours.values())
    by_step = ", ".join(f"{step} {hours:,.1f}" for step, hours in found.gpu_hours.items())
    yield f"GPU hours    {total:,.0f}, if nothing is cached: {by_step or 'none'}"
    rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in sorted(found.rates.items()))
    yield f"  assumed    images per second on a GPU of A100's class at 224 pixels: {rates}"
    yield f"gigabytes    {_gigabytes(found)}"
    if found.unknown:
        yield f"  excluded   {', '.join(found.unknown)}: give the number of images with --images"


def _gigabytes(found: Estimate) -> str:
    shards = f"{found.shards:,.0f} of shards, " if found.shards else ""
    return f"{shards}{found.checkpoints:,.1f} of checkpoints, {found.models:,.1f} of models"


def _looked_up(request: Callable[..., Any], *args: object) -> Any:
    try:
        return request(*args)
    except UnknownError as error:
        return error


def _object(what: str, name: str, content: Any, keys: frozenset[str], remedy: str) -> Check:
    """Check that an object of the namespace exists and has its keys."""
    if isinstance(content, UnknownError):
        return Check(what, "unknown", f"{name}: {content}")
    if content is None:
        return Check(what, "missing", f"{name}: {remedy}")
    absent = sorted(keys - set(content))
    if absent:
        return Check(what, "missing", f"{name} has no {', '.join(absent)}: {remedy}")
    return Check(what, "ok", name)


def _nodes(namespace: Namespace, pipeline: Graph) -> Iterator[Check]:
    """Check that there are nodes for the largest pods with GPUs, as many as a stage needs."""
    wanted: dict[tuple[str, int], int] = {}
    for task in pipeline.tasks:
        kind = str(task.parameters.get("accelerator_type", ""))
        number, nodes = int(task.parameters.get("accelerator_count", 0)), task.num_nodes or 1
        if number:
            wanted[kind, nodes] = max(number, wanted.get((kind, nodes), 0))
    labels = pipeline.form.get("gpu_node_selector", {})
    where = ",".join(f"{name}={value}" for name, value in labels.items())
    for (kind, nodes), number in wanted.items():
        found = _looked_up(namespace.offers, kind, labels)
        if isinstance(found, UnknownError):
            yield Check("node pool", "unknown", str(found))
            continue
        pool = f"{len(found)} nodes" + (f" with {where}" if where else "")
        fit, most = sum(offer >= number for offer in found), max(found, default=0)
        if nodes == 1 and fit:
            yield Check("node pool", "ok", f"{number} of {kind}: one of {pool} offers {most}")
        elif fit >= nodes:
            detail = f"{number} of {kind} on each of {nodes} nodes: {fit} of {pool} offer them"
            yield Check("node pool", "ok", detail)
        else:
            many = f" on each of {nodes} nodes: {fit} offer them," if nodes > 1 else ":"
            yield Check(
                "node pool",
                "missing",
                f"{number} of {kind}{many} the most that one of {pool} offers is {most}; set "
                "gpu_node_selector and <stage>_gpus (a pool that scales from zero shows no nodes)",
            )


def _trainer(
    namespace: Namespace, settings: Mapping[str, str], accounts: Sequence[str]
) -> Iterator[Check]:
    """Check what stages on several nodes need."""
    runtime = settings.get("WEBLY_TRAINJOB_RUNTIME", DEFAULT_RUNTIME)

    def check(what: str, wanted: str, found: Any, remedy: str) -> Check:
        if isinstance(found, UnknownError):
            return Check(what, "unknown", f"{wanted}: {found}")
        return Check(what, "ok", wanted) if found else Check(what, "missing", f"{wanted}: {remedy}")

    apply = f"kubectl apply -n {namespace.name} -k k8s/trainer"
    there = _looked_up(namespace.knows_train_jobs)
    remedy = "install Kubeflow Trainer 2.0 or newer, or set every num_nodes to 1"
    yield check("trainer", "TrainJobs", there, remedy)
    there = _looked_up(namespace.has_training_runtime, runtime)
    remedy = f"{apply}, or name another with WEBLY_TRAINJOB_RUNTIME in the config map"
    yield check("runtime", f"ClusterTrainingRuntime {runtime}", there, remedy)
    allowed = [_looked_up(namespace.may_create_train_jobs, account) for account in accounts]
    # One account with permission is enough; what could not be checked is not missing.
    there = True in allowed or next(filter(None, allowed), False)
    yield check("rights", f"{' or '.join(accounts)} may create TrainJobs", there, apply)
    uri = settings.get("WEBLY_CHECKPOINTS", "")
    if uri and not filesystem.is_s3(uri):
        detail = f"WEBLY_CHECKPOINTS={uri}: the nodes share it: use s3://bucket/prefix"
        yield Check("bucket", "missing", detail)


def _out_of_reach(uri: str) -> str:
    """Return why a URI cannot be checked from here; empty if it can."""
    if not filesystem.is_s3(uri):
        return f"{uri}: not checked: a folder of the pods"
    if boto3.session.Session().get_credentials() is None:
        return f"{uri}: not checked: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"
    return ""


def _writable(what: str, uri: str) -> Check:
    """Put an object, list it and delete it."""
    unknown = _out_of_reach(uri)
    if unknown:
        return Check(what, "unknown", unknown)
    folder = f"{uri.rstrip('/')}/check-{secrets.token_hex(4)}"
    try:
        with tempfile.NamedTemporaryFile() as file:
            filesystem.put(Path(file.name), f"{folder}/probe")
        listed = [entry.name for entry in filesystem.listed(folder)]
        filesystem.remove(f"{folder}/probe")
    except StorageError as error:
        return Check(what, "unknown", f"not reached from here: {error}")
    except UserError as error:
        return Check(what, "missing", str(error))
    if listed != ["probe"]:
        return Check(what, "missing", f"{uri}: an object that was put there is not listed")
    return Check(what, "ok", f"{uri}: put, listed and deleted an object")


def _data_set(uri: str) -> Check:
    unknown = _out_of_reach(uri)
    if unknown:
        return Check("data set", "unknown", unknown)
    try:
        entries: Sequence[filesystem.Entry] = list(
            itertools.islice(filesystem.listed(uri), _MOST_ENTRIES)
        )
        for entry in entries[:1]:
            filesystem.read(f"{uri.rstrip('/')}/{entry.name}", 0, 1)
    except StorageError as error:
        return Check("data set", "unknown", f"not reached from here: {error}")
    except UserError as error:
        return Check("data set", "missing", str(error))
    if not entries:
        return Check("data set", "missing", f"{uri}: no files there; set dataset=s3://…")
    more = " or more" if len(entries) == _MOST_ENTRIES else ""
    return Check("data set", "ok", f"{uri}: {len(entries):,} files{more}, readable")
