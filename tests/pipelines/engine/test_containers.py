"""The images, and runs in them, on a real Docker engine."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy.pipelines import WAIT, compiled, counting, diamond

from components.shared.stage.errors import UserError
from components.shared.stage.fingerprint import ROOT
from components.shared.storage import filesystem
from pipelines.compile import compile_recipe
from pipelines.demo import webvision
from pipelines.demo.settings import DataSettings
from pipelines.engine.execution import execute
from pipelines.images import LAUNCHER, components, reference
from pipelines.recipe import load
from pipelines.run import record
from pipelines.run.record import RunRecord
from tests.untimed import untimed

pytestmark = pytest.mark.containers
TOY = Path(__file__).parents[1] / "toy"
SECRET = "secret-of-the-test"
# Where the Dockerfile's own base image cannot be pulled, a name of one like it.
BASE = [f"--build-arg=BASE={base}"] if (base := os.environ.get("WEBLY_TEST_BASE")) else []

TINY = """
name: webly-tiny
description: Every stage, as small as it gets.
form: [dataset, tagging_tagger]
candidates:
  - backbone: resnet10t
    backbone_args: {layers: [1, 1, 1, 1], channels: [8, 16, 16, 16], stem_width: 8}
    pretraining: [wt, lw]
ingest: {image_side: 32, shard_megabytes: 1}
tagging: {vocabulary_size: 50, min_images: 2, max_share: 0.9}
training:
  image_size: 32
  epoch_images: 0
  epochs: 1
  warmup_epochs: 0
  batch_size: 32
  accumulation_steps: 1
  gpus: "0"
pseudo_label: {with_texts: true, gpus: "0"}
finetune_again: {}
ensemble: {gpus: "0"}
"""


def docker(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *argv], capture_output=True, text=True)


def containers(folder: Path) -> list[str]:
    """Return the containers of a run's folder, also those that have ended."""
    return docker("ps", "-aq", "--filter", f"label=webly.run={folder}").stdout.split()


