import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.utils import parse_quantity

from pipelines.cluster.quotas import counted
from pipelines.compile import compile_recipe
from pipelines.images import ROOT
from pipelines.recipe import FOLDER, load
from pipelines.run import graph

pytestmark = pytest.mark.slow

K8S = ROOT / "k8s"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
SECRET = {"accesskey": "AKIATEST", "secretkey": "secretsecret", "sessiontoken": "of-an-hour"}


def render(folder: Path) -> list[dict[str, Any]]:
    """Return the objects that `kubectl apply --kustomize` would make."""
    if not (kubectl := shutil.which("kubectl")):
        pytest.skip("needs kubectl")
    ended = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True)
    if "must be a file" in ended.stderr:
        pytest.skip("needs kubectl 1.21 or newer")
    assert ended.returncode == 0, ended.stderr
    assert "deprecated" not in ended.stderr.lower()
    return list(yaml.safe_load_all(ended.stdout))


def secret(tmp_path: Path) -> dict[str, Any]:
    """Return the secret that a user makes of the template."""
    folder = tmp_path / "s3-secret"
    shutil.copytree(K8S / "s3-secret", folder)
    template = (folder / "keys.env.example").read_text()
    filled = re.sub(
        r"^#?(\w+)=$", lambda found: f"{found[1]}={SECRET[found[1]]}", template, flags=re.M
    )
    (folder / "keys.env").write_text(filled)
    (made,) = render(folder)
    return made


def keys(objects: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Return the keys of each config map and secret, by its name."""
    held = [each for each in objects if each["kind"] in ("ConfigMap", "Secret")]
    return {each["metadata"]["name"]: set(each["data"]) for each in held}


@pytest.fixture(scope="module", params=["paper", "smoke"])
def pods(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What KFP is told about each pod of a recipe."""
    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    compile_recipe(load(request.param), path)
    _, platform = yaml.safe_load_all(path.read_text())
    return list(platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_rendered_is_valid(overlay: str) -> None:
    validator = pytest.importorskip("kubernetes_validate")

    objects = render(K8S / "overlays" / overlay)

    assert objects
    for each in objects:
        validator.validate(each, "1.33", strict=True)


def test_the_rendered_secret_is_valid_and_has_the_keys_that_were_filled_in(tmp_path: Path) -> None:
    validator = pytest.importorskip("kubernetes_validate")

    made = secret(tmp_path)

    validator.validate(made, "1.33", strict=True)
    assert made["metadata"]["name"] == "webly-s3"
    assert set(made["data"]) == set(SECRET)
    assert all(made["data"].values())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_find_each_config_map_and_secret_by_its_keys(
    overlay: str, pods: list[Any], tmp_path: Path
) -> None:
    there = keys([*render(K8S / "overlays" / overlay), secret(tmp_path)])

    for pod in pods:
        for source in pod["configMapAsEnv"]:
            name = source["configMapName"]
            assert name in there
            needed = {pair["configMapKey"] for pair in source["keyToEnv"]}
            assert source["optional"] or needed <= there[name]
        (source,) = pod["secretAsEnv"]
        given = {pair["secretKey"]: pair["envVar"] for pair in source["keyToEnv"]}
        assert set(given) == there[source["secretName"]]
        # As boto3 reads them.
        assert given["accesskey"] == "AWS_ACCESS_KEY_ID"
        assert given["secretkey"] == "AWS_SECRET_ACCESS_KEY"
        assert given["sessiontoken"] == "AWS_SESSION_TOKEN"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_take_each_setting_of_the_config_map(overlay: str, pods: list[Any]) -> None:
    there = keys(render(K8S / "overlays" / overlay))["webly"]

    for pod in pods:
        pairs = [pair for source in pod["configMapAsEnv"] for pair in source["keyToEnv"]]
        # Launchers of stages on several nodes take the last.
        assert there - {pair["configMapKey"] for pair in pairs} <= {"WEBLY_TRAINJOB_RUNTIME"}
        assert all(pair["configMapKey"] == pair["envVar"] for pair in pairs)


def trainer() -> dict[str, dict[str, Any]]:
    """Return the objects for stages on several nodes, by kind."""
    return {each["kind"]: each for each in render(K8S / "trainer")}


def test_a_training_runtimes_job_is_valid() -> None:
    validator = pytest.importorskip("kubernetes_validate")

    (job,) = trainer()["ClusterTrainingRuntime"]["spec"]["template"]["spec"]["replicatedJobs"]

    # What Trainer adds has no say in what is checked here.
    described = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job["name"]}}
    validator.validate(described | {"spec": job["template"]["spec"]}, "1.33", strict=True)
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    assert job["name"] == container["name"] == "node"  # by which a TrainJob changes them
    labels = job["template"]["metadata"]["labels"]
    assert labels["trainer.kubeflow.org/trainjob-ancestor-step"] == "trainer"


