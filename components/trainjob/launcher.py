"""Run a stage on several nodes: start a TrainJob, follow it, end as it does.

KFP's launcher has copied the stage's inputs into this pod. They are passed to the nodes through the
store (`components.trainjob.handover`), and the nodes' outputs come back the same way, so that to
KFP, and to the stages after it, this pod is the stage.

The TrainJob's name is derived from the outputs' URIs: a retry, which has the same, resumes the job
that an earlier attempt has left.
"""

import argparse
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from components.shared.stage import cli, container, environment, tries
from components.shared.stage.boundary import USER_ERROR
from components.shared.stage.errors import StorageError, UserError
from components.shared.storage import filesystem
from components.trainjob import settings
from components.trainjob.events import Events, JobError
from components.trainjob.handover import Handover
from components.trainjob.job import TrainJob, condition, job_name, number_of_nodes, running_since
from components.trainjob.kubernetes_api import Cluster, ClusterError
from components.trainjob.logs import NodeLogs
from components.trainjob.pods import NodePod
from components.trainjob.settings import Settings

logger = logging.getLogger(__name__)

_PAUSE = 5.0  # seconds between two looks
_SECONDS_BETWEEN_HEARTBEATS = 30.0
_SECONDS_FOR_LOGS = 20.0  # after the end
_SECONDS_FOR_DELETION = 900.0  # pods take their time to leave a checkpoint
_LABELS = "app.kubernetes.io/"  # pods have them for `kubectl get pods -l …` and network policies


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m components.trainjob",
        description="Run a stage on the nodes of a Kubeflow TrainJob, and end as they do.",
    )
    parser.add_argument("module", help="the module that runs the stage: components.finetune")
    parser.add_argument("executor_input", help="KFP's ExecutorInput, as JSON")
    given, flags = parser.parse_known_args(argv)
    module = given.module
    with cli.command(module.rpartition(".")[2]):
        tries.in_child_processes(tries.retries(), hopeless=USER_ERROR)
        run(module, container.request([given.executor_input, *flags]))


def run(module: str, executor_input: Mapping[str, Any]) -> None:
    """Run a stage on several nodes, which share `WEBLY_CHECKPOINTS`; see `launch`.

    Raises:
        UserError: It is a folder of this pod alone.
    """
    uri = environment.checkpoints()
    if not filesystem.is_s3(uri):
        raise UserError(f"WEBLY_CHECKPOINTS={uri}: the nodes share it: use s3://bucket/prefix")
    launch(module, executor_input, f"{uri}/trainjobs")


def launch(module: str, executor_input: Mapping[str, Any], folder: str) -> None:
    """Start a stage's TrainJob, or find it, follow it to its end, and fetch its outputs.

    Args:
        module: The module that runs the stage.
        executor_input: KFP's, with the parameters `num_nodes`, `node_image` and `task_config`.
        folder: The URI of the folder for handovers.

    Raises:
        UserError: The user can fix it, whether it is found here or by a node.
        JobError: The nodes have failed or took too long, or somebody has deleted their job.
        ClusterError: Kubernetes does not answer. The nodes keep running, for a retry to follow.
        StorageError: S3 does not answer; likewise.
    """
    cluster, configured = Cluster(), settings.from_environment()
    name = job_name(module, executor_input)
    handover = Handover(f"{folder}/{name}")
    job = _train_job(name, module, f"{folder}/{name}", executor_input, configured, cluster)
    manifest = job.manifest(cluster.job_fields())
    try:
        # An earlier attempt may have ended between fetching the outputs and telling KFP.
        taken = handover.take_back(executor_input)
        while not taken:
            is_new = _start(manifest, cluster, handover, executor_input)
            _follow(job, cluster, handover)
            taken = handover.take_back(executor_input)
            if not taken and is_new:
                raise JobError(f"the nodes of TrainJob {name} succeeded, but left no outputs")
            if not taken:
                logger.warning("TrainJob %s: its nodes gave up without a launcher; retrying", name)
                cluster.delete(name)
    except (UserError, JobError, SystemExit):
        _clean_up(name, cluster, handover)
        raise
    _clean_up(name, cluster, handover)


