"""What is set in Argo's config map, on a stand-in for Kubernetes or on a real one.

`WEBLY_TEST_KUBERNETES` names kubectl's configuration for a real API server; nothing else of
Kubernetes needs to run. Each test keeps to a namespace of its own.
"""

import copy
import json
import logging
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import kubernetes
import pytest
import yaml

from components.shared.stage.errors import UserError
from pipelines import argo as command
from pipelines.cluster import argo
from pipelines.cluster.kubernetes_api import Namespace
from tests.pipelines.kubeflow import Kubeflow

FOLDER = Path(__file__).parent / "argo"
VERSIONS = ("2.15.0", "2.16.0", "2.17.0")
OURS = {
    "podSpecPatch": {"securityContext": {"fsGroup": 1000, "fsGroupChangePolicy": "OnRootMismatch"}},
    "podGC": {"strategy": "OnPodSuccess"},
}
CONFIG = os.environ.get("WEBLY_TEST_KUBERNETES", "")
Manifest = dict[str, Any]


class Server(Protocol):
    """An API server that holds Argo's config map."""

    namespace: str

    def apply(self, manifest: Manifest) -> None:
        """Create the config map, or apply it again."""

    def change(self, data: Mapping[str, str | None]) -> None:
        """Change it as somebody else does."""

    def read(self) -> Manifest:
        """Return it."""


class Double:
    """A stand-in for an API server; `apply` replaces."""

    namespace = argo.NAMESPACE
    _path = f"/api/v1/namespaces/{argo.NAMESPACE}/configmaps/{argo.CONFIG_MAP}"

    def __init__(self, server: Kubeflow) -> None:
        self._server = server

    def apply(self, manifest: Manifest) -> None:
        held = self._server.objects.get(self._path, {"metadata": {"resourceVersion": "1"}})
        self._server.objects[self._path] = held | {"data": copy.deepcopy(manifest["data"])}

    def change(self, data: Mapping[str, str | None]) -> None:
        held = self._server.objects[self._path]
        held["data"] = {k: v for k, v in (held["data"] | data).items() if v is not None}
        held["metadata"]["resourceVersion"] += "0"

    def read(self) -> Manifest:
        return copy.deepcopy(self._server.objects[self._path])


class Real:
    """A real API server, to which kubectl applies with options."""

    def __init__(self, namespace: str, *options: str) -> None:
        kubernetes.config.load_kube_config(CONFIG)
        self.namespace, self._options = namespace, options
        self.core = kubernetes.client.CoreV1Api()

    def apply(self, manifest: Manifest) -> None:
        command = ["kubectl", "apply", "--namespace", self.namespace, *self._options, "-f", "-"]
        subprocess.run(command, input=yaml.safe_dump(manifest), text=True, check=True)

    def change(self, data: Mapping[str, str | None]) -> None:
        body = {"data": data}
        self.core.patch_namespaced_config_map(argo.CONFIG_MAP, self.namespace, body)

    def read(self) -> Manifest:
        found = self.core.read_namespaced_config_map(argo.CONFIG_MAP, self.namespace)
        held: Manifest = self.core.api_client.sanitize_for_serialization(found)
        return held


@pytest.fixture(params=["double", *(["client", "server"] if CONFIG else [])])
def server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Server]:
    if request.param == "double":
        with Kubeflow() as double:
            monkeypatch.setenv("KUBECONFIG", str(double.kubeconfig(tmp_path / "config")))
            yield Double(double)
        return
    monkeypatch.setenv("KUBECONFIG", CONFIG)
    namespace = f"webly-test-{secrets.token_hex(4)}"
    real = Real(namespace, f"--server-side={request.param == 'server'}".lower())
    real.core.create_namespace({"metadata": {"name": namespace}})
    yield real
    real.core.delete_namespace(namespace)


@pytest.fixture
def run(server: Server, caplog: pytest.LogCaptureFixture) -> Callable[[str], int]:
    """Run the command, and return its exit code."""
    caplog.set_level(logging.INFO)

    def run(name: str) -> int:
        caplog.clear()
        with pytest.raises(SystemExit) as ended:
            command.main([name, "--namespace", server.namespace])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


def kfps(version: str) -> Manifest:
    """Return the config map of a version of KFP."""
    manifest: Manifest = yaml.safe_load((FOLDER / f"kfp-{version}.yaml").read_text())
    return manifest