def test_a_training_runtime_has_no_field_that_trainer_does_not_know() -> None:
    models = pytest.importorskip("kubeflow_trainer_api.models")
    runtime = trainer()["ClusterTrainingRuntime"]

    understood = models.TrainerV1alpha1ClusterTrainingRuntime.from_dict(runtime)

    assert understood.to_dict() == runtime


def test_a_lost_node_is_made_anew_but_what_a_user_must_put_right_ends_the_job() -> None:
    spec = trainer()["ClusterTrainingRuntime"]["spec"]["template"]["spec"]
    job = spec["replicatedJobs"][0]["template"]["spec"]

    fail, ignore = job["podFailurePolicy"]["rules"]

    assert spec["failurePolicy"]["maxRestarts"] == 0 < job["backoffLimitPerIndex"]
    assert job["maxFailedIndexes"] == 0
    assert (fail["action"], fail["onExitCodes"]["values"]) == ("FailJob", [2])
    assert (ignore["action"], ignore["onPodConditions"][0]["type"]) == (
        "Ignore",
        "DisruptionTarget",
    )
    assert job["template"]["spec"]["restartPolicy"] == "Never"


def test_nodes_are_as_confined_as_kfps_pods_and_can_use_their_disks() -> None:
    spec = trainer()["ClusterTrainingRuntime"]["spec"]["template"]["spec"]
    pod = spec["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["fsGroup"] == 1000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_nodes_have_no_proxy_of_istios_that_would_outlive_them() -> None:
    spec = trainer()["ClusterTrainingRuntime"]["spec"]["template"]["spec"]
    pod = spec["replicatedJobs"][0]["template"]["spec"]["template"]

    assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_config_map_names_the_runtime(overlay: str) -> None:
    objects = render(K8S / "overlays" / overlay)

    named = [each for each in objects if each["metadata"]["name"] == "webly"]
    (config_map,) = [each for each in named if each["kind"] == "ConfigMap"]

    name = trainer()["ClusterTrainingRuntime"]["metadata"]["name"]
    assert config_map["data"]["WEBLY_TRAINJOB_RUNTIME"] == name


def test_runs_may_create_train_jobs_in_their_own_namespace() -> None:
    validator = pytest.importorskip("kubernetes_validate")
    role, binding = trainer()["Role"], trainer()["RoleBinding"]

    for each in (role, binding):
        validator.validate(each, "1.33", strict=True)
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert {each["name"] for each in binding["subjects"]} == {
        *("pipeline-runner", "default-editor", "webly-runner")
    }
    rights = {
        (resource, verb)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert rights == {
        *(("trainjobs", verb) for verb in ("create", "get", "delete")),
        *(("pods", verb) for verb in ("get", "list")),
        ("pods/log", "get"),
        ("events", "list"),
    }


def test_kfps_launcher_reads_the_secret_that_the_stages_read(tmp_path: Path) -> None:
    objects = render(K8S / "overlays/cluster")
    (launcher,) = [each for each in objects if each["metadata"]["name"] == "kfp-launcher"]

    providers = yaml.safe_load(launcher["data"]["providers"])
    reference = providers["s3"]["default"]["credentials"]["secretRef"]

    made = secret(tmp_path)
    assert reference["secretName"] == made["metadata"]["name"]
    assert {reference["accessKeyKey"], reference["secretKeyKey"]} < set(made["data"])
    assert launcher["data"]["defaultPipelineRoot"].startswith("s3://")


def test_the_quota_has_room_for_a_run_of_paper(tmp_path: Path) -> None:
    objects = render(K8S / "overlays/cluster")
    (quota,) = [each for each in objects if each["kind"] == "ResourceQuota"]
    hard = {name: parse_quantity(amount) for name, amount in quota["spec"]["hard"].items()}
    text = (FOLDER / "paper.yaml").read_text()
    (tmp_path / "claims.yaml").write_text(f"{text}\npods: {{disk_class: default}}\n")
    for recipe in ("paper", str(tmp_path / "claims.yaml")):
        compile_recipe(load(recipe), tmp_path / "compiled.yaml")
        tasks = graph.read(tmp_path / "compiled.yaml", []).tasks
        gpus = "requests.nvidia.com/gpu"
        # Others wait; a claim stays as long as Argo keeps its pod, which may be until the run ends.
        largest = max(counted(task).get(gpus, 0) for task in tasks)
        claims = {
            name: sum(counted(task).get(name, 0) for task in tasks) for name in hard if name != gpus
        }
        assert 0 < largest <= hard[gpus]
        assert all(claims[name] <= hard[name] for name in claims)
        disks = sum(bool(task.pod.disk) for task in tasks)
        assert claims["persistentvolumeclaims"] == (0 if recipe == "paper" else disks)


def test_with_a_role_neither_stages_nor_kfp_need_keys() -> None:
    objects = render(K8S / "overlays/workload-identity")
    named = {(each["kind"], each["metadata"]["name"]): each for each in objects}

    account = named["ServiceAccount", "webly-runner"]
    binding = named["RoleBinding", "webly-runner"]
    providers = yaml.safe_load(named["ConfigMap", "kfp-launcher"]["data"]["providers"])

    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "webly-runner"}]
    assert providers["s3"]["default"]["credentials"] == {"fromEnv": True}
    others = [
        yaml.safe_load(each["data"]["providers"])
        for each in render(K8S / "overlays/cluster")
        if each["metadata"]["name"] == "kfp-launcher"
    ]
    del providers["s3"]["default"]["credentials"], others[0]["s3"]["default"]["credentials"]
    assert others == [providers]


