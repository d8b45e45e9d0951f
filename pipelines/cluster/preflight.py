"""Checks of what must be in place before a run of days is started."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.stage.errors import StorageError, UserError
from components.shared.storage import filesystem
from components.trainjob.settings import DEFAULT_RUNTIME
from pipelines import task_checks
from pipelines.cluster import argo, buckets
from pipelines.cluster.checks import Check, existing, looked_up
from pipelines.cluster.estimate import Estimate, estimate
from pipelines.cluster.kubernetes_api import ConfigMap, Namespace, UnknownError
from pipelines.cluster.node_pools import node_pools
from pipelines.cluster.pod_settings import CERTIFICATES, CERTIFICATES_FOLDER, HUB_SECRET
from pipelines.cluster.quotas import quotas
from pipelines.cluster.registries import images
from pipelines.run import graph
from pipelines.run.graph import Graph, Task

# KFP's service accounts of pods: single-user, and on a multi-user Kubeflow.
_SERVICE_ACCOUNTS = ("pipeline-runner", "default-editor")
# The annotation by which a service account has access to S3.
_ROLE = "eks.amazonaws.com/role-arn"
_SESSION_TOKEN = "sessiontoken"  # which only temporary keys have
# Seconds after which a store is reported as not reachable from this machine.
_SECONDS_FOR_STORAGE = "15"


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

    secrets = keys("secretAsEnv", "secretName", "secretKey", optional=True)
    return Needs(
        keys("configMapAsEnv", "configMapName", "configMapKey", optional=False),
        # A pod starts without an optional secret, but S3 denies it access.
        {
            name: entries - {_SESSION_TOKEN}
            for name, entries in secrets.items()
            if name != HUB_SECRET
        },
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
    yield from images(pipeline.images)
    needed = needs(file)
    settings: dict[str, str] = {}
    for name, keys in needed.config_maps.items():
        content: Any = looked_up(namespace.config_map, name)
        settings |= content if isinstance(content, dict) else {}
        remedy = f"kubectl apply -n {namespace.name} -k k8s/overlays/cluster"
        yield _object("config map", name, content, keys, remedy)
    for name, keys in needed.secrets.items():
        yield _credentials(namespace, name, keys, service_account)
    authority = Path(settings.get("AWS_CA_BUNDLE", ""))
    if authority.is_relative_to(CERTIFICATES_FOLDER):
        content = looked_up(namespace.config_map, CERTIFICATES)
        remedy = f"kubectl -n {namespace.name} create configmap {CERTIFICATES} --from-file=ca.crt"
        keys = frozenset([authority.name])
        yield _object("config map", CERTIFICATES, content, keys, remedy)
    if service_account:
        there = looked_up(namespace.service_account, service_account)
        remedy = "create it, with the rights of KFP's own (k8s/overlays/workload-identity)"
        yield existing("account", service_account, there, remedy)
    yield from _named(namespace, pipeline.tasks)
    yield from node_pools(namespace, pipeline)
    yield from quotas(namespace, pipeline.tasks)
    yield from _argo(pipeline.tasks)
    if any(task.num_nodes for task in pipeline.tasks):
        yield from _trainer(namespace, settings, service_account)
    os.environ.setdefault("WEBLY_STORAGE_TIMEOUT", _SECONDS_FOR_STORAGE)
    for name in ("WEBLY_STORE", "WEBLY_CHECKPOINTS"):
        uri = settings.get(name) or os.environ.get(name, "")
        yield (
            buckets.writable("bucket", uri)
            if uri
            else Check("bucket", "unknown", f"set {name} to the config map's future value")
        )
    yield from _weights(pipeline.tasks, settings)
    local = task_checks.folders(pipeline.tasks)
    yield from (Check("folder", "missing", folder.refusal) for folder in local)
    dataset = str(pipeline.form.get("dataset", ""))
    others = (str(task.parameters.get("external_validation")) for task in pipeline.tasks)
    given = filter(filesystem.is_s3, dict.fromkeys((dataset, *others)))
    checks = [buckets.data_set(uri) for uri in given]
    yield from checks
    if filesystem.is_s3(dataset) and all(check.state == "ok" for check in checks):
        yield from _surveys(pipeline)


def _weights(tasks: Sequence[Task], settings: Mapping[str, str]) -> Iterator[Check]:
    """Check that initial weights are what timm loads, and say which pods fetch them."""
    for task in tasks:
        if task.step != "initial_model":
            continue
        weights = str(task.parameters["weights"])
        if task_checks.is_fetched(task):
            hub = settings.get("HF_ENDPOINT", "huggingface.co")
            detail = f"the pod of {task.name} fetches {weights} from {hub}: it needs a way there"
            yield Check("weights", "unknown", f"{detail}, or a folder on S3 in its place")
        elif filesystem.is_s3(weights):
            try:
                task_checks.check_weights([task])
            except StorageError as error:
                yield Check("weights", "unknown", f"not reached from here: {error}")
            except UserError as error:
                yield Check("weights", "missing", str(error))
            else:
                yield Check("weights", "ok", weights)


def estimates(pipeline: Graph, images: int, images_per_second: float) -> Iterator[str]:
    """Yield lines with an estimate of what the pipeline takes."""
    found = estimate(pipeline, images, images_per_second)
    by_step = ", ".join(f"{step} {hours:,.1f}" for step, hours in found.gpu_hours.items())
    total = f"{sum(found.gpu_hours.values()):,.0f}, if nothing is cached: {by_step or 'none'}"
    if found.unknown:
        total = f"at least {total}" if by_step else "unknown"
    yield f"GPU hours    {total}"
    if found.unknown:
        yield f"  unknown    {', '.join(found.unknown)}: give the number of images with --images"
    rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in sorted(found.rates.items()))
    yield f"  assumed    images per second on a GPU of A100's class at 224 pixels: {rates}"
    yield f"gigabytes    {_gigabytes(found)}"


def _surveys(pipeline: Graph) -> Iterator[Check]:
    """Yield what ingest understands of each data set, unless that takes long."""
    from components.ingest import survey  # imports pyarrow: late, as most commands need none

    for task in pipeline.tasks:
        if task.step == "ingest":
            try:
                found = survey.survey_if_small(task.parameters["dataset"], task.parameters)
            except StorageError as error:
                yield Check("survey", "unknown", f"not reached from here: {error}")
            except UserError as error:
                yield Check("survey", "missing", str(error))
            else:
                yield from (Check("survey", "ok", line) for line in found.lines)


def _gigabytes(found: Estimate) -> str:
    shards = f"{found.shards:,.0f}" if found.shards else "unknown"
    return f"shards {shards}, checkpoints {found.checkpoints:,.1f}, models {found.models:,.1f}"


def _object(what: str, name: str, content: Any, keys: frozenset[str], remedy: str) -> Check:
    """Check that an object of the namespace exists and has its keys."""
    found = existing(what, name, content, remedy)
    absent = sorted(keys - set(content)) if found.state == "ok" else []
    if absent:
        return Check(what, "missing", f"{name} has no {', '.join(absent)}: {remedy}")
    return found


def _credentials(
    namespace: Namespace, name: str, keys: frozenset[str], service_account: str
) -> Check:
    """Check that pods have the store's keys, or a service account with a role in their place."""
    content = looked_up(namespace.secret_keys, name)
    if content is None:
        for account in [service_account] if service_account else _SERVICE_ACCOUNTS:
            found = looked_up(namespace.service_account, account)
            if isinstance(found, Mapping) and _ROLE in found:
                detail = f"none, but {account} has the role {found[_ROLE]}"
                return Check("secret", "ok", f"{name}: {detail}")
        if service_account:
            detail = f"none: pods may do what {service_account} may"
            return Check("secret", "unknown", f"{name}: {detail}")
    remedy = (
        f"kubectl -n {namespace.name} create secret generic {name} "
        "--from-literal=accesskey=… --from-literal=secretkey=…"
    )
    return _object("secret", name, content, keys, remedy)


