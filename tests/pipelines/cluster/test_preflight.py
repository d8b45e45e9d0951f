import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from pipelines import submit
from pipelines.cluster.estimate import estimate
from pipelines.cluster.preflight import needs
from pipelines.compile import compile_recipe
from pipelines.recipe import load
from pipelines.run import graph
from tests.pipelines.kubeflow import Kubeflow

CONFIG_MAP = "/api/v1/namespaces/kubeflow/configmaps/webly"
NODES = "/api/v1/nodes"
Check = Callable[..., int]


@pytest.fixture(scope="module")
def smoke(compiled_recipe: Callable[..., Path]) -> Path:
    return compiled_recipe("smoke")


@pytest.fixture
def secret(smoke: Path) -> str:
    """The path of the secret that the compiled pipeline names."""
    (name,) = needs(smoke).secrets
    return f"/api/v1/namespaces/kubeflow/secrets/{name}"


@pytest.fixture
def kubeflow(tmp_path: Path, secret: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubeflow]:
    """A cluster where all is in its place, apart from storage."""
    with Kubeflow() as server:
        keys = {"accesskey": "QQ==", "secretkey": "Qg=="}
        server.objects = {
            CONFIG_MAP: {"data": {}},
            secret: {"data": keys},
            NODES: {
                "items": [{"status": {"allocatable": {"nvidia.com/gpu": str(n)}}} for n in (1, 8)]
            },
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
    kubeflow.objects[CONFIG_MAP] = {"data": settings}
    held = boto3.resource("s3").Bucket(bucket.removeprefix("s3://"))
    for name in ("info/train.txt", "a.tar"):
        held.put_object(Key=f"data/{name}", Body=b"abc")
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

    assert set(found(caplog).values()) == {"ok"}
    assert set(found(caplog)) == {"API", "config map", "secret", "node pool", "bucket", "data set"}
    assert "2 files, readable" in caplog.text
    left = boto3.resource("s3").Bucket(stored.removeprefix("s3://")).objects.all()
    assert {entry.key for entry in left} == {"data/a.tar", "data/info/train.txt"}
    assert not kubeflow.kept["runs"]


SEVERAL = """
name: webly-several
candidates: [{backbone: resnet18}]
finetune: {num_nodes: '2'}
"""
TRAINER = "/apis/trainer.kubeflow.org/v1alpha1"
REVIEW = "/apis/authorization.k8s.io/v1/namespaces/kubeflow/localsubjectaccessreviews"


@pytest.fixture
def trainer(kubeflow: Kubeflow, tmp_path: Path) -> Path:
    """A pipeline with a stage on several nodes, for a cluster that has what it takes."""
    (tmp_path / "several.yaml").write_text(SEVERAL)
    compile_recipe(load(str(tmp_path / "several.yaml")), tmp_path / "compiled.yaml")
    kind = {"name": "trainjobs", "singularName": "", "kind": "TrainJob", "namespaced": True}
    resources = [kind | {"verbs": ["create"]}]
    kubeflow.objects |= {
        CONFIG_MAP: {"data": {"WEBLY_TRAINJOB_RUNTIME": "webly"}},
        TRAINER: {"groupVersion": "trainer.kubeflow.org/v1alpha1", "resources": resources},
        f"{TRAINER}/clustertrainingruntimes/webly": {},
        REVIEW: {"spec": {}, "status": {"allowed": True}},
    }
    return tmp_path / "compiled.yaml"


def test_stages_on_several_nodes_find_a_trainer(
    kubeflow: Kubeflow, trainer: Path, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = [{"status": {"allocatable": {"nvidia.com/gpu": "8"}}} for _ in range(2)]
    kubeflow.objects[NODES] = {"items": nodes}

    check("--file", str(trainer), "gpus_finetune=8")

    states = found(caplog)
    assert {states[name] for name in ("trainer", "runtime", "rights", "node pool")} == {"ok"}
    assert "8 of nvidia.com/gpu on each of 2 nodes: 2 of 2 nodes offer them" in caplog.text
    users = {review["spec"]["user"] for review in kubeflow.posted(REVIEW)}
    assert "system:serviceaccount:kubeflow:pipeline-runner" in users


def test_what_stages_on_several_nodes_lack_is_missing_with_a_remedy(
    kubeflow: Kubeflow, trainer: Path, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    del kubeflow.objects[TRAINER]
    kubeflow.objects[CONFIG_MAP] = {"data": {"WEBLY_CHECKPOINTS": "/checkpoints"}}
    kubeflow.objects[REVIEW]["status"]["allowed"] = False

    assert check("--file", str(trainer), "gpus_finetune=8", "--service-account", "runner") == 1

    states = found(caplog)
    missing = ("trainer", "runtime", "rights", "node pool", "bucket")
    assert {states[name] for name in missing} == {"missing"}
    assert "ClusterTrainingRuntime torch-distributed: kubectl apply -n kubeflow -k" in caplog.text
    assert "runner may create TrainJobs: kubectl apply" in caplog.text
    assert "8 of nvidia.com/gpu on each of 2 nodes: 1 offer them" in caplog.text
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
    kubeflow: Kubeflow, secret: str, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    kubeflow.objects[secret]["data"].pop("secretkey")
    del kubeflow.objects[CONFIG_MAP]

    assert check() == 1

    states = found(caplog)
    assert (states["secret"], states["config map"]) == ("missing", "missing")
    assert "has no secretkey: kubectl -n kubeflow create secret generic" in caplog.text
    assert "kubectl apply -k" in caplog.text


def test_a_node_pool_without_enough_gpus_is_missing(
    kubeflow: Kubeflow, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    selector = 'gpu_node_selector={"pool": "a100"}'

    assert check("gpus_finetune=16", selector) == 1

    assert found(caplog)["node pool"] == "missing"
    assert "16 of nvidia.com/gpu: the most that one of 2 nodes with pool=a100 offers is 8" in (
        caplog.text
    )
    (query,) = (query for _, path, query, _ in kubeflow.requests if path == NODES)
    assert query == {"labelSelector": "pool=a100"}


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
    assert states.pop("API") == "ok"
    assert set(states.values()) == {"unknown"}


def test_a_secrets_values_are_not_shown(
    kubeflow: Kubeflow, secret: str, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    kubeflow.objects[secret]["data"]["secretkey"] = "dmVyeS1zZWNyZXQ="

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


def test_without_the_number_of_images_an_estimate_says_what_it_leaves_out(
    smoke: Path, check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    takes = estimate(graph.read(smoke, []))

    assert not takes.gpu_hours
    assert {"wt_pretrain", "finetune", "pseudo_label"} <= set(takes.unknown)
    check()
    assert "give the number of images with --images" in caplog.text
