import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.shared.stage import cli
from components.shared.stage.errors import UserError
from components.shared.stage.interface import InputModel, OutputMetrics

STAGE = '''
import sys, time
from pathlib import Path
from typing import Annotated
from components.shared.stage.cli import main
from components.shared.stage.errors import UserError
from components.shared.stage.interface import OutputDataset, Range
from components.shared.stage.errors import StorageError

def stage(table: OutputDataset, *, size: Annotated[int, Range(at_least=0, below=9)] = 1) -> None:
    """Do something.

    Args:
        table: A table.
        size: 100 % of it.
    """
    if size == 2:
        raise UserError("size=2: take another")
    if size == 3:
        raise ValueError("a bug")
    if size == 5:
        raise StorageError("s3://bucket/x: no answer")
    if size == 4:
        try:
            table.touch()
            time.sleep(60)
        finally:
            table.unlink()

main(stage)
'''


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    (tmp_path / "stage.py").write_text(STAGE)
    return [sys.executable, str(tmp_path / "stage.py"), "--table", str(tmp_path / "table")]


ENVIRONMENT = os.environ | {"PYTHONPATH": os.getcwd()}


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)


def test_an_unknown_flag_is_answered_with_the_one_that_is_meant(command: list[str]) -> None:
    ended = run([*command, "--sizes=3"])

    assert ended.returncode == 2
    assert "unrecognized argument --sizes=3: did you mean --size?" in ended.stderr


def test_a_users_error_ends_with_one_line_and_exit_code_2(command: list[str]) -> None:
    ended = run([*command, "--size=2"])

    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.endswith("ERROR stage: size=2: take another")


def test_an_s3_that_does_not_answer_ends_with_one_line_and_exit_code_1(command: list[str]) -> None:
    ended = run([*command, "--size=5"])

    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.endswith("ERROR stage: s3://bucket/x: no answer")


def test_any_other_error_ends_with_a_traceback(command: list[str]) -> None:
    ended = run([*command, "--size=3"])

    assert ended.returncode == 1
    assert "Traceback" in ended.stderr and "ValueError: a bug" in ended.stderr


def test_a_wrong_value_ends_with_what_is_needed(command: list[str]) -> None:
    ended = run([*command, "--size=many"])

    assert ended.returncode == 2
    assert "size='many': must be an integer" in ended.stderr


def test_a_number_out_of_its_range_ends_with_the_range(command: list[str]) -> None:
    ended = run([*command, "--size=-1"])

    assert ended.returncode == 2
    assert "size=-1: must be at least 0 and below 9" in ended.stderr


def test_help_comes_from_the_docstring(command: list[str]) -> None:
    ended = run([*command, "--help"])

    assert ended.returncode == 0
    assert "Do something." in ended.stdout
    assert "100 % of it. At least 0 and below 9. (default: 1)" in " ".join(ended.stdout.split())


def test_a_terminated_stage_unwinds(command: list[str], tmp_path: Path) -> None:
    stage = subprocess.Popen([*command, "--size=4"], env=ENVIRONMENT)
    while not (tmp_path / "table").exists():
        assert stage.poll() is None

    stage.send_signal(signal.SIGTERM)

    assert stage.wait(60) == 128 + signal.SIGTERM
    assert not (tmp_path / "table").exists()


def optional(metrics: OutputMetrics, start: InputModel | None = None, *, flag: bool = True) -> None:
    """Do something.

    Args:
        metrics: Numbers.
        start: A model.
        flag: Yes or no.
    """
    raise UserError(f"{start} {flag}")


def test_an_optional_input_may_be_left_out() -> None:
    values = cli.parse(optional, ["--metrics", "m", "--flag", "false"])

    assert values == {"metrics": Path("m"), "start": None, "flag": "false"}


def test_a_missing_output_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.parse(optional, [])

    assert "required: --metrics" in capsys.readouterr().err


def test_names_are_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.parse(optional, ["--metrics", "m", "--fl", "false"])

    assert "--fl" in capsys.readouterr().err