def holding(defaults: str | None) -> Manifest:
    """Return KFP's config map with other defaults."""
    manifest = kfps("2.16.0")
    if defaults is not None:
        manifest["data"]["workflowDefaults"] = defaults
    return manifest


def understood(text: str | None) -> Any:
    """Return defaults as Argo reads them."""
    content = yaml.safe_load(text or "") or {}
    if "podSpecPatch" in (content.get("spec") or {}):
        content["spec"]["podSpecPatch"] = yaml.safe_load(content["spec"]["podSpecPatch"])
    return content


@pytest.mark.parametrize("version", VERSIONS)
def test_all_that_kfp_has_set_stays(
    version: str, server: Server, run: Callable[[str], int]
) -> None:
    server.apply(kfps(version))
    before = server.read()["data"]

    assert run("apply") == 0

    after = server.read()["data"]
    assert {**after, "workflowDefaults": 0} == {**before, "workflowDefaults": 0}
    theirs = understood(before.get("workflowDefaults")).get("spec", {})
    assert understood(after["workflowDefaults"]) == {"spec": theirs | OURS}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_second_time_writes_nothing(
    version: str, server: Server, run: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    server.apply(kfps(version))
    run("apply")
    before = server.read()

    assert run("apply") == 0

    assert server.read() == before
    assert "nothing to change" in caplog.text


@pytest.mark.parametrize("version", VERSIONS)
def test_undo_gives_the_same_bytes_back(
    version: str, server: Server, run: Callable[[str], int]
) -> None:
    server.apply(kfps(version))
    before = server.read()
    run("apply")

    assert run("undo") == 0

    after = server.read()
    assert after["data"] == before["data"]
    assert after["metadata"].get("annotations", {}) == before["metadata"].get("annotations", {})


@pytest.mark.parametrize("version", VERSIONS)
def test_what_an_upgrade_of_kfp_resets_is_set_again(
    version: str, server: Server, run: Callable[[str], int]
) -> None:
    server.apply(kfps(version))
    run("apply")
    server.change({"workflowDefaults": kfps("2.17.0")["data"]["workflowDefaults"]})

    assert (run("show"), run("apply"), run("show")) == (1, 0, 0)
    assert run("undo") == 0

    same = kfps("2.17.0")["data"]["workflowDefaults"]
    assert server.read()["data"]["workflowDefaults"] == same


def test_undo_forgets_what_an_upgrade_of_kfp_has_taken_away(
    server: Server, run: Callable[[str], int]
) -> None:
    server.apply(kfps("2.17.0"))
    run("apply")
    chosen = "spec:\n  podGC: {strategy: OnPodSuccess}\n"
    server.change({"workflowDefaults": kfps("2.17.0")["data"]["workflowDefaults"]})
    run("undo")
    server.change({"workflowDefaults": chosen})

    assert run("undo") == 0

    assert server.read()["data"]["workflowDefaults"] == chosen


def test_what_will_change_is_shown_and_not_written(
    server: Server, run: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    server.apply(kfps("2.17.0"))
    before = server.read()

    assert run("show") == 1

    added = [line for line in caplog.messages if line.startswith("+ ")]
    assert added == [
        "+  podGC: {strategy: OnPodSuccess}",
        '+  podSpecPatch: \'{"securityContext": {"fsGroup": 1000, '
        '"fsGroupChangePolicy": "OnRootMismatch"}}\'',
    ]
    assert server.read() == before


def test_a_change_by_somebody_else_meanwhile_is_kept(
    server: Server, run: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.apply(kfps("2.17.0"))
    merge = Namespace.merge_config_map

    def interrupted(*args: Any) -> bool:
        monkeypatch.setattr(Namespace, "merge_config_map", merge)
        server.change({"workflowDefaults": "spec: {priority: 1}\n"})
        return merge(*args)

    monkeypatch.setattr(Namespace, "merge_config_map", interrupted)

    assert run("apply") == 0

    held = understood(server.read()["data"]["workflowDefaults"])
    assert held == {"spec": {"priority": 1} | OURS}


@pytest.mark.parametrize(
    "defaults",
    [
        None,
        "",
        "# none yet\n",
        "spec:\n",
        "spec: {}\n",
        "spec: {ttlStrategy: {secondsAfterSuccess: 3600}}\n",
        "metadata:\n  labels: {team: vision}\n",
        "metadata:\n  labels: {team: a}\nspec:\n    # a day\n    activeDeadlineSeconds: 86400\n",
        "spec:\n  podSpecPatch: |\n    nodeSelector:\n      pool: a  # ours\n\n  priority: 1\n",
        'spec:\n  podSpecPatch: \'{"securityContext": {"supplementalGroups": [5]}}\'',
        '{"spec": {"priority": 1}}',
    ],
)
def test_defaults_of_an_administrator_stay_and_come_back(defaults: str | None) -> None:
    held = holding(defaults)["data"]

    change = argo.applied(held, {})

    theirs, now = understood(defaults), understood(change.after)
    spec = theirs.get("spec") or {}
    patch = spec.get("podSpecPatch", {})
    context = patch.get("securityContext", {}) | OURS["podSpecPatch"]["securityContext"]
    assert now == theirs | {
        "spec": spec | OURS | {"podSpecPatch": patch | {"securityContext": context}}
    }
    assert change.annotation is not None and not change.problems
    held["workflowDefaults"], annotations = change.after, {argo.ANNOTATION: change.annotation}
    assert argo.undone(held, annotations).after == defaults
    # Somebody else has changed them meanwhile.
    other = understood(change.after)
    other["spec"]["parallelism"] = 3
    other["spec"]["podSpecPatch"] = json.dumps(other["spec"]["podSpecPatch"])
    held["workflowDefaults"] = yaml.safe_dump(other)
    left = understood(argo.undone(held, annotations).after)
    assert left.pop("spec") == spec | {"parallelism": 3}
    assert left == {name: value for name, value in theirs.items() if name != "spec"}


def test_comments_stay() -> None:
    text = "# ours\nspec:\n  # an hour\n  ttlStrategy:\n    secondsAfterSuccess: 3600  # enough\n"

    after = argo.applied(holding(text)["data"], {}).after

    assert after is not None
    assert [line for line in after.splitlines() if line in text.splitlines()] == text.splitlines()


@pytest.mark.parametrize(
    ("defaults", "problem"),
    [
        ("spec:\n  podGC: {strategy: OnWorkflowCompletion}\n", "finished pods keep their disks"),
        (
            "spec:\n  podSpecPatch: 'securityContext: {fsGroup: 5}'\n",
            "fsGroup is 5, but the images",
        ),
    ],
)
def test_what_an_administrator_has_chosen_differently_is_left_and_said(
    defaults: str,
    problem: str,
    server: Server,
    run: Callable[[str], int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.apply(holding(defaults))

    assert run("apply") == 1

    assert "left as it is" in caplog.text and problem in caplog.text
    (name,) = understood(defaults)["spec"]
    held = understood(server.read()["data"]["workflowDefaults"])["spec"]
    assert held == OURS | {name: understood(defaults)["spec"][name]}
    assert run("apply") == 1


def test_what_the_older_manifest_destroyed_is_recognised(
    server: Server, run: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    patch = json.dumps(OURS["podSpecPatch"])
    manifest = holding(f"spec:\n  podSpecPatch: |\n    {patch}\n")
    del manifest["data"]["artifactRepository"], manifest["data"]["executor"]
    server.apply(manifest)

    assert run("apply") == 1

    assert "no artifactRepository, executor" in caplog.text
    assert "apply KFP's manifests again" in caplog.text
    server.change(kfps("2.17.0")["data"])
    assert (run("apply"), run("show")) == (0, 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"config": "workflowDefaults: {}"}, "spec.podGC to its workflowDefaults"),
        ({"workflowDefaults": "spec: ["}, "not YAML"),
        ({"workflowDefaults": "[a]"}, "not a workflow's"),
        (
            {"workflowDefaults": "spec:\n  podSpecPatch: 'a: {{workflow.parameters.b}}'\n"},
            "into its podSpecPatch by hand",
        ),
    ],
)
def test_what_is_not_understood_is_refused(data: Mapping[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        argo.applied(data, {})


def test_without_argos_config_map_it_asks_for_the_namespace(
    server: Server, run: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    assert run("show") == 2

    assert "give KFP's own with --namespace" in caplog.text


def test_without_permission_nothing_is_written(
    server: Server,
    run: Callable[[str], int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    assert run("apply") == 1

    assert "no kubectl configuration found" in caplog.text
