import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from toy.pipelines import WAIT, compiled, counting

from components.shared.stage.errors import UserError
from pipelines import local
from pipelines.engine import execution
from pipelines.engine.folder import locked
from pipelines.run import record
from tests.test_formats import write_record

# What `main` does, for a compiled pipeline in place of a recipe.
RUN = """
import sys
from pathlib import Path
from pipelines.engine.execution import execute
from pipelines.engine.folder import locked
folder = Path(sys.argv[1])
with locked(folder):
    execute(folder / "pipeline.yaml", folder, sys.argv[2:], jobs=2)
"""


def counting_and_waiting(gate: str, pids: str) -> None:
    numbers = counting("count").outputs["numbers"]
    WAIT.task("wait", image="toy:1", rerun="", numbers=numbers, gate=gate, pids=pids)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start a runner, in a session of its own, whose second task waits for `gate`."""
    compiled(counting_and_waiting, tmp_path / "pipeline.yaml")
    argv = [f"gate={tmp_path / 'gate'}", f"pids={tmp_path / 'pids'}"]
    runners = []

    def run() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", RUN, str(tmp_path), *argv]
        runners.append(subprocess.Popen(command, start_new_session=True, cwd=Path.cwd()))
        return runners[-1]

    yield run
    for runner in runners:
        runner.kill()
        runner.wait()


def eventually(condition: Callable[[], bool], seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def alive(process: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def stage_and_worker(folder: Path) -> list[int]:
    assert eventually((folder / "pids").exists)
    return [int(word) for word in (folder / "pids").read_text().split()]


def kill_runner(runner: subprocess.Popen[bytes]) -> None:
    os.kill(runner.pid, signal.SIGKILL)


def kill_group(runner: subprocess.Popen[bytes]) -> None:
    os.killpg(runner.pid, signal.SIGKILL)


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kill", [kill_runner, kill_group])
def test_no_stage_survives_its_runner_and_the_next_run_goes_on(
    tmp_path: Path,
    start: Callable[[], subprocess.Popen[bytes]],
    kill: Callable[[subprocess.Popen[bytes]], None],
) -> None:
    runner = start()
    processes = stage_and_worker(tmp_path)
    assert all(alive(process) for process in processes)

    kill(runner)

    assert eventually(lambda: not any(alive(process) for process in processes))
    runner.wait()
    (tmp_path / "gate").touch()
    assert start().wait() == 0
    statuses = {task.name: task.status for task in record.read(tmp_path).tasks}
    assert statuses == {"count": "cached", "wait": "ran"}


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_kernel_ends_a_stage_whose_launcher_is_killed(
    tmp_path: Path, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    start()
    stage, worker = stage_and_worker(tmp_path)
    launcher = int(Path(f"/proc/{stage}/stat").read_text().rpartition(")")[2].split()[1])

    os.kill(launcher, signal.SIGKILL)

    assert eventually(lambda: not alive(stage))
    os.kill(worker, signal.SIGKILL)  # nobody is left who knows of it


@pytest.mark.processes
def test_ctrl_c_lets_a_stage_unwind_and_ends_it(
    tmp_path: Path, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    runner = start()
    processes = stage_and_worker(tmp_path)

    runner.send_signal(signal.SIGINT)

    assert runner.wait(60) != 0
    assert (tmp_path / "pids.unwound").exists()
    assert eventually(lambda: not any(alive(process) for process in processes))


@pytest.mark.processes
def test_a_run_that_is_stopped_is_reported_as_far_as_it_got(tmp_path: Path) -> None:
    for number in range(200):
        image = tmp_path / "data" / f"class{number % 2}" / f"{number}.jpg"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (number, 90, 255 * (number % 2))).save(image)
    scratch = "candidates=[{backbone: resnet10t}]"
    argv = ["--recipe", "sample", "--set", scratch, "--set", "without=[audit]"]
    command = [sys.executable, "-m", "pipelines.local", *argv]
    command += ["--run", str(tmp_path / "run"), f"dataset={tmp_path / 'data'}"]

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as runner:
        assert eventually(lambda: any((tmp_path / "run" / "logs").glob("finetune-*.log")), 120)
        runner.send_signal(signal.SIGINT)
        _, said = runner.communicate(timeout=120)

    assert runner.returncode == 130
    assert f"report      {tmp_path / 'run' / 'report.html'}" in said
    assert "ingest" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("begins", [True, False])
def test_only_a_run_that_began_is_reported_whatever_the_clock_says(
    begins: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_record(tmp_path)

    def stopped(*arguments: object, **options: object) -> None:
        if begins:
            write_record(tmp_path)
            os.utime(tmp_path / record.FILE, (1, 1))
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "execute", stopped)
    caplog.set_level(logging.INFO)

    with pytest.raises(SystemExit, match="130"):
        local.main(["--recipe", "smoke", "--run", str(tmp_path)])

    assert (tmp_path / "report.html").exists() == begins


@pytest.mark.processes
def test_a_second_runner_says_so_and_stops(
    tmp_path: Path, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    runner = start()
    stage_and_worker(tmp_path)

    with pytest.raises(UserError, match=f"in use by process {runner.pid}"), locked(tmp_path):
        pass


@pytest.mark.slow
def test_a_recipe_compiles_and_runs_by_the_command(tmp_path: Path) -> None:
    recipe = tmp_path / "broken.yaml"
    recipe.write_text("name: webly-broken\ncandidates: [{backbone: resnet18}]\nensemble: {}\n")
    command = [sys.executable, "-m", "pipelines.local", "--recipe", str(recipe)]
    pictures(tmp_path / "data")
    options = ["--run", str(tmp_path / "run"), f"dataset={tmp_path / 'data'}"]

    ended = subprocess.run([*command, *options], capture_output=True, text=True)

    assert ended.returncode == 1, ended.stderr
    tasks = {task.name: task.status for task in record.read(tmp_path / "run").tasks}
    assert tasks["ingest"] == "failed"
    assert tasks["ensemble"] == "skipped"
    said = " ".join(ended.stderr.split())
    assert "classes 2, with training images: class0 " in said
    assert "drawn at random, is readable" in said


def errors(caplog: pytest.LogCaptureFixture) -> str:
    (message,) = (each.getMessage() for each in caplog.records if each.levelname == "ERROR")
    return message


def pictures(folder: Path, *, captions: bool = False) -> Path:
    for number in range(20):
        image = folder / f"class{number % 2}" / f"{number}.jpg"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(b"\xff\xd8\xff but nothing that decodes")
    if captions:
        rows = "".join(f"class{number % 2}/{number}.jpg,a cat\n" for number in range(20))
        (folder / "captions.csv").write_text(f"image,caption\n{rows}")
    return folder


def test_a_data_set_that_is_not_understood_is_refused_before_anything_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "empty").mkdir()
    options = ["--run", str(tmp_path / "run"), f"dataset={tmp_path / 'empty'}"]

    with pytest.raises(SystemExit, match="2"):
        local.main(["--recipe", "sample", *options])

    assert "no files in it" in errors(caplog)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--recipe", "nosuch"], "paper, photos, sample, smoke, or give"),
        (["--recipe", "dmeo"], "no recipe 'dmeo'; did you mean demo?"),
        (["--recipe", "demo", "--set", "finetune.epoch=2"], "did you mean epochs?"),
        (["--recipe", "demo", "--only", "finetun", "--dry-run"], "did you mean finetune"),
        (["--recipe", "demo", "--only", 5_000 * "x", "--dry-run"], "xxx': no such stage"),
        (["--recipe", "demo", "finetune_lr=1"], "finetune_learning_rate"),
        (["--recipe", "demo", "--jobs", "0"], "--jobs=0: must be at least 1 and at most 256"),
        (["--recipe", "demo", "--jobs", 5_000 * "9"], "9': must be an integer"),
        (["--recipe", "demo", "finetune_epochs=" + 5_000 * "9"], "must be a NUMBER_INTEGER"),
        (["--recipe", "demo", f"finetune_epochs={2**60}"], "must be at most 9,007,199,254,740,992"),
        (["--recipe", "demo", "cpu_node_selector=" + 9_000 * "["], "must be a STRUCT"),
        (["--recipe", "demo", "finetune_epochs=-3"], "finetune_epochs=-3: must be at least 1"),
        (["--recipe", "sample", "dataset=nowhere"], "ingest: dataset=nowhere: no such folder"),
    ],
)
def test_what_the_user_can_put_right_ends_with_one_line_and_exit_code_2(
    tmp_path: Path, argv: list[str], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit, match="2"):
        local.main(["--run", str(tmp_path / "run"), *argv])

    assert named in errors(caplog)


@pytest.mark.parametrize("jobs", ["x", "-1", "1000000", "1.5"])
def test_a_number_of_jobs_that_cannot_be_names_the_variable(
    jobs: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("JOBS", jobs)

    with pytest.raises(SystemExit, match="2"):
        local.main(["--recipe", "demo", "--dry-run"])

    assert "JOBS=" in errors(caplog) and jobs in errors(caplog)


@pytest.mark.parametrize("words", [["--recipe", "dmeo"], ["finetune_epochs=0"], ["--dry-run"]])
def test_what_is_wrong_or_only_planned_leaves_no_folder(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit):
        local.main(words)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("where", "remedy"),
    [
        ("file", "/file: a file, where a folder should be: use another path"),
        ("file/below", "/file/below: one of these folders is a file: use another path"),
        ("/proc/nosuch", "/proc/nosuch: no such file or folder: check the path"),
        ("x" * 300, "x: a name is too long for the file system: use a shorter one"),
    ],
)
def test_a_run_that_can_have_no_folder_is_refused_in_a_sentence(
    tmp_path: Path, where: str, remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SystemExit, match="2"):
        local.main(["--recipe", "demo", "--run", str(tmp_path / where)])

    told = errors(caplog)
    assert told.startswith("/") and remedy in told


def test_all_that_is_missing_is_told_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sets = ["--set", "tagging.tagger=no_such_tagger", "--run", str(tmp_path / "run")]
    argv = ["--recipe", "sample", *sets]

    with pytest.raises(SystemExit, match="2"):
        local.main([*argv, f"dataset={tmp_path / 'nowhere'}"])

    dataset, tagger = errors(caplog).splitlines()
    assert dataset.startswith("ingest: dataset=")
    assert tagger.startswith("tagging: tagger=no_such_tagger: no such folder, and NLTK's data do")
    assert not (tmp_path / "run" / "logs").exists()


@pytest.mark.parametrize(("captions", "refused"), [(False, True), (True, False)])
def test_images_without_texts_have_no_keywords_to_pretrain_on(
    tmp_path: Path, captions: bool, refused: bool, caplog: pytest.LogCaptureFixture
) -> None:
    data = pictures(tmp_path / "data", captions=captions)
    tagger = "--set", "tagging.tagger=no_such_tagger"  # so that neither runs anything
    argv = ["--recipe", "sample", *tagger, "--run", str(tmp_path / "run"), f"dataset={data}"]

    with pytest.raises(SystemExit, match="2"):
        local.main(argv)

    assert (f"{data} has no texts to pretrain on" in errors(caplog)) == refused


def test_classes_of_wordnet_need_it_before_anything_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pictures(tmp_path / "data")
    (data / "class0").rename(data / "n02084071")
    (data / "class1").rename(data / "n02121620")
    environment = {**os.environ, "NLTK_DATA": str(tmp_path), "HOME": str(tmp_path)}
    scratch = "candidates=[{backbone: resnet10t}]"
    argv = ["--recipe", "sample", "--set", scratch, "--run", "run", f"dataset={data}"]
    command = [sys.executable, "-m", "pipelines.local", *argv]
    path = {"PYTHONPATH": str(Path.cwd())}

    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment | path
    )

    assert ended.returncode == 2
    assert "the classes are WordNet's, but NLTK does not find WordNet" in ended.stderr
    assert not (tmp_path / "run" / "logs").exists()


def test_the_command_speaks_within_a_second(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.local", "--recipe", "demo", "--dry-run"]
    started = time.monotonic()

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as runner:
        assert runner.stderr is not None
        first = runner.stderr.readline()
        seconds = time.monotonic() - started
        runner.communicate()

    assert first == "recipe      demo\n"
    assert seconds < 1 or os.getloadavg()[0] > 2 * (os.cpu_count() or 1)


def test_a_folder_of_weights_that_is_not_there_is_named_with_what_else_would_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").mkdir()
    candidate = "{backbone: resnet18, initial_weights: imagnet}"
    (tmp_path / "own.yaml").write_text(f"name: own\ncandidates: [{candidate}]\n")
    argv = ["--recipe", str(tmp_path / "own.yaml"), "--run", str(tmp_path / "run")]

    with pytest.raises(SystemExit, match="2"):
        local.main([*argv, f"dataset={tmp_path}/data"])

    assert "initial_model: weights=imagnet: no such folder" in caplog.text
    assert "s3://bucket/prefix, imagenet, hf-hub:org/name[@revision] would do" in caplog.text


def test_weights_that_cannot_be_loaded_are_refused_before_anything_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text('{"model_type": "vit"}')
    (tmp_path / "data" / "cat").mkdir(parents=True)
    candidate = f"{{backbone: resnet18, initial_weights: {tmp_path}/weights}}"
    (tmp_path / "own.yaml").write_text(f"name: own\ncandidates: [{candidate}]\n")
    argv = ["--recipe", str(tmp_path / "own.yaml"), "--run", str(tmp_path / "run")]

    with pytest.raises(SystemExit, match="2"):
        local.main([*argv, f"dataset={tmp_path}/data"])

    assert "transformers' format, without timm's architecture" in caplog.text
    assert not (tmp_path / "run" / "logs").exists()
