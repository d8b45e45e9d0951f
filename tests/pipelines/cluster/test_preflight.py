"""What `submit --check` says, in all states, of a stand-in for a cluster."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from pipelines import submit
from pipelines.cluster import argo, registries
from pipelines.cluster.estimate import estimate
from pipelines.cluster.preflight import needs
from pipelines.compile import compile_recipe
from pipelines.recipe import load
from pipelines.run import graph
from tests.ingest.layouts import jpeg
from tests.pipelines.kubeflow import Kubeflow

IN_NAMESPACE = "/api/v1/namespaces/kubeflow"
CONFIG_MAP = f"{IN_NAMESPACE}/configmaps/webly"
SECRETS = f"{IN_NAMESPACE}/secrets"
QUOTAS = f"{IN_NAMESPACE}/resourcequotas"
ARGO = f"{IN_NAMESPACE}/configmaps/{argo.CONFIG_MAP}"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
NODES = "/api/v1/nodes"
KUEUE = "/apis/kueue.x-k8s.io"
Check = Callable[..., int]


def node(*taints: tuple[str, str], **allocatable: str) -> dict[str, Any]:
    """Return a node with keys and effects of taints, and what it offers besides the usual."""
    usual = {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "500Gi", "nvidia.com/gpu": "8"}
    return {
        "spec": {"taints": [{"key": key, "effect": effect} for key, effect in taints]},
        "status": {"allocatable": usual | {k.replace("_", "-"): v for k, v in allocatable.items()}},
    }


EXTERNAL = "form: [ingest_external_validation]\n"
IMAGES = {f"data/{name}/{number}.jpg" for name in ("cat", "dog") for number in (1, 2)}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("smoke") / "smoke.yaml"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEBLY_REGISTRY", "registry.example.org/team")
        compile_recipe(load("smoke"), path)
    return path


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Compile a recipe with sections of pods."""
    monkeypatch.setenv("WEBLY_REGISTRY", "registry.example.org/team")

    def compiled(sections: str) -> Path:
        text = f"name: webly-own\ncandidates: [{{backbone: resnet18}}]\n{sections}"
        (tmp_path / "own.yaml").write_text(text)
        compile_recipe(load(str(tmp_path / "own.yaml")), tmp_path / "compiled.yaml")
        return tmp_path / "compiled.yaml"

    return compiled


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A docker command that answers a shell's `case` of references; else every image is there."""
    path = tmp_path / "bin" / "docker"
    path.parent.mkdir()
    monkeypatch.setenv("PATH", str(path.parent), prepend=":")

    def answer(cases: str) -> None:
        path.write_text(f"#!/bin/sh\nfor reference; do :; done\ncase $reference in {cases} esac\n")
        path.chmod(0o755)

    answer("")
    return answer


@pytest.fixture
def kubeflow(
    tmp_path: Path, docker: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Kubeflow]:
    """A cluster where all is in its place, apart from storage."""
    with Kubeflow() as server:
        keys = {"accesskey": "QQ==", "secretkey": "Qg=="}
        hard = {"requests.nvidia.com/gpu": "8", "persistentvolumeclaims": "32"}
        server.objects = {
            CONFIG_MAP: {"data": {"WEBLY_STORE": "/store", "WEBLY_CHECKPOINTS": "/checkpoints"}},
            f"{SECRETS}/webly-s3": {"data": keys},
            NODES: {"items": [node(**{"nvidia.com/gpu": "1"}), node()]},
            QUOTAS: {"items": [{"metadata": {"name": "team"}, "spec": {"hard": hard}}]},
            ARGO: {"metadata": {"resourceVersion": "1"}, "data": {}},
            CLASSES: {"items": [{"metadata": {"name": "fast"}, "provisioner": "csi"}]},
        }
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config")))
        monkeypatch.setenv("WEBLY_STORAGE_TIMEOUT", "10")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        yield server


