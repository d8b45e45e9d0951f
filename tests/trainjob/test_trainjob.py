"""The launcher of TrainJobs against a stand-in for a cluster that checks what it is given."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from components.shared.stage.errors import UserError
from components.shared.stage.fingerprint import ROOT
from components.trainjob import kubernetes_api, launcher, node
from components.trainjob.handover import Handover
from components.trainjob.job import job_name
from components.trainjob.kubernetes_api import ClusterError
from components.trainjob.launcher import JobError
from tests.trainjob.conftest import MODULE, SECONDS, TASK_CONFIG, Launch, run_stage
from tests.trainjob.generations import NEWEST, PATCHES
from tests.trainjob.kubernetes_api import Job, KubernetesApi, Node

pytestmark = pytest.mark.slow

GENERATIONS = pytest.mark.parametrize("generation", PATCHES)
Start = Callable[[], Launch]


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.01)


def created(api: KubernetesApi) -> tuple[Job, list[Node]]:
    """Wait for a TrainJob, and let its nodes run."""
    job = api.created.get(timeout=SECONDS)
    nodes = api.start(job)
    for each in nodes:
        each.run()
    return job, nodes


def complete(api: KubernetesApi, job: Job, nodes: list[Node]) -> None:
    for each in nodes:
        each.end(0)
    api.condition(job, "Complete", message="all jobs have completed")


def succeed(api: KubernetesApi, launch: Launch, job: Job, nodes: list[Node], folder: Path) -> None:
    """Do all that the nodes of a TrainJob do, and let its launcher end."""
    run_stage(launch.handover, folder / "node")
    complete(api, job, nodes)
    launch.ended.result(SECONDS)


def pod_spec(job: Job, generation: str) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Return what a TrainJob changes in its pods: their spec, and labels if they can be told."""
    (patch,) = job["spec"][PATCHES[generation]]
    if generation == "2.0.0":
        assert patch.pop("targetJobs") == [{"name": "node"}]
        return patch, None
    if generation == "2.1.0":
        assert patch["targetJobs"] == [{"name": "node"}]
        return patch["spec"], patch["metadata"]["labels"]
    (replicated,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    template = replicated["template"]["spec"]["template"]
    return template["spec"], template["metadata"]["labels"]


@GENERATIONS
def test_a_stage_runs_on_nodes_and_its_outputs_come_back(
    api: KubernetesApi,
    launch: Start,
    executor_input: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    launched = launch()
    job, nodes = created(api)
    nodes[0].log("epoch 1", "epoch 2")
    nodes[1].log("warmed up")

    values = run_stage(launched.handover, tmp_path / "node")
    complete(api, job, nodes)

    launched.ended.result(SECONDS)
    assert values["epochs"] == 3
    assert (tmp_path / "launcher/model/model.safetensors").read_bytes() == b"weights"
    output = json.loads((tmp_path / "launcher/executor_output.json").read_text())
    (metrics,) = output["artifacts"]["metrics"]["artifacts"]
    assert metrics["uri"] == str(tmp_path / "launcher/metrics.json")
    assert metrics["metadata"] == {"top1": 0.5}
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "[node 0] epoch 1",
        "[node 0] epoch 2",
        "[node 1] warmed up",
    ]
    assert api.jobs == {}
    assert launched.handover.last_heartbeat() is None, "the handover is left behind"


@GENERATIONS
def test_what_is_set_on_the_task_is_handed_over(
    api: KubernetesApi, launch: Start, generation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_TRAINJOB_HOURS", "2")
    monkeypatch.setenv("WEBLY_TRAINJOB_RUNTIME", "mine")
    monkeypatch.setenv("WEBLY_TRAINJOB_QUEUE", "gpus")
    monkeypatch.setenv("WEBLY_TRAINJOB_RESOURCES", '{"rdma/hca": 1}')
    monkeypatch.setenv("WEBLY_TRAINJOB_PRIORITY", "high")
    monkeypatch.setenv("WEBLY_TRAINJOB_PULL", "registry")
    monkeypatch.setenv("WEBLY_NODE_ENV", '{"TMPDIR": "/mnt/webly", "WEBLY_CACHE_GIGABYTES": 8}')
    memory = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}}
    mount = {"name": "shm", "mountPath": "/dev/shm"}
    volumes = {"volumes": [memory], "volumeMounts": [mount]}
    monkeypatch.setenv("WEBLY_NODE_VOLUMES", json.dumps(volumes))

    launched = launch()

    job, _ = created(api)
    assert job["metadata"]["labels"] == {
        "app.kubernetes.io/name": "webly",
        "app.kubernetes.io/part-of": "paper",
        "app.kubernetes.io/component": "finetune",
        "kueue.x-k8s.io/queue-name": "gpus",
        "kueue.x-k8s.io/priority-class": "high",
    }
    workflow = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow"}
    owner = {**workflow, "name": "run", "uid": "uid-run"}
    assert job["metadata"]["ownerReferences"] == [owner]
    assert job["spec"]["runtimeRef"]["name"] == "mine"
    trainer = job["spec"]["trainer"]
    variables = {each["name"]: each for each in trainer.pop("env")}
    assert trainer == {
        "image": "webly/train:finetune-1",
        "command": ["python", "-m", "components.finetune"],
        "args": [f"{launched.folder}/{launched.name}"],
        "numNodes": 2,
        "resourcesPerNode": {
            "limits": {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "4", "rdma/hca": "1"},
            "requests": {"cpu": "8", "memory": "64Gi"},
        },
    }
    # By the pod's name a stage knows that it is in one, whose GPUs and disk it looks at.
    kept = ("KFP_POD_NAME", "WEBLY_IMAGE", "WEBLY_NODE", "WEBLY_STORE", "AWS_ACCESS_KEY_ID")
    assert variables == {
        **{each["name"]: each for each in TASK_CONFIG["env"] if each["name"] in kept},
        "TMPDIR": {"name": "TMPDIR", "value": "/mnt/webly"},
        "WEBLY_CACHE_GIGABYTES": {"name": "WEBLY_CACHE_GIGABYTES", "value": "8"},
    }
    spec, labels = pod_spec(job, generation)
    secrets = spec.pop("imagePullSecrets", None)
    assert secrets == (None if labels is None else [{"name": "registry"}])  # 2.0 sets neither
    assert spec == {
        "serviceAccountName": "pipeline-runner",
        "nodeSelector": {"pool": "a100"},
        "tolerations": TASK_CONFIG["tolerations"],
        "volumes": [*TASK_CONFIG["volumes"], memory],
        "containers": [{"name": "node", "volumeMounts": [*TASK_CONFIG["volumeMounts"], mount]}],
    }
    if labels is not None:
        assert labels["app.kubernetes.io/component"] == "finetune"
        assert labels["sidecar.istio.io/inject"] == "false"
    if generation == NEWEST:
        assert job["spec"]["activeDeadlineSeconds"] == 2 * 3600