def _named(namespace: Namespace, tasks: Sequence[Task]) -> Iterator[Check]:
    """Check what the recipe names: secrets for registries, Kueue's queues, storage classes."""

    def names(attribute: str) -> list[str]:
        return sorted({getattr(task.pod, attribute) for task in tasks} - {""})

    for name in names("pull_secret"):
        remedy = f"kubectl -n {namespace.name} create secret docker-registry {name} …"
        yield existing("pull secret", name, looked_up(namespace.secret_keys, name), remedy)
    for name in names("queue"):
        remedy = f"no LocalQueue of Kueue's in {namespace.name}; change queue"
        yield existing("queue", name, looked_up(namespace.has_queue, name), remedy)
    for name in names("queue_priority"):
        remedy = "no WorkloadPriorityClass of Kueue's; change queue_priority"
        yield existing("priority", name, looked_up(namespace.has_queue_priority, name), remedy)
    for name in names("disk_class"):
        yield _disk_class(name, looked_up(namespace.storage_classes))


def _disk_class(name: str, classes: Any) -> Check:
    """Check that a storage class is among those of the cluster, or one of them its default."""
    if isinstance(classes, UnknownError):
        return existing("disk class", name, classes, "")
    known = ", ".join(classes) or "none"
    remedy = f"there are {known}; disk_class: node is for disks on nodes"
    if name == "default":
        return existing("disk class", name, any(classes.values()), f"none is: {remedy}")
    return existing("disk class", name, name in classes, remedy)