@pytest.fixture
def stored(kubeflow: Kubeflow, smoke: Path, bucket: str) -> str:
    """A real bucket with a data set, named by the config map."""
    settings = {key: f"{bucket}/{key.lower()}" for key in sorted(needs(smoke).config_maps["webly"])}
    kubeflow.objects[CONFIG_MAP]["data"] = settings
    held = boto3.resource("s3").Bucket(bucket.removeprefix("s3://"))
    for name in IMAGES:
        held.put_object(Key=name, Body=jpeg((99, 0, 0)))
    return bucket


@pytest.fixture
def check(kubeflow: Kubeflow, smoke: Path, caplog: pytest.LogCaptureFixture) -> Check:
    """Run the command, and return its exit code."""
    caplog.set_level(logging.INFO)

    def run(*argv: str) -> int:
        with pytest.raises(SystemExit) as ended:
            submit.main(["--check", "--file", str(smoke), "--endpoint", kubeflow.endpoint, *argv])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


def found(caplog: pytest.LogCaptureFixture) -> dict[str, str]:
    """Return the states, by what was checked; the worst one."""
    states: dict[str, str] = {}
    for line in caplog.messages:
        state, what = line[:8].strip(), line[9:21].strip()
        if state in ("ok", "missing", "unknown") and states.get(what) != "missing":
            states[what] = state
    return states