def test_a_task_that_sets_nothing_leaves_the_runtime_as_it_is(
    api: KubernetesApi, launch: Start, executor_input: dict[str, Any]
) -> None:
    nothing = {**dict.fromkeys(TASK_CONFIG), "resources": {}}
    executor_input["inputs"]["parameterValues"]["task_config"] = nothing

    launch()

    job, _ = created(api)
    assert pod_spec(job, NEWEST)[0] == {"serviceAccountName": "pipeline-runner"}
    assert set(job["spec"]["trainer"]) == {"image", "command", "args", "numNodes"}
    assert "kueue.x-k8s.io/queue-name" not in job["metadata"]["labels"]


@pytest.fixture
def left_behind(
    api: KubernetesApi, launch: Start, monkeypatch: pytest.MonkeyPatch
) -> tuple[Job, list[Node]]:
    """A TrainJob that runs, whose launcher has ended: the API did not answer for too long."""
    with monkeypatch.context() as patch:
        patch.setattr(kubernetes_api, "_PATIENCE", 0.1)
        launched = launch()
        job, nodes = created(api)
        api.refused("GET", "pods", 503, "not now")
        with pytest.raises(ClusterError, match="503: not now"):
            launched.ended.result(SECONDS)
        api.refusals.clear()
    return job, nodes


