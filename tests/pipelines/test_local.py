import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy.pipelines import WAIT, compiled, counting

from components.shared.stage.errors import UserError
from pipelines import local
from pipelines.local import locked
from pipelines.run import record

# What `main` does, for a compiled pipeline in place of a recipe.
RUN = """
import sys
from pathlib import Path
from pipelines.local import execute, locked
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


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
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

    assert runner.wait(20) != 0
    assert (tmp_path / "pids.unwound").exists()
    assert eventually(lambda: not any(alive(process) for process in processes))


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
    for number in range(20):
        image = tmp_path / "data" / f"class{number % 2}" / f"{number}.jpg"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_text("<html>")
    options = ["--run", str(tmp_path / "run"), f"dataset={tmp_path / 'data'}"]

    ended = subprocess.run([*command, *options], capture_output=True, text=True)

    assert ended.returncode == 1, ended.stderr
    tasks = {task.name: task.status for task in record.read(tmp_path / "run").tasks}
    assert tasks["ingest"] == "failed"
    assert tasks["ensemble"] == "skipped"
    assert "classes     2, with training images: class0 " in ended.stderr
    assert "drawn at random, is readable" in ended.stderr


def test_a_data_set_that_is_not_understood_is_refused_before_anything_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "empty").mkdir()
    options = ["--run", str(tmp_path / "run"), f"dataset={tmp_path / 'empty'}"]

    with pytest.raises(SystemExit, match="2"):
        local.main(["--recipe", "sample", *options])

    (message,) = caplog.messages
    assert "no files in it" in message


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--recipe", "nosuch"], "paper, photos, sample, smoke, or give"),
        (["--recipe", "demo", "finetune_lr=1"], "finetune_learning_rate"),
        (["--recipe", "demo", "--jobs", "0"], "jobs=0"),
        (["--recipe", "demo", "finetune_epochs=-3"], "finetune_epochs=-3: must be at least 1"),
        (["--recipe", "sample", "dataset=nowhere"], "ingest: dataset=nowhere: no such folder"),
    ],
)
def test_what_the_user_can_put_right_ends_with_one_line_and_exit_code_2(
    tmp_path: Path, argv: list[str], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit, match="2"):
        local.main(["--run", str(tmp_path / "run"), *argv])

    (message,) = caplog.messages
    assert named in message


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