def test_all_that_is_there_is_ok(
    kubeflow: Kubeflow, stored: str, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    assert check(f"dataset={stored}/data") == 0

    assert set(found(caplog).values()) == {"ok"}, caplog.text
    assert {"API", "images", "config map", "secret", "node pool", "quota", "bucket"} < set(
        found(caplog)
    )
    assert "4 files, readable" in caplog.text
    assert "classes     2, with training images: cat 1, dog 1" in caplog.text
    left = boto3.resource("s3").Bucket(stored.removeprefix("s3://")).objects.all()
    assert {entry.key for entry in left} == IMAGES
    assert not kubeflow.kept["runs"]


TRAINER = "/apis/trainer.kubeflow.org/v1alpha1"
REVIEW = "/apis/authorization.k8s.io/v1/namespaces/kubeflow/localsubjectaccessreviews"


@pytest.fixture
def trainer(kubeflow: Kubeflow, recipe: Callable[[str], Path]) -> Path:
    """A pipeline with a stage on several nodes, for a cluster that has what it takes."""
    kind = {"name": "trainjobs", "singularName": "", "kind": "TrainJob", "namespaced": True}
    resources = [kind | {"verbs": ["create"]}]
    kubeflow.objects |= {
        CONFIG_MAP: {"data": {"WEBLY_TRAINJOB_RUNTIME": "webly"}},
        TRAINER: {"groupVersion": "trainer.kubeflow.org/v1alpha1", "resources": resources},
        f"{TRAINER}/clustertrainingruntimes/webly": {},
        REVIEW: {"spec": {}, "status": {"allowed": True}},
    }
    return recipe("finetune: {num_nodes: '2'}")


def test_stages_on_several_nodes_find_a_trainer(
    kubeflow: Kubeflow, trainer: Path, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    kubeflow.objects[NODES] = {"items": [node(), node()]}

    check("--file", str(trainer), "gpus_finetune=8")

    states = found(caplog)
    assert {states[name] for name in ("trainer", "runtime", "rights", "node pool")} == {"ok"}
    assert "8 nvidia.com/gpu" in caplog.text and "on each of 2 nodes: 2 of 2 nodes" in caplog.text
    users = {review["spec"]["user"] for review in kubeflow.posted(REVIEW)}
    assert "system:serviceaccount:kubeflow:pipeline-runner" in users


def test_what_stages_on_several_nodes_lack_is_missing_with_a_remedy(
    kubeflow: Kubeflow, trainer: Path, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    del kubeflow.objects[TRAINER]
    kubeflow.objects[CONFIG_MAP]["data"] = {"WEBLY_CHECKPOINTS": "/checkpoints"}
    kubeflow.objects[REVIEW]["status"]["allowed"] = False

    assert check("--file", str(trainer), "gpus_finetune=8", "--service-account", "runner") == 1

    states = found(caplog)
    missing = ("trainer", "runtime", "rights", "node pool", "bucket")
    assert {states[name] for name in missing} == {"missing"}
    assert "ClusterTrainingRuntime torch-distributed: kubectl apply -n kubeflow -k" in caplog.text
    assert "runner may create TrainJobs: kubectl apply" in caplog.text
    assert "on each of 2 nodes: 1 of 2 nodes offer it" in caplog.text
    assert "WEBLY_CHECKPOINTS=/checkpoints: the nodes share it" in caplog.text


def test_rights_that_cannot_be_looked_at_are_unknown(
    kubeflow: Kubeflow, trainer: Path, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    kubeflow.forbidden = {REVIEW}

    check("--file", str(trainer))

    assert found(caplog)["rights"] == "unknown"


def test_a_data_set_and_a_bucket_that_are_not_there_are_missing(
    kubeflow: Kubeflow, stored: str, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    settings = kubeflow.objects[CONFIG_MAP]["data"]
    settings["WEBLY_STORE"] = "s3://webly-nosuch/store"

    assert check(f"dataset={stored}/other") == 1

    states = found(caplog)
    assert (states["data set"], states["bucket"]) == ("missing", "missing")
    assert "webly-nosuch" in caplog.text
    assert f"{stored}/other: no files there" in caplog.text


def test_what_the_namespace_lacks_is_missing_with_a_remedy(
    kubeflow: Kubeflow, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    kubeflow.objects[f"{SECRETS}/webly-s3"]["data"].pop("secretkey")
    del kubeflow.objects[CONFIG_MAP]

    assert check() == 1

    states = found(caplog)
    assert (states["secret"], states["config map"]) == ("missing", "missing")
    assert "has no secretkey: kubectl -n kubeflow create secret generic" in caplog.text
    assert "kubectl apply -n kubeflow -k k8s/overlays/cluster" in caplog.text


def test_a_node_pool_without_enough_gpus_is_missing(
    kubeflow: Kubeflow, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    selector = 'gpu_node_selector={"pool": "a100"}'

    assert check("gpus_finetune=16", selector) == 1

    assert found(caplog)["node pool"] == "missing"
    assert "16 nvidia.com/gpu, 8 cpu, 32Gi memory, 16Gi ephemeral-storage: 0 of 2 nodes with" in (
        caplog.text
    )
    assert "pool=a100 offer it; the most nvidia.com/gpu is 8: change" in caplog.text
    queries = [query for _, path, query, _ in kubeflow.requests if path == NODES]
    assert {query.get("labelSelector") for query in queries} == {None, "pool=a100"}


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ([], "0 of 0 nodes offer it: change"),
        ([node(cpu="4")], "; the most cpu is 4: change"),
        ([node(memory="8Gi")], "; the most memory is 8Gi: change"),
        ([node(ephemeral_storage="10Gi")], "; the most ephemeral-storage is 10Gi: change"),
        (
            [node(("pool", "NoSchedule"), ("soft", "PreferNoSchedule"))],
            "; taints that are not tolerated: pool=:NoSchedule: change",
        ),
    ],
)
def test_what_keeps_pods_from_nodes_is_said(
    nodes: list[Any],
    why: str,
    kubeflow: Kubeflow,
    check: Check,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kubeflow.objects[NODES] = {"items": nodes}

    assert check() == 1

    (line,) = [line for line in caplog.messages if "node pool    ingest" in line]
    assert line.startswith("missing") and why in line


@pytest.mark.parametrize(
    ("toleration", "state"),
    [
        ({"key": "pool", "operator": "Exists"}, "ok"),
        ({"key": "pool", "value": "a"}, "missing"),
        ({"key": "pool", "operator": "Exists", "effect": "NoExecute"}, "missing"),
        ({"operator": "Exists"}, "ok"),
    ],
)
def test_tolerations_are_read_as_kubernetes_reads_them(
    toleration: dict[str, str],
    state: str,
    kubeflow: Kubeflow,
    check: Check,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kubeflow.objects[NODES] = {"items": [node(("pool", "NoSchedule"))]}
    given = json.dumps([toleration])

    check(f"cpu_tolerations={given}", f"gpu_tolerations={given}")

    assert found(caplog)["node pool"] == state


def test_a_taint_that_some_clusters_make_pods_tolerate_is_unknown(
    kubeflow: Kubeflow, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    kubeflow.objects[NODES]["items"] = [node(("nvidia.com/gpu", "NoSchedule")), node()]
    kubeflow.objects[NODES]["items"][1]["status"]["allocatable"]["nvidia.com/gpu"] = "0"

    assert check() == 0

    lines = [line for line in caplog.messages if "node pool" in line]
    assert {line.split()[0] for line in lines} == {"ok", "unknown"}
    assert "as GKE does; if not, set tolerations" in caplog.text


def test_images_that_are_not_in_their_registry_are_missing(
    docker: Callable[[str], None], check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    docker(
        "*:finetune-*) echo no such manifest: $reference >&2; exit 1;; "
        "*:ingest-*) echo unauthorized >&2; exit 1;;"
    )

    assert check() == 1

    missing, unknown, there = (line for line in caplog.messages if line[9:15] == "images")
    assert missing.startswith("missing") and "/train:finetune-" in missing
    assert "python -m pipelines.images build, then push" in missing
    assert unknown.startswith("unknown") and unknown.endswith(": not checked: unauthorized")
    assert there.startswith("ok") and "5 of 7 are in their registries" in there


@pytest.mark.parametrize(
    ("script", "message"),
    [("exec sleep 5", "no answer in 1 s"), (None, "docker: no such command")],
)
def test_a_registry_that_cannot_be_asked_is_unknown(
    script: str | None,
    message: str,
    docker: Callable[[str], None],
    check: Check,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(registries, "_SECONDS", 1.0)
    docker(f"*) {script};;")
    if script is None:
        monkeypatch.setenv("PATH", str(tmp_path))

    assert check() == 0

    assert found(caplog)["images"] == "unknown"
    assert f"not checked: {message}" in caplog.text


def test_images_without_a_registry_are_missing(
    compiled_recipe: Callable[..., Path], check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    assert check("--file", str(compiled_recipe("smoke"))) == 1

    assert "webly/text:" in caplog.text
    assert "names no registry, so a cluster would look for it at Docker Hub" in caplog.text
    assert found(caplog)["images"] == "missing"


def test_what_a_recipe_names_must_be_there(
    kubeflow: Kubeflow,
    recipe: Callable[[str], Path],
    check: Check,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sections = (
        "pods: {pull_secret: registry, queue: team, queue_priority: high, disk_class: fast}\n"
        "ingest: {disk_class: slow}\nensemble: {disk_class: default}\n"
    )
    file = recipe(sections)

    assert check("--file", str(file)) == 1

    kinds = ("pull secret", "queue", "priority", "disk class", "Argo")
    assert {found(caplog)[kind] for kind in kinds} == {"missing"}
    assert "registry: kubectl -n kubeflow create secret docker-registry registry" in caplog.text
    assert "slow: there are fast; disk_class: node is for disks on nodes" in caplog.text
    assert "default: none is: there are fast" in caplog.text
    assert "ok       disk class   fast" in caplog.text
    assert "settings for disks of a class: python -m pipelines.argo apply" in caplog.text

    caplog.clear()
    version = {"groupVersion": "kueue.x-k8s.io/v1beta2", "version": "v1beta2"}
    kueue = f"{KUEUE}/v1beta2"
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    names: list[dict[str, Any]] = [{"name": "fast", "annotations": default}, {"name": "slow"}]
    classes = [{"metadata": about, "provisioner": "csi"} for about in names]
    kubeflow.objects |= {
        f"{SECRETS}/registry": {"data": {}},
        KUEUE: {"name": "kueue.x-k8s.io", "versions": [version], "preferredVersion": version},
        f"{kueue}/namespaces/kubeflow/localqueues/team": {},
        f"{kueue}/workloadpriorityclasses/high": {},
        CLASSES: {"items": classes},
    }
    held = kubeflow.objects[ARGO]
    defaults = argo.applied({}, {}).after
    held["data"] = {"artifactRepository": "", "executor": "", argo.DEFAULTS: defaults}

    check("--file", str(file))

    assert {found(caplog)[kind] for kind in kinds} == {"ok"}


def test_what_kubernetes_does_not_show_is_unknown(
    kubeflow: Kubeflow,
    recipe: Callable[[str], Path],
    check: Check,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kubeflow.forbidden = {CLASSES, QUOTAS, NODES, KUEUE, ARGO, f"{SECRETS}/registry"}
    sections = "pods: {pull_secret: registry, queue: team, queue_priority: high, disk_class: fast}"

    assert check("--file", str(recipe(sections)), "dataset=s3://bucket/data") == 0

    kinds = ("pull secret", "queue", "priority", "disk class", "node pool", "quota", "Argo")
    assert {found(caplog)[kind] for kind in kinds} == {"unknown"}
    assert caplog.text.count("not checked: Kubernetes answers 403 Forbidden") == len(kinds)


def test_argos_settings_matter_only_for_disks_of_a_class(
    check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    check()

    assert "Argo" not in found(caplog)


@pytest.mark.parametrize(
    ("defaults", "line"),
    [
        ("spec:\n  podGC: {strategy: OnWorkflowSuccess}\n", "missing  Argo         podGC is"),
        ("spec: [", "missing  Argo         workflowDefaults: not YAML"),
        (None, "missing  Argo         ConfigMap workflow-controller-configmap in kubeflow"),
        (403, "unknown  Argo         ConfigMap workflow-controller-configmap in kubeflow: not"),
        (
            "spec: {templateDefaults: {retryStrategy: {limit: '2', retryPolicy: Always}}}\n",
            "ok       Argo         its defaults retry (Always, 2) not only pods",
        ),
    ],
)
def test_what_argos_defaults_mean_is_said(
    defaults: str | int | None,
    line: str,
    kubeflow: Kubeflow,
    recipe: Callable[[str], Path],
    check: Check,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if defaults == 403:
        kubeflow.forbidden = {ARGO}
    elif defaults is None:
        del kubeflow.objects[ARGO]
    else:
        kubeflow.objects[ARGO]["data"] = {argo.DEFAULTS: defaults}

    check("--file", str(recipe("pods: {disk_class: fast}")))

    assert any(each.startswith(line) for each in caplog.messages), caplog.text


@pytest.mark.parametrize(
    ("hard", "message"),
    [
        (
            {"requests.nvidia.com/gpu": "2"},
            "team: allows 2 of requests.nvidia.com/gpu, but finetune asks for 4: raise it",
        ),
        ({"limits.memory": "16Gi"}, "allows 16Gi of limits.memory, but ingest asks for 32Gi"),
    ],
)
def test_a_quota_that_the_largest_pod_exceeds_is_missing(
    hard: dict[str, str],
    message: str,
    kubeflow: Kubeflow,
    check: Check,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kubeflow.objects[QUOTAS]["items"][0]["spec"]["hard"] = hard

    assert check("gpus_finetune=4") == 1

    assert found(caplog)["quota"] == "missing"
    assert message in caplog.text


def test_a_quota_for_some_pods_only_is_no_matter(
    kubeflow: Kubeflow, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    spec = {"hard": {"requests.nvidia.com/gpu": "0"}, "scopes": ["BestEffort"]}
    kubeflow.objects[QUOTAS]["items"][0]["spec"] = spec

    check()

    assert "quota" not in found(caplog)


def test_temporary_keys_may_have_a_session_token(smoke: Path) -> None:
    assert needs(smoke).secrets == {"webly-s3": frozenset({"accesskey", "secretkey"})}


@pytest.mark.parametrize(
    ("options", "annotations", "state", "detail"),
    [
        ([], {"eks.amazonaws.com/role-arn": "arn:role"}, "ok", "but pipeline-runner has the role"),
        (["--service-account", "own"], {}, "unknown", "pods may do what own may"),
        ([], {}, "missing", "create secret generic webly-s3"),
    ],
)
def test_a_service_account_may_stand_for_keys(
    options: list[str],
    annotations: dict[str, str],
    state: str,
    detail: str,
    kubeflow: Kubeflow,
    check: Check,
    caplog: pytest.LogCaptureFixture,
) -> None:
    del kubeflow.objects[f"{SECRETS}/webly-s3"]
    for name in ("pipeline-runner", "own"):
        account = {"metadata": {"annotations": annotations}}
        kubeflow.objects[f"{IN_NAMESPACE}/serviceaccounts/{name}"] = account

    check(*options)

    assert found(caplog)["secret"] == state
    assert detail in caplog.text


def test_a_service_account_that_is_named_must_be_there(
    check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    assert check("--service-account", "nobody") == 1

    assert found(caplog)["account"] == "missing"
    assert "nobody: create it" in caplog.text


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (None, "missing  config map   webly-ca: kubectl -n kubeflow create configmap webly-ca"),
        ({}, "missing  config map   webly-ca has no ca.crt"),
        ({"ca.crt": "PEM"}, "ok       config map   webly-ca"),
    ],
)
def test_certificates_of_the_store_must_be_there_where_they_are_used(
    content: dict[str, str] | None,
    detail: str,
    kubeflow: Kubeflow,
    check: Check,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kubeflow.objects[CONFIG_MAP]["data"]["AWS_CA_BUNDLE"] = "/etc/webly/ca/ca.crt"
    if content is not None:
        kubeflow.objects[f"{IN_NAMESPACE}/configmaps/webly-ca"] = {"data": content}

    check()

    assert detail in caplog.text


def test_without_configuration_and_keys_it_says_what_it_could_not_look_at(
    tmp_path: Path,
    check: Check,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    assert check() == 0

    states = found(caplog)
    assert (states.pop("API"), states.pop("images")) == ("ok", "ok")
    assert set(states.values()) == {"unknown"}


def test_a_secrets_values_are_not_shown(
    kubeflow: Kubeflow, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    kubeflow.objects[f"{SECRETS}/webly-s3"]["data"]["secretkey"] = "dmVyeS1zZWNyZXQ="

    check()

    assert "dmVyeS1zZWNyZXQ=" not in caplog.text
    assert found(caplog)["secret"] == "ok"


def test_no_api_is_missing(check: Check, caplog: pytest.LogCaptureFixture) -> None:
    assert check("--endpoint", "http://127.0.0.1:9") == 1

    assert found(caplog)["API"] == "missing"


def test_gpu_hours_are_epochs_times_images_by_images_a_second(smoke: Path) -> None:
    pipeline = graph.read(smoke, ["wt_pretrain_epochs=10", "finetune_epochs=3"])

    takes = estimate(pipeline, images=100_000, images_per_second=1000.0)

    # one resnet18 is pretrained on keywords, at 128 pixels, and two are finetuned
    rate = 1000 * (224 / 128) ** 2
    assert takes.gpu_hours["wt_pretrain"] == pytest.approx(10 * 100_000 / rate / 3600)
    assert takes.gpu_hours["finetune"] == pytest.approx(2 * 3 * 100_000 / rate / 3600)
    assert takes.shards == pytest.approx(100_000 * 39_000 * (160 / 256) ** 2 / 1e9)
    assert takes.rates == {"resnet18": 1000.0}
    assert not takes.unknown


def test_each_fold_of_an_audit_is_a_training_without_its_images(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: webly-audited\ncandidates: [{backbone: resnet18}]\naudit: {folds: 4}\n"
        "finetune: {epochs: 3, epoch_images: 0}\n"
    )
    compile_recipe(load(str(recipe)), tmp_path / "compiled.yaml")

    takes = estimate(graph.read(tmp_path / "compiled.yaml", []), 100_000, 1000.0)

    assert takes.gpu_hours["audit"] == pytest.approx(4 * 3 * 75_000 / 1000 / 3600)


def test_gpu_hours_that_are_not_known_are_not_zero(
    smoke: Path, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    takes = estimate(graph.read(smoke, []))

    assert not takes.gpu_hours
    assert {"wt_pretrain", "finetune", "pseudo_label"} <= set(takes.unknown)
    check()
    assert "GPU hours    unknown" in caplog.messages
    assert "give the number of images with --images" in caplog.text
    assert "gigabytes    shards unknown, " in caplog.text


def test_gpu_hours_of_some_steps_are_the_least(
    recipe: Callable[[str], Path], check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    file = recipe("finetune: {epoch_images: 1000000}\nfinetune_again: {}\n")

    check("--file", str(file))
    check("--file", str(file), "--images", "1000000")

    some, complete = (line for line in caplog.messages if line.startswith("GPU hours"))
    assert some.startswith("GPU hours    at least ") and "finetune " in some
    assert "at least" not in complete and "pseudo_label " in complete


def test_a_data_set_of_this_machine_is_missing_there(
    check: Check, caplog: pytest.LogCaptureFixture, recipe: Callable[..., Path]
) -> None:
    assert check("--file", str(recipe("")), "dataset=/photos") == 1
    assert "missing  folder       ingest: dataset=/photos: a folder of this machine" in caplog.text

    caplog.clear()
    argv = "dataset=s3://bucket/data", "ingest_external_validation=/photos"
    assert check("--file", str(recipe(EXTERNAL)), *argv) == 1
    assert "missing  folder       ingest: external_validation=/photos: a folder of" in caplog.text


def test_an_external_validation_set_is_looked_for_as_the_data_set_is(
    stored: str, check: Check, caplog: pytest.LogCaptureFixture, recipe: Callable[..., Path]
) -> None:
    argv = "--file", str(recipe(EXTERNAL)), f"dataset={stored}/data"

    assert check(*argv, f"ingest_external_validation={stored}/other") == 1
    assert f"{stored}/other: no files there" in caplog.text

    caplog.clear()
    check(*argv, f"ingest_external_validation={stored}/data")
    assert "external    4 images of data: " in caplog.text


def test_the_pod_that_fetches_weights_is_named_with_its_hub(
    kubeflow: Kubeflow,
    recipe: Callable[[str], Path],
    check: Check,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = recipe("form: [initial_model_weights]\ninitial_model: {weights: imagenet}\n")
    kubeflow.objects[CONFIG_MAP]["data"]["HF_ENDPOINT"] = "https://mirror.example.org"

    check("--file", str(file), "dataset=s3://bucket/data")

    assert "initial-model-resnet18 fetches imagenet from https://mirror.example.org" in caplog.text
    assert found(caplog)["weights"] == "unknown"
    assert "webly-hub" not in caplog.text  # few need a token

    caplog.clear()
    check("--file", str(file), "dataset=s3://bucket/data", "initial_model_weights=/weights")

    assert "missing  folder       initial_model: weights=/weights: a folder of" in caplog.text