def test_a_retry_goes_on_with_the_job_of_an_earlier_try(
    api: KubernetesApi, launch: Start, tmp_path: Path, left_behind: tuple[Job, list[Node]]
) -> None:
    retry = launch()
    succeed(api, retry, *left_behind, tmp_path)
    assert api.created.empty()
    assert (tmp_path / "launcher/executor_output.json").exists()


def test_a_try_that_ends_between_taking_the_outputs_and_saying_so_makes_nothing_again(
    api: KubernetesApi, launch: Start, executor_input: dict[str, Any], tmp_path: Path
) -> None:
    folder = str(tmp_path / "trainjobs")
    handover = Handover(f"{folder}/{job_name(MODULE, executor_input)}")
    handover.give(executor_input)
    run_stage(handover, tmp_path / "node")

    launch().ended.result(SECONDS)

    assert ("POST", "trainjobs") not in [(method, path[-9:]) for method, path in api.requests]
    assert (tmp_path / "launcher/executor_output.json").exists()


@GENERATIONS
def test_a_job_that_has_failed_before_is_deleted_and_made_anew(
    api: KubernetesApi, launch: Start, tmp_path: Path, executor_input: dict[str, Any]
) -> None:
    failed: Job = {"metadata": {"name": job_name(MODULE, executor_input)}, "spec": {}}
    api.condition(failed, "Failed", message="backoff limit")
    api.jobs[failed["metadata"]["name"]] = failed
    api.deletes_at_once = False

    launched = launch()
    wait_for(lambda: "deletionTimestamp" in failed["metadata"])
    time.sleep(0.1)
    assert api.created.empty(), "it is waited for"
    api.deletes_at_once = True
    del api.jobs[launched.name]

    job, nodes = created(api)
    succeed(api, launched, job, nodes, tmp_path)


def test_a_job_whose_nodes_gave_up_is_deleted_and_made_anew(
    api: KubernetesApi, launch: Start, tmp_path: Path, executor_input: dict[str, Any]
) -> None:
    abandoned: Job = {
        "metadata": {"name": job_name(MODULE, executor_input)},
        "spec": {"trainer": {"numNodes": 2}},
    }
    api.condition(abandoned, "Complete")
    api.jobs[abandoned["metadata"]["name"]] = abandoned

    launched = launch()

    job, nodes = created(api)
    succeed(api, launched, job, nodes, tmp_path)


def test_a_job_of_whose_nodes_one_gave_up_is_deleted_and_made_anew(
    api: KubernetesApi, launch: Start, tmp_path: Path, left_behind: tuple[Job, list[Node]]
) -> None:
    job, nodes = left_behind
    nodes[1].end(0)  # the other has seen the retry's heartbeat
    api.deletes_at_once = False

    retry = launch()

    wait_for(lambda: "deletionTimestamp" in job["metadata"])
    api.nodes.clear()
    api.deletes_at_once = True
    del api.jobs[retry.name]
    job, nodes = created(api)
    succeed(api, retry, job, nodes, tmp_path)


def test_outputs_are_taken_though_a_node_waits_for_another_that_has_ended(
    api: KubernetesApi, launch: Start, tmp_path: Path
) -> None:
    launched = launch()
    _, nodes = created(api)
    run_stage(launched.handover, tmp_path / "node")

    nodes[0].end(0)

    launched.ended.result(SECONDS)
    assert (tmp_path / "launcher/model/model.safetensors").exists()
    assert api.jobs == {}


def test_nodes_that_end_well_without_outputs_are_an_error(
    api: KubernetesApi, launch: Start
) -> None:
    launched = launch()
    complete(api, *created(api))

    with pytest.raises(JobError, match="left no outputs"):
        launched.ended.result(SECONDS)


def test_a_job_that_is_created_meanwhile_is_taken(
    api: KubernetesApi, launch: Start, tmp_path: Path, left_behind: tuple[Job, list[Node]]
) -> None:
    api.faults["GET", "trainjobs"] = [404]

    retry = launch()

    wait_for(lambda: [method for method, _ in api.requests].count("POST") == 2)
    succeed(api, retry, *left_behind, tmp_path)
    assert api.created.empty()