def _train_job(
    name: str,
    module: str,
    handover: str,
    executor_input: Mapping[str, Any],
    configured: Settings,
    cluster: Cluster,
) -> TrainJob:
    values, launcher = executor_input["inputs"]["parameterValues"], cluster.launcher()
    if "task_config" not in values:
        raise UserError(
            "KFP does not pass the task's GPUs, nodes and environment: num_nodes above 1 needs "
            "Kubeflow Pipelines 2.15 or newer"
        )
    return TrainJob(
        name=name,
        module=module,
        image=values["node_image"],
        num_nodes=number_of_nodes(values["num_nodes"]),
        handover=handover,
        task_config=values["task_config"],
        settings=configured,
        owners=launcher.owners,
        service_account=launcher.service_account,
        labels={key: launcher.labels[key] for key in launcher.labels if key.startswith(_LABELS)},
    )


def _start(
    manifest: Mapping[str, Any],
    cluster: Cluster,
    handover: Handover,
    executor_input: Mapping[str, Any],
) -> bool:
    """Ensure that there is a TrainJob that may still succeed; return whether it is new."""
    name = manifest["metadata"]["name"]
    give_up = time.monotonic() + _SECONDS_FOR_DELETION
    while True:
        found = cluster.job(name)
        if found is None:
            handover.give(executor_input)
            handover.beat()
            if cluster.create(manifest):
                logger.info("TrainJob %s: created", name)
                return True
        elif "deletionTimestamp" in found["metadata"]:
            if time.monotonic() > give_up:
                raise JobError(f"TrainJob {name} of an earlier attempt is still being deleted")
            time.sleep(_PAUSE)
        elif (reason := condition(found, "Failed")) is not None:
            logger.info("TrainJob %s of an earlier attempt failed (%s); retrying", name, reason)
            cluster.delete(name)
        else:
            logger.info("TrainJob %s of an earlier attempt: resuming it", name)
            return False


def _follow(job: TrainJob, cluster: Cluster, handover: Handover) -> None:
    """Follow a TrainJob until it is complete, sending heartbeats meanwhile.

    It is as good as complete once one node has succeeded: a node does when the outputs are there,
    or when it has given up, and others would wait for it in vain.
    """
    logs, events = NodeLogs(cluster, job.num_nodes), Events(job)
    last_beat: float | None = None
    while True:
        if last_beat is None or time.monotonic() - last_beat > _SECONDS_BETWEEN_HEARTBEATS:
            handover.beat()
            last_beat = time.monotonic()
        found, pods = cluster.job(job.name), cluster.pods(job.name)
        if found is None or "deletionTimestamp" in found["metadata"]:
            raise JobError(f"TrainJob {job.name} was deleted by somebody else")
        events.conditions(found)
        events.pods(pods)
        if sum(not pod.over for pod in pods) < job.num_nodes:
            events.warnings(cluster.warnings(job.name))
        logs.follow(pods)
        failed = condition(found, "Failed")
        if failed is not None or events.is_user_error:
            logs.finish(pods, _SECONDS_FOR_LOGS)
            raise events.failure(failed, logs)
        if condition(found, "Complete") is not None or _any_succeeded(pods):
            logs.finish(pods, _SECONDS_FOR_LOGS)
            return
        since, seconds = running_since(found), job.settings.seconds
        if since is not None and (datetime.now(UTC) - since).total_seconds() > seconds:
            raise JobError(
                f"TrainJob {job.name} is not complete after {seconds / 3600:g} hours "
                "(WEBLY_TRAINJOB_HOURS): a retry resumes from the last checkpoint"
            )
        time.sleep(_PAUSE)


def _any_succeeded(pods: Sequence[NodePod]) -> bool:
    return any(pod.over and pod.end is not None and pod.end.code == 0 for pod in pods)


def _clean_up(name: str, cluster: Cluster, handover: Handover) -> None:
    """Delete a TrainJob and its handover; a stage does not fail for what is left behind."""
    cleanings: list[Callable[[], None]] = [partial(cluster.delete, name), handover.remove]
    for clean in cleanings:
        try:
            clean()
        except (UserError, ClusterError, StorageError) as error:
            logger.warning("TrainJob %s or its handover is left behind: %s", name, error)