def _argo(tasks: Sequence[Task]) -> Iterator[Check]:
    """Check that Argo is set up for disks of storage classes, and say if it multiplies retries."""
    held = looked_up(Namespace(argo.NAMESPACE).annotated_config_map, argo.CONFIG_MAP)
    # The runtime of nodes has such settings itself, and their claims go with them.
    if any(task.pod.disk_class and not task.num_nodes for task in tasks):
        yield from _argo_settings(held)
    if not isinstance(held, ConfigMap):
        return
    policy, limit = argo.retries(held.data)
    if policy in ("Always", "OnFailure") and limit not in ("", "0"):
        detail = (
            f"its defaults retry ({policy}, {limit}) not only pods, also the graphs around them: a "
            "stage that keeps failing is tried more often than its retries say"
        )
        yield Check("Argo", "ok", detail)


def _argo_settings(held: Any) -> Iterator[Check]:
    name = f"ConfigMap {argo.CONFIG_MAP} in {argo.NAMESPACE}"
    if not isinstance(held, ConfigMap):
        yield existing(
            "Argo", name, held, "is Argo elsewhere? python -m pipelines.argo --namespace …"
        )
        return
    try:
        change = argo.applied(held.data, held.annotations)
    except UserError as error:
        yield Check("Argo", "missing", str(error))
        return
    what, remedy = "settings for disks of a class", "python -m pipelines.argo apply"
    yield existing("Argo", what, not change.changes, f"{remedy}; or set disk_class: node")
    yield from (Check("Argo", "missing", problem) for problem in change.problems)


def _trainer(
    namespace: Namespace, settings: Mapping[str, str], service_account: str
) -> Iterator[Check]:
    """Check what stages on several nodes need."""
    runtime = settings.get("WEBLY_TRAINJOB_RUNTIME", DEFAULT_RUNTIME)

    apply = f"kubectl apply -n {namespace.name} -k k8s/trainer"
    there = looked_up(namespace.knows_train_jobs)
    remedy = "install Kubeflow Trainer 2.0 or newer, or set every num_nodes to 1"
    yield existing("trainer", "TrainJobs", there, remedy)
    there = looked_up(namespace.has_training_runtime, runtime)
    remedy = f"{apply}, or name another with WEBLY_TRAINJOB_RUNTIME in the config map"
    yield existing("runtime", f"ClusterTrainingRuntime {runtime}", there, remedy)
    accounts = [service_account] if service_account else _SERVICE_ACCOUNTS
    allowed = [looked_up(namespace.may_create_train_jobs, account) for account in accounts]
    # One account with permission is enough; what could not be checked is not missing.
    there = True in allowed or next(filter(None, allowed), False)
    yield existing("rights", f"{' or '.join(accounts)} may create TrainJobs", there, apply)
    uri = settings.get("WEBLY_CHECKPOINTS", "")
    if uri and not filesystem.is_s3(uri):
        detail = f"WEBLY_CHECKPOINTS={uri}: the nodes share it: use s3://bucket/prefix"
        yield Check("bucket", "missing", detail)