@GENERATIONS
def test_failure_tells_exit_codes_and_the_log_s_end_and_cleans_up(
    api: KubernetesApi, launch: Start
) -> None:
    launched = launch()
    job, nodes = created(api)
    nodes[1].log(*(f"step {number}" for number in range(100)), "CUDA error")
    nodes[1].end(1)
    nodes[0].log("peer is gone")
    time.sleep(1.1)  # Kubernetes tells seconds
    nodes[0].end(137, "OOMKilled")

    api.condition(job, "Failed", message="jobset failed")

    with pytest.raises(JobError) as raised:
        launched.ended.result(SECONDS)
    text = str(raised.value)
    assert "jobset failed" in text
    assert "node 0 ended with exit code 137 (OOMKilled)" in text
    assert text.index("node 1 ended with exit code 1") < text.index("node 0 ended")
    assert text.endswith("step 99\n    CUDA error")
    assert "step 80\n" not in text
    assert api.jobs == {}
    assert launched.handover.last_heartbeat() is None


def test_a_node_that_runs_again_is_not_to_blame(
    api: KubernetesApi, launch: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "components")
    launched = launch()
    job, nodes = created(api)
    nodes[0].end(137, "ContainerStatusUnknown")
    wait_for(lambda: "node 0 ended" in caplog.text)
    again = api.another(nodes[0])
    again.run()
    again.log("all is well")
    wait_for(lambda: "2 of 2 nodes running" in caplog.messages[-1])
    time.sleep(1.1)  # Kubernetes tells seconds
    nodes[1].log("CUDA error")
    nodes[1].end(1)

    api.condition(job, "Failed", message="jobset failed")

    message = "node 1 ended with exit code 1\n.*\n    CUDA error$"
    with pytest.raises(JobError, match=message) as raised:
        launched.ended.result(SECONDS)
    assert "node 0" not in str(raised.value)


def test_what_a_user_can_put_right_ends_it_at_once(api: KubernetesApi, launch: Start) -> None:
    launched = launch()
    _, nodes = created(api)
    nodes[0].log("finetune: epochs=0: must be at least 1")

    nodes[0].restart(2)

    with pytest.raises(UserError, match="exit code 2\n.*\n.*epochs=0: must be at least 1"):
        launched.ended.result(SECONDS)
    assert api.jobs == {}