@pytest.fixture(scope="session")
def engine() -> None:
    if shutil.which("docker") is None:
        pytest.skip("needs Docker")
    if docker("version").returncode:
        pytest.skip("needs a Docker engine; DOCKER_HOST says which")


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, with NLTK's data where they are at hand."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ("components", "docker", "pipelines"):
        shutil.copytree(ROOT / name, copy / name)
    for name in (".dockerignore", "LICENSE", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    data = ROOT.parent / "shared" / "nltk_data"
    if data.is_dir():
        shutil.copytree(data, copy / "docker" / "nltk_data", dirs_exist_ok=True)
    return copy


@pytest.fixture(scope="session")
def images(engine: None, context: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The images of this tree's code, and the toy stages'."""
    with (tmp_path_factory.getbasetemp().parent / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of several pytest-xdist workers builds
        command = [sys.executable, "-m", "pipelines.images", "build", "--", *BASE]
        built = subprocess.run(command, cwd=context, capture_output=True, text=True)
        assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
        dockerfile = f"FROM {reference(components()[0])}\nCOPY . /app/"
        file = tmp_path_factory.mktemp("toy") / "Dockerfile"
        file.write_text(dockerfile)
        toy = docker("build", "--file", str(file), "--tag", "localhost/toy:1", str(TOY))
        assert toy.returncode == 0, toy.stderr


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder, with the environment that `pipelines.local` gives it."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("store", "checkpoints", "cache"):
        monkeypatch.setenv(f"WEBLY_{name.upper()}", str(folder / name))
    return folder


def statuses(run: RunRecord) -> dict[str, str]:
    return {task.name: task.status for task in run.tasks}


def digests(run: RunRecord) -> dict[str, dict[str, object]]:
    """Return the digests of the outputs, less those that tell how long something took.

    Of those that tell it in part, all else that they say.
    """
    timed, partly = {"metrics", "model", "report"}, {"predictions", "comparison", "summary"}
    found = {}
    for task in run.tasks:
        folder = Path(next(iter(task.outputs.values()))).parent
        entry = json.loads((folder / "entry.json").read_text())
        found[task.name] = {
            name: untimed(name, (folder / name).read_bytes()) if name in partly else digest
            for name, digest in entry["digests"].items()
            if name not in timed
        }
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_pipeline_makes_the_same_in_containers_and_on_the_host(
    images: None, nltk_data: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = tmp_path / "drawn"
    webvision.write(drawn, DataSettings(train_images=240, validation_images=40, test_images=20))
    for path in drawn.rglob("*"):
        if path.is_file():
            filesystem.put(path, f"{bucket}/data/{path.relative_to(drawn)}")
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(TINY)
    argv = [f"dataset={bucket}/data", f"tagging_tagger={bucket}/data/tagger"]
    runs = {}
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as `main` does for two jobs on two cores

    for machine in ("host", "containers"):
        folder = tmp_path / machine
        monkeypatch.setenv("WEBLY_STORE", f"{bucket}/{machine}/store")
        monkeypatch.setenv("WEBLY_CHECKPOINTS", f"{bucket}/{machine}/checkpoints")
        monkeypatch.setenv("WEBLY_CACHE", str(folder / "cache"))
        compile_recipe(load(str(recipe)), folder / "pipeline.yaml")
        runs[machine] = execute(
            folder / "pipeline.yaml", folder, argv, jobs=2, docker=machine == "containers"
        )

    assert set(statuses(runs["containers"]).values()) == {"ran"}
    tables, expected = (
        Path(task.outputs["summary"]).read_bytes()
        for each in ("containers", "host")
        for task in runs[each].tasks
        if task.step == "compare"
    )
    assert untimed("summary", tables) == untimed("summary", expected) != ""
    assert digests(runs["containers"]) == digests(runs["host"])
    assert containers(tmp_path / "containers") == []


def test_the_cache_is_the_same_for_containers_and_the_host(images: None, places: Path) -> None:
    pipeline = compiled(diamond, places / "p.yaml")
    first = execute(pipeline, places, [], jobs=2, docker=True)

    second = execute(pipeline, places, [], jobs=2)

    assert set(statuses(first).values()) == {"ran"}
    assert set(statuses(second).values()) == {"cached"}


def test_a_stage_that_fails_in_a_container_tells_code_and_cause(images: None, places: Path) -> None:
    pipeline = compiled(diamond, places / "p.yaml")

    run = execute(pipeline, places, ["size=-1"], jobs=1, docker=True)

    assert statuses(run) == {"count-left": "failed", "count-right": "ran", "total": "skipped"}
    assert run.tasks[0].exit_code == 2
    assert "count: size=-1: it must not be negative" in Path(run.tasks[0].log).read_text()


def test_a_missing_image_is_told_with_what_builds_it(engine: None, places: Path) -> None:
    def pipeline() -> None:
        counting("count", image="webly/text:count-0000000")

    with pytest.raises(UserError, match=r"text:count-0000000; .*pipelines.images build"):
        execute(compiled(pipeline, places / "p.yaml"), places, [], jobs=1, docker=True)


def test_no_engine_is_told(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("docker") is None:
        pytest.skip("needs Docker")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{places}/nowhere.sock")

    with pytest.raises(UserError, match=r"no Docker engine: .*nowhere\.sock"):
        execute(compiled(diamond, places / "p.yaml"), places, [], jobs=1, docker=True)


RUN = """
import sys
from pathlib import Path
from pipelines.engine.execution import execute
folder = Path(sys.argv[1])
execute(folder / "pipeline.yaml", folder, sys.argv[2:], jobs=2, docker=True)
"""


def counting_and_waiting(gate: str, pids: str) -> None:
    numbers = counting("count").outputs["numbers"]
    WAIT.task("wait", image="localhost/toy:1", rerun="", numbers=numbers, gate=gate, pids=pids)


@pytest.fixture
def waiting(
    images: None, places: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[bytes]]:
    """A runner whose second container waits for a file in the store."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    compiled(counting_and_waiting, places / "pipeline.yaml")
    argv = [f"gate={places}/store/gate", f"pids={places}/store/pids"]
    command = [sys.executable, "-c", RUN, str(places), *argv]
    runner = subprocess.Popen(command, start_new_session=True, cwd=Path.cwd())
    assert eventually((places / "store" / "pids").exists)
    yield runner
    runner.kill()
    runner.wait()


def eventually(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(condition())


def test_ctrl_c_lets_a_container_unwind_and_removes_it(
    waiting: subprocess.Popen[bytes], places: Path
) -> None:
    waiting.send_signal(signal.SIGINT)

    assert waiting.wait(60) != 0
    assert (places / "store" / "pids.unwound").exists()
    assert containers(places) == []


def test_no_container_survives_its_runners_process_group(
    waiting: subprocess.Popen[bytes], places: Path
) -> None:
    assert len(containers(places)) == 1

    os.killpg(waiting.pid, signal.SIGKILL)

    assert eventually(lambda: not containers(places))


def test_a_killed_container_is_told_as_a_signal(
    waiting: subprocess.Popen[bytes], places: Path
) -> None:
    docker("kill", *containers(places))

    assert waiting.wait(60) == 0
    assert record.read(places).tasks[-1].exit_code == -signal.SIGKILL


def test_a_container_is_confined_and_its_secrets_are_on_no_command_line(
    waiting: subprocess.Popen[bytes], places: Path
) -> None:
    (container,) = containers(places)
    found = json.loads(docker("inspect", container).stdout)[0]

    user = found["Config"]["User"].partition(":")[0]
    assert user == str(os.getuid() or 1000)
    settings: dict[str, Any] = found["HostConfig"]
    assert settings["CapDrop"] == ["ALL"]
    assert settings["ReadonlyRootfs"] is True
    assert "no-new-privileges" in settings["SecurityOpt"]
    assert f"AWS_SECRET_ACCESS_KEY={SECRET}" in found["Config"]["Env"]
    written = {mount["Destination"] for mount in found["Mounts"] if mount["RW"]}
    places_of_run = {str(places / name) for name in ("store", "checkpoints", "cache")}
    (outputs,) = written - places_of_run
    assert outputs.startswith(f"{places}/artifacts/wait/")
    listed = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True).stdout
    assert f"label webly.run={places}" in listed
    assert SECRET not in listed


@pytest.mark.parametrize("target", ["text", "train", "launcher"])
def test_an_image_without_kfp_runs_each_of_its_stages_as_any_user(
    images: None, target: str
) -> None:
    served = [each for each in (*components(), LAUNCHER) if each.target == target]
    inspected = json.loads(docker("image", "inspect", *map(reference, served)).stdout)
    (config,) = {each["Id"]: each["Config"] for each in inspected}.values()
    code = (
        "import importlib.util as u; print([n for n in ('kfp', 'torch', 'uv') if u.find_spec(n)])"
    )
    helps = [f"python -m components.{each.name} --help" for each in served]
    script = " && ".join([f'python -c "{code}"', *helps])

    confined = ["--rm", "--read-only", "--cap-drop", "ALL", "--user", "54321"]
    ended = docker("run", *confined, reference(served[0]), "sh", "-c", script)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[0] == ("['torch']" if target == "train" else "[]")
    assert (config["User"], config["Entrypoint"]) == ("1000", None)
    assert config["Labels"]["org.opencontainers.image.title"] == f"webly {target}"


def test_nltk_s_tagger_and_wordnet_are_in_the_text_image(images: None) -> None:
    code = (
        "from components.tagging import language, taggers\n"
        "tags = taggers.load('averaged_perceptron_tagger_eng').tag_sents([['red', 'geese']])\n"
        "print(tags, language.language(['NNS']).lemma('geese', plural=True))"
    )

    ended = docker(
        "run", "--rm", "--user", "54321", reference(components()[1]), "python", "-c", code
    )

    assert ended.stdout.strip() == "[[('red', 'JJ'), ('geese', 'NN')]] goose", ended.stderr


def test_a_build_that_gets_no_nltk_data_names_the_remedy(
    images: None, context: Path, tmp_path: Path
) -> None:
    shutil.copytree(context, tmp_path, dirs_exist_ok=True)
    for name in ("corpora", "taggers"):
        shutil.rmtree(tmp_path / "docker" / "nltk_data" / name, ignore_errors=True)
    nowhere = "--add-host=raw.githubusercontent.com:127.0.0.1"
    command = [sys.executable, "-m", "pipelines.images", "build", "--", *BASE, nowhere]

    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert ended.returncode == 2
    told = ended.stdout + ended.stderr
    assert "could not be downloaded" in told
    assert "nltk.downloader --dir docker/nltk_data averaged_perceptron_tagger_eng wordnet" in told
    assert "docker build failed" in ended.stderr