def test_pods_find_the_stores_authority_where_they_look(pods: list[Any], tmp_path: Path) -> None:
    folder = tmp_path / "s3-ca"
    shutil.copytree(K8S / "s3-ca", folder)
    (folder / "ca.crt").write_text("PEM")

    (made,) = render(folder)

    validator = pytest.importorskip("kubernetes_validate")
    validator.validate(made, "1.33", strict=True)
    (path,) = set(re.findall(r"AWS_CA_BUNDLE=(\S+)", (K8S / "README.md").read_text()))
    for pod in pods:
        (mounted,) = pod["configMapAsVolume"]
        assert mounted["configMapName"] == made["metadata"]["name"]
        assert mounted["optional"]
        assert f"{mounted['mountPath']}/{next(iter(made['data']))}" == path.rstrip("`")


def test_no_value_of_a_secret_is_in_git() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "k8s"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("needs the git repository")
    paths = listed.stdout.splitlines()

    assert "k8s/s3-secret/keys.env" not in paths
    for path in paths:
        text = (ROOT / path).read_text()
        assert not re.search(r"(?i)(accesskey|secretkey|access_key\w*|password|token)=\S", text), (
            path
        )
        if path.endswith(".yaml"):
            for each in yaml.safe_load_all(text):
                assert each["kind"] != "Secret" and "literals" not in str(
                    each.get("secretGenerator", "")
                ), path
    ignored = ["git", "check-ignore", "--quiet", "k8s/s3-secret/keys.env"]
    assert subprocess.run(ignored, cwd=ROOT).returncode == 0