def test_at_its_deadline_the_job_is_deleted(
    api: KubernetesApi, launch: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_TRAINJOB_HOURS", str(2 / 3600))
    launched = launch()
    created(api)

    with pytest.raises(JobError, match="not complete after"):
        launched.ended.result(SECONDS)

    assert api.jobs == {}


def test_waiting_in_a_queue_does_not_count(
    api: KubernetesApi, launch: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_TRAINJOB_HOURS", str(2 / 3600))
    launched = launch()
    job = api.created.get(timeout=SECONDS)
    job["spec"]["suspend"] = True
    api.condition(job, "Suspended")

    time.sleep(3.5)
    job["spec"]["suspend"] = False  # by Kueue; Trainer has not seen it yet
    looks = len(api.requests)
    wait_for(lambda: len(api.requests) > looks + 6)
    assert not launched.ended.done()
    api.condition(job, "Suspended", "False")

    with pytest.raises(JobError, match="not complete after"):
        launched.ended.result(SECONDS)


def test_a_job_that_somebody_deletes_ends_the_launcher(api: KubernetesApi, launch: Start) -> None:
    launched = launch()
    job, _ = created(api)

    del api.jobs[job["metadata"]["name"]]

    with pytest.raises(JobError, match="deleted by somebody else"):
        launched.ended.result(SECONDS)


def test_the_launcher_signs_as_long_as_it_follows(api: KubernetesApi, launch: Start) -> None:
    launched = launch()
    created(api)
    first = launched.handover.last_heartbeat()

    wait_for(lambda: launched.handover.last_heartbeat() not in (None, first))


def test_nodes_are_more_patient_than_two_requests_of_their_launcher_in_a_row() -> None:
    request = kubernetes_api._PATIENCE + 2 * sum(kubernetes_api._TIMEOUTS)

    assert launcher._SECONDS_BETWEEN_HEARTBEATS + 2 * request < node._PATIENCE


def test_a_broken_stream_goes_on_where_it_ended(
    api: KubernetesApi, launch: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.cuts = [3, 2, 4]
    launched = launch()
    job, nodes = created(api)
    lines = [f"line {number}" for number in range(12)]
    nodes[0].log(*lines)
    run_stage(launched.handover, tmp_path / "node")
    wait_for(lambda: not api.cuts)

    complete(api, job, nodes)

    launched.ended.result(SECONDS)
    assert capsys.readouterr().out.splitlines() == [f"[node 0] {line}" for line in lines]


def test_a_node_that_is_started_again_is_heard_before_and_after(
    api: KubernetesApi, launch: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launched = launch()
    job = api.created.get(timeout=SECONDS)
    nodes = api.start(job)
    nodes[1].run()
    nodes[1].log("first", "last words")
    nodes[1].restart(137, "OOMKilled")
    nodes[1].log("again")
    replaced = api.start(job)[0]  # its node was lost, and the Job makes a pod of the same number
    replaced.run()
    replaced.log("in its place")
    run_stage(launched.handover, tmp_path / "node")

    complete(api, job, [nodes[1], replaced])

    launched.ended.result(SECONDS)
    heard = capsys.readouterr().out.splitlines()
    assert [line for line in heard if line.startswith("[node 1]")] == [
        "[node 1] first",
        "[node 1] last words",
        "[node 1] again",
    ]
    assert "[node 0] in its place" in heard


def test_one_node_s_lines_have_no_number(
    api: KubernetesApi,
    launch: Start,
    executor_input: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    executor_input["inputs"]["parameterValues"]["num_nodes"] = "1"
    launched = launch()
    job, nodes = created(api)
    nodes[0].log("epoch 1")
    run_stage(launched.handover, tmp_path / "node")

    complete(api, job, nodes)

    launched.ended.result(SECONDS)
    assert capsys.readouterr().out == "epoch 1\n"


def test_each_state_is_told_once(
    api: KubernetesApi, launch: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "components")
    launched = launch()
    job = api.created.get(timeout=SECONDS)
    nodes = api.start(job)
    api.condition(job, "Suspended", message="TrainJob is suspended")
    nodes[0].unschedulable("0/3 nodes are available: 3 Insufficient nvidia.com/gpu")
    nodes[1].waits("ImagePullBackOff", "Back-off pulling image")
    wait_for(lambda: "ImagePullBackOff" in caplog.text)
    nodes[0].unschedulable("0/4 nodes are available: 4 Insufficient nvidia.com/gpu")
    api.condition(job, "Suspended", "False", message="TrainJob is resumed")
    for each in nodes:
        each.run()
    wait_for(lambda: "2 of 2 nodes running" in caplog.text)
    run_stage(launched.handover, tmp_path / "node")

    complete(api, job, nodes)

    launched.ended.result(SECONDS)
    told = [record.getMessage().split(": ", 1)[1] for record in caplog.records]
    for text in (
        "suspended: TrainJob is suspended",
        "not suspended: TrainJob is resumed",
        "node 0 is waiting: Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu",
        "node 1 is waiting: ImagePullBackOff: Back-off pulling image",
        "2 of 2 nodes running",
        "complete: all jobs have completed",
    ):
        assert told.count(text) == 1, (text, told)
    assert sum("Unschedulable" in text for text in told) == 1


def test_why_pods_cannot_be_made_is_told_once(
    api: KubernetesApi, launch: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "components")
    launched = launch()
    job = api.created.get(timeout=SECONDS)
    name, quota = launched.name, "is forbidden: exceeded quota: gpus"
    api.events = [
        ("TrainJob", name, "TrainJobResourcesCreationFailed", "no such volume"),
        ("Job", f"{name}-node-0", "FailedCreate", f'pods "{name}-node-0-1-x8k2z" {quota}'),
        ("Job", f"{name}-node-0", "FailedCreate", f'pods "{name}-node-0-1-7wq4d" {quota}'),
        ("Job", "another-node-0", "FailedCreate", f'pods "another-node-0-1-7wq4d" {quota}'),
    ]
    wait_for(lambda: "exceeded" in caplog.text)
    nodes = api.start(job)
    for each in nodes:
        each.run()
    succeed(api, launched, job, nodes, tmp_path)

    assert caplog.messages == [
        f"TrainJob {name}: TrainJob: TrainJobResourcesCreationFailed: no such volume",
        f'TrainJob {name}: Job: FailedCreate: pods "node" {quota}',
    ]


def test_a_launcher_that_may_not_read_events_says_so_once_and_goes_on(
    api: KubernetesApi, launch: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "components")
    api.refused("GET", "events", 403, "events is forbidden: User cannot list resource")
    launched = launch()
    job = api.created.get(timeout=SECONDS)
    looks = len(api.requests)
    wait_for(lambda: len(api.requests) > looks + 9)
    nodes = api.start(job)
    run_stage(launched.handover, tmp_path / "node")

    complete(api, job, nodes)

    launched.ended.result(SECONDS)
    (message,) = caplog.messages
    assert "no events: Kubernetes answers 403" in message
    assert "cannot list resource: apply k8s/trainer" in message


def test_errors_that_pass_are_waited_for(api: KubernetesApi, launch: Start, tmp_path: Path) -> None:
    api.faults = {
        ("GET", "openapi"): [503],
        ("GET", "trainjobs"): [500, 429],
        ("GET", "pods"): [504],
        ("POST", "trainjobs"): [500],
        ("GET", "log"): [500],
        ("DELETE", "trainjobs"): [500],
    }
    launched = launch()
    job, nodes = created(api)
    succeed(api, launched, job, nodes, tmp_path)

    assert not any(api.faults.values())
    assert api.jobs == {}


@pytest.mark.parametrize(
    ("method", "what"), [("POST", "trainjobs"), ("GET", "pods"), ("GET", "log")]
)
def test_missing_rights_name_the_role(
    api: KubernetesApi, launch: Start, method: str, what: str
) -> None:
    account = "system:serviceaccount:team:pipeline-runner"
    message = f'forbidden: User "{account}" cannot do this'
    api.refused(method, what, 403, message)
    launched = launch()
    if what == "log":
        created(api)

    with pytest.raises(UserError, match="cannot do this: apply k8s/trainer, whose Role"):
        launched.ended.result(SECONDS)


def test_what_a_webhook_denies_is_told_as_it_is(api: KubernetesApi, launch: Start) -> None:
    denial = "spec.runtimeRef: Invalid value: torch-distributed not found"
    api.refused("POST", "trainjobs", 403, f"admission webhook denied the request: {denial}")

    with pytest.raises(UserError, match="torch-distributed not found$"):
        launch().ended.result(SECONDS)


@pytest.mark.parametrize("generation", ["2.0.0"])
def test_what_the_api_does_not_know_is_refused_not_dropped(
    api: KubernetesApi, launch: Start, executor_input: dict[str, Any]
) -> None:
    task_config = deepcopy(TASK_CONFIG) | {"affinity": {"nodeAffinity": {}}}
    executor_input["inputs"]["parameterValues"]["task_config"] = task_config

    with pytest.raises(UserError, match=r"podSpecOverrides\[0\].*'affinity' was unexpected"):
        launch().ended.result(SECONDS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (None, "this cluster has no TrainJobs .*: install Kubeflow Trainer 2.0 or newer"),
        (
            ["runtimeRef", "trainer", "somethingNew"],
            r"none of runtimePatches, podTemplateOverrides, podSpecOverrides \(Kubeflow Trainer "
            r"2.2 and newer, 2.1, 2.0\), but runtimeRef, somethingNew, trainer: install",
        ),
    ],
)
def test_other_generations_are_refused_with_the_versions_that_are_not(
    api: KubernetesApi, launch: Start, fields: list[str] | None, message: str
) -> None:
    api.fields = fields

    with pytest.raises(UserError, match=message):
        launch().ended.result(SECONDS)

    assert api.jobs == {}


def test_a_name_is_a_dns_label_of_its_task(executor_input: dict[str, Any]) -> None:
    other = deepcopy(executor_input)
    other["outputs"]["artifacts"]["model"]["artifacts"][0]["uri"] += "2"

    name = job_name("components.multitask_pretrain", executor_input)

    assert name.startswith("multitask-pretrain-")
    assert len(f"{name}-node-0-9999") <= 63
    assert name != job_name("components.multitask_pretrain", other)


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        ("num_nodes", "two", "num_nodes=two: must be a positive integer"),
        ("task_config", None, "2.15"),
    ],
)
def test_parameters_are_checked(
    launch: Start, executor_input: dict[str, Any], parameter: str, value: str, message: str
) -> None:
    values = executor_input["inputs"]["parameterValues"]
    del values[parameter]
    values |= {} if value is None else {parameter: value}

    with pytest.raises(UserError, match=message):
        launch().ended.result(SECONDS)


@pytest.mark.parametrize(
    ("name", "value"),
    [("WEBLY_TRAINJOB_HOURS", "0"), ("WEBLY_NODE_ENV", "[1]"), ("WEBLY_NODE_VOLUMES", "{")],
)
def test_settings_are_checked(
    launch: Start, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(UserError, match=f"{name}="):
        launch().ended.result(SECONDS)


def command(executor_input: dict[str, Any]) -> list[str]:
    return [sys.executable, "-m", "components.trainjob", MODULE, json.dumps(executor_input)]


@pytest.fixture
def process(
    api: KubernetesApi, executor_input: dict[str, Any], bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator["subprocess.Popen[str]"]:
    """The launcher as KFP starts it; its hand-overs lie on a real S3 server."""
    monkeypatch.setenv("WEBLY_CHECKPOINTS", f"{bucket}/checkpoints")
    argv = command(executor_input)
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_outside_of_a_cluster_it_says_so(
    executor_input: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    environment = os.environ | {"WEBLY_CHECKPOINTS": "s3://bucket/checkpoints"}

    ended = subprocess.run(
        command(executor_input), cwd=ROOT, env=environment, capture_output=True, text=True
    )

    assert ended.returncode == 2
    assert "finetune: not in a pod: " in ended.stderr


def test_nodes_need_checkpoints_that_all_of_them_see(
    api: KubernetesApi, executor_input: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_CHECKPOINTS", "/checkpoints")

    with pytest.raises(UserError, match="WEBLY_CHECKPOINTS=/checkpoints: .* use s3://"):
        launcher.run(MODULE, executor_input)


def test_termination_deletes_the_job(api: KubernetesApi, process: "subprocess.Popen[str]") -> None:
    job, _ = created(api)

    process.send_signal(signal.SIGTERM)

    assert process.wait(SECONDS) == 128 + signal.SIGTERM
    assert api.deleted() == [job["metadata"]["name"]]


def test_the_command_ends_as_the_nodes_do(
    api: KubernetesApi, process: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    job, nodes = created(api)
    (uri,) = job["spec"]["trainer"]["args"]
    nodes[0].log("trained")

    run_stage(Handover(uri), tmp_path / "node")
    complete(api, job, nodes)

    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert output == "[node 0] trained\n"
    assert (tmp_path / "launcher/model/model.safetensors").read_bytes() == b"weights"


def test_the_launcher_needs_only_what_its_image_has() -> None:
    lock = (ROOT / "docker" / "launcher.lock").read_text()
    locked = {line.partition("==")[0] for line in lock.splitlines() if "==" in line}
    absent = [
        name
        for name, distributions in packages_distributions().items()
        if not locked & {each.lower().replace("_", "-") for each in distributions}
    ]
    program = (
        "import sys\n"
        f"sys.modules |= dict.fromkeys({absent})\n"  # importing them fails
        "from components.trainjob import launcher\n"
        "import boto3, botocore.config\n"  # what requests to S3 import
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )

    assert {"torch", "nltk", "numpy"} <= set(absent)
    assert ended.returncode == 0, ended.stderr
