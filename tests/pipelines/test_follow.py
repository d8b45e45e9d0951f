"""What `submit follow` and `submit retry` say of runs that wait, fail, or are terminated."""

import base64
import gzip
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy.pipelines import compiled, diamond

from pipelines import submit
from pipelines.cluster import kfp_api, watch
from tests.pipelines.kubeflow import Kubeflow, argo_pod, argo_workflow, nodes

PODS = "/api/v1/namespaces/kubeflow/pods"
EVENTS = "/api/v1/namespaces/kubeflow/events"
WORKFLOWS = "/apis/argoproj.io/v1alpha1/namespaces/kubeflow/workflows"
LEFT_WAITS = nodes(count_left=("PENDING", 0), count_right=("RUNNING", 0))
BOTH_WAIT = nodes(count_left=("PENDING", 0), count_right=("PENDING", 0))
DONE = nodes(count_left=("SUCCEEDED", 60), count_right=("SUCCEEDED", 90), total=("SUCCEEDED", 30))
Followed = Callable[..., list[str]]


@pytest.fixture
def kubeflow() -> Iterator[Kubeflow]:
    with Kubeflow() as server:
        yield server


@pytest.fixture
def followed(
    kubeflow: Kubeflow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Followed:
    """Follow a run through states of its own, and return the table below its legend."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(watch, "_SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(kfp_api, "_FIRST_PAUSE", 0.0)
    monkeypatch.setenv("KUBECONFIG", str(kubeflow.kubeconfig(tmp_path / "config")))
    monkeypatch.chdir(tmp_path)
    pipeline = compiled(diamond, tmp_path / "toy.yaml")

    def follow(*plays: tuple[str, list[dict[str, Any]]], command: str = "follow") -> list[str]:
        options = ["--endpoint", kubeflow.endpoint]
        with pytest.raises(SystemExit, match="0"):
            submit.main(["--no-follow", "--file", str(pipeline), *options])
        # The first look is for the pipeline.
        kubeflow.plays = [plays[0], *plays]
        (run,) = kubeflow.kept["runs"]
        caplog.clear()
        with pytest.raises(SystemExit):
            submit.main([command, run, *options])
        legend, *lines = capsys.readouterr().err.splitlines()
        assert legend.startswith("> running")
        return re.sub("\n {20,}", " ", "\n".join(lines)).splitlines()  # unwrapped

    return follow


def pending(task: str, **status: Any) -> dict[str, Any]:
    return argo_pod("toy-1", task, 0, "Pending", **status)


def waiting(reason: str, message: str = "") -> list[dict[str, Any]]:
    """The status of containers that wait."""
    state = {"waiting": {"reason": reason, "message": message}}
    container = {"name": "main", "image": "toy:1", "imageID": "", "ready": False}
    return [{**container, "restartCount": 0, "state": state}]


def unscheduled(message: str) -> list[dict[str, str]]:
    reason = {"reason": "Unschedulable", "message": message}
    return [{"type": "PodScheduled", "status": "False", **reason}]


def warning(of: str, reason: str, message: str) -> dict[str, Any]:
    about = {"involvedObject": {"name": of}, "lastTimestamp": "2026-01-01T00:00:09Z"}
    return {"metadata": {"name": reason}, "reason": reason, "message": message, **about}


CREATING = waiting("ContainerCreating")
NO_NODE = (
    "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. no new claims to deallocate, "
    "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
)
OVER_QUOTA = (
    'persistentvolumeclaims "toy-1-root-count-left-executor-0-disk" is forbidden: '
    "exceeded quota: webly, requested: requests.storage=128Gi, used: requests.storage=2Ti"
)


@pytest.mark.parametrize(
    ("status", "events", "reason"),
    [
        (
            {"conditions": unscheduled(NO_NODE)},
            [],
            "Unschedulable: 0/2 nodes are available: 2 Insufficient nvidia.com/gpu",
        ),
        (
            {"containerStatuses": waiting("ImagePullBackOff", 'Back-off pulling "toy:1"')},
            [],
            'ImagePullBackOff: Back-off pulling "toy:1"',
        ),
        (
            {"initContainerStatuses": waiting("ErrImagePull"), "containerStatuses": CREATING},
            [],
            "ErrImagePull",
        ),
        (
            {"conditions": unscheduled("waiting for ephemeral volume controller to create …")},
            [
                warning("toy-1-root-count-left-executor-0", "FailedScheduling", "waiting"),
                warning("toy-1-root-count-left-executor-0", "FailedBinding", OVER_QUOTA),
            ],
            "exceeded quota: webly, requested: requests.storage=128Gi, used: requests.storage=2Ti",
        ),
        (
            {"conditions": unscheduled("pod has unbound immediate PersistentVolumeClaims")},
            [
                warning("toy-1-root-count-left-executor-0-disk", "ProvisioningFailed", "no fast"),
                warning("toy-1-root-count-right-executor-0", "FailedMount", "another's"),
            ],
            "ProvisioningFailed: no fast",
        ),
    ],
)
def test_a_pod_that_waits_says_for_what(
    kubeflow: Kubeflow,
    followed: Followed,
    status: dict[str, Any],
    events: list[dict[str, Any]],
    reason: str,
) -> None:
    kubeflow.objects = {
        PODS: {"items": [pending("count-left", **status), argo_pod("toy-1", "count-right", 0)]},
        EVENTS: {"items": events},
    }

    lines = followed(("RUNNING", LEFT_WAITS), ("RUNNING", LEFT_WAITS), ("SUCCEEDED", DONE))

    assert lines == [
        f". count-left             pending: {reason}",
        "> count-right",
        "+ count-left     60.0 s",
        "+ count-right    90.0 s",
        "+ total          30.0 s",
    ]


def test_a_pod_that_starts_lacks_nothing(kubeflow: Kubeflow, followed: Followed) -> None:
    old = warning("toy-1-root-count-left-executor-0", "FailedMount", "over since an hour")
    kubeflow.objects = {
        PODS: {"items": [pending("count-left", containerStatuses=CREATING)]},
        EVENTS: {"items": [old]},
    }

    lines = followed(("RUNNING", LEFT_WAITS), ("SUCCEEDED", DONE))

    assert not [line for line in lines if "pending" in line]


@pytest.mark.parametrize("packed", [False, True])
def test_a_pod_that_quota_keeps_from_being_created_says_so(
    kubeflow: Kubeflow, followed: Followed, packed: bool
) -> None:
    refused = (
        'pods "toy-1-system-container-impl-7" is forbidden: exceeded quota: webly, '
        "requested: count/pods=1, used: count/pods=40, limited: count/pods=40"
    )
    workflow = argo_workflow(count_left__Pending=refused, count_right__Running="")
    if packed:  # as Argo keeps what is too large otherwise
        status = workflow["items"][0]["status"]
        content = gzip.compress(json.dumps(status.pop("nodes")).encode())
        status["compressedNodes"] = base64.b64encode(content).decode()
    kubeflow.objects = {PODS: {"items": []}, WORKFLOWS: workflow}

    lines = followed(("RUNNING", LEFT_WAITS), ("SUCCEEDED", DONE))

    assert lines[:2] == [
        ". count-left             pending: exceeded quota: webly, requested: count/pods=1, "
        "used: count/pods=40, limited: count/pods=40",
        "> count-right",
    ]


def test_a_driver_that_waits_keeps_its_task_waiting(kubeflow: Kubeflow, followed: Followed) -> None:
    pod = pending("count-left", conditions=unscheduled("0/2 nodes are available"))
    name = "toy-1.root(0).count-left-driver(0)"  # with retries in Argo's own defaults
    pod["metadata"]["annotations"]["workflows.argoproj.io/node-name"] = name
    kubeflow.objects = {PODS: {"items": [pod]}}

    lines = followed(("RUNNING", nodes(count_left=("DRIVER", 0))), ("SUCCEEDED", DONE))

    assert lines[0] == ". count-left             pending: Unschedulable: 0/2 nodes are available"


def states(kubeflow: Kubeflow, play: tuple[str, list[dict[str, Any]]]) -> dict[str, str]:
    """Return the status of each task when Kubernetes says nothing."""
    cluster = kfp_api.Cluster(kfp_api.Access(kubeflow.endpoint))
    kubeflow.plays = [play]
    (run,) = kubeflow.kept["runs"]
    answer = cluster.run(run)
    record = watch.record(cluster.graph(answer), answer)
    return {task.name: task.status for task in record.tasks}


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        (BOTH_WAIT, {"count-left": "pending", "count-right": "pending", "total": "waiting"}),
        # KFP does not say which of the two it is.
        (LEFT_WAITS, {"count-left": "running", "count-right": "running", "total": "waiting"}),
        (
            nodes(count_left=("DRIVER", 0), count_right=("RUNNING", 0)),
            {"count-left": "pending", "count-right": "running", "total": "waiting"},
        ),
        (
            [{"display_name": "root-driver", "state": "PENDING"}],
            {"count-left": "pending", "count-right": "pending", "total": "waiting"},
        ),
    ],
)
def test_kfp_alone_says_which_tasks_wait_where_that_is_certain(
    kubeflow: Kubeflow,
    followed: Followed,
    monkeypatch: pytest.MonkeyPatch,
    details: list[dict[str, Any]],
    expected: dict[str, str],
) -> None:
    followed(("SUCCEEDED", DONE))

    assert states(kubeflow, ("RUNNING", details)) == expected


def test_a_terminated_run_is_cancelled_and_what_failed_before_is_not(
    kubeflow: Kubeflow, followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    kubeflow.history = [("PENDING", 0), ("RUNNING", 1), ("CANCELING", 300), ("FAILED", 310)]

    lines = followed(("FAILED", nodes(count_left=("FAILED", 40), count_right=("FAILED", 302))))

    assert lines == [
        "! count-left     40.0 s  failed",
        "x count-right   302.0 s  cancelled",
        "x total                  cancelled",
    ]
    assert caplog.messages[1].startswith("cancelled  http")
    assert "submit retry" in caplog.text


def test_after_a_retry_old_failures_are_not_shown(kubeflow: Kubeflow, followed: Followed) -> None:
    kubeflow.history = [("RUNNING", 1), ("FAILED", 45), ("RUNNING", 600)]
    old = nodes(count_left=("FAILED", 40), count_right=("SUCCEEDED", 30))
    again = nodes(620, count_left=("RUNNING", 0))
    failed = nodes(620, count_left=("FAILED", 700))

    lines = followed(
        ("RUNNING", old), ("RUNNING", [*again, *old]), ("FAILED", [*failed, *old]), command="retry"
    )

    assert lines == [
        "> count-left",
        "+ count-right    30.0 s",
        "! count-left     80.0 s  failed",
        "- total                  not run: a task that it needs failed",
    ]


def test_a_retried_run_that_was_terminated_before_is_not_cancelled(
    kubeflow: Kubeflow, followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    kubeflow.history = [("RUNNING", 1), ("CANCELING", 40), ("FAILED", 45), ("RUNNING", 600)]

    followed(("SUCCEEDED", DONE))

    assert caplog.messages[-1].startswith("succeeded")


def test_the_last_lines_of_a_failed_run_say_what_failed_why_and_where_the_log_is(
    kubeflow: Kubeflow, followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    kubeflow.objects = {
        PODS: {"items": [argo_pod("toy-1", "count-left", 0)]},
        f"{PODS}/toy-1-root-count-left-executor-0/log": "loading\n",
        WORKFLOWS: argo_workflow(
            count_left__Failed="main: OOMKilled (exit code 137)",
            count_right__Failed="pod deleted",
        ),
    }

    lines = followed(("FAILED", nodes(count_left=("FAILED", 10), count_right=("FAILED", 9))))

    (run,) = kubeflow.kept["runs"]
    assert lines[0] == "! count-left     10.0 s  OOMKilled (exit code 137); the end of its log:"
    assert caplog.messages[2:4] == [
        f"  count-left: OOMKilled (exit code 137); log: runs/{run}/count-left.log",
        "  count-right: pod deleted; log: in the UI",
    ]


def test_an_api_that_is_away_is_told_once_in_the_table(
    kubeflow: Kubeflow, followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kfp_api, "_SECONDS_TO_ANSWER", 0.2)
    running = nodes(count_left=("RUNNING", 0))
    kubeflow.faults = [200, 200, 502, 503, *[0] * 4, 503]  # urllib3 asks four times, too

    lines = followed(("RUNNING", running), ("RUNNING", running), ("SUCCEEDED", DONE))

    assert lines == [
        "> count-left",
        "the API answers 502 Bad Gateway; asking again for 60 minutes",
        "the API answers again",
        *("+ count-left     60.0 s", "+ count-right    90.0 s", "+ total          30.0 s"),
    ]
