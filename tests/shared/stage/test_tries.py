"""Retries within a pod, with what Argo's executor finds in its pods."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from components.shared.stage import tries

PROGRAM = """
import sys, time
from pathlib import Path
from components.shared.stage import tries

tries._TEMPLATE, tries._FIRST_PAUSE = Path("template"), 0.01
tries.in_child_processes(tries.retries(), hopeless=2)
with open("tries", "a") as file:
    file.write("x")
number = len(Path("tries").read_text())
{body}
"""


def template(folder: Path, **strategy: Any) -> None:
    """Write what Argo's executor is told to run."""
    content = {"name": "retry-system-container-impl", "retryStrategy": strategy}
    (folder / "template").write_text(json.dumps(content))


def start(folder: Path, body: str, retries: str = "2") -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        cwd=folder,
        env=os.environ | {"WEBLY_RETRIES": retries, "PYTHONPATH": str(Path.cwd())},
    )


def tried(folder: Path) -> int:
    return len((folder / "tries").read_text())


# As KFP's own configuration of Argo has it merged: by default until 2.16, and since 2.17.
ON_FAILURE: dict[str, Any] = {"limit": "2", "backoff": {"duration": "60"}}
ON_ERROR = ON_FAILURE | {"retryPolicy": "OnError"}


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (ON_ERROR, 3),
        (ON_FAILURE, 1),  # Argo starts two more pods
        (ON_FAILURE | {"retryPolicy": "Always"}, 1),
        (ON_FAILURE | {"retryPolicy": "OnFailure"}, 1),
        (ON_FAILURE | {"retryPolicy": "OnTransientError"}, 3),
    ],
    ids=str,
)
def test_a_pod_retries_what_argo_does_not(
    strategy: dict[str, Any], expected: int, tmp_path: Path
) -> None:
    template(tmp_path, **strategy)

    assert start(tmp_path, "sys.exit(3)").wait() == 3
    assert tried(tmp_path) == expected


@pytest.mark.parametrize(
    ("body", "code", "expected"),
    [
        ("sys.exit(0 if number == 2 else 1)", 0, 2),
        ("sys.exit(2)", 2, 1),  # the user's to mend
        ("sys.exit(143)", 143, 1),  # terminated
        ("import os; os.kill(os.getpid(), 9)", 137, 3),
        ("raise ValueError", 1, 3),
    ],
)
def test_it_ends_as_the_last_try(body: str, code: int, expected: int, tmp_path: Path) -> None:
    template(tmp_path, **ON_ERROR)

    assert start(tmp_path, body).wait() == code
    assert tried(tmp_path) == expected


def test_where_there_is_no_argo_nothing_is_retried(tmp_path: Path) -> None:
    assert start(tmp_path, "sys.exit(3)").wait() == 3
    assert tried(tmp_path) == 1


def test_a_try_starts_processes_that_do_not_retry(tmp_path: Path) -> None:
    template(tmp_path, **ON_ERROR)

    start(tmp_path, "assert tries.retries() == 0").wait()

    assert tried(tmp_path) == 1


def test_a_terminated_pod_ends_its_try_and_starts_no_other(tmp_path: Path) -> None:
    template(tmp_path, **ON_ERROR)
    body = "import signal; signal.signal(15, lambda *_: sys.exit(7)); time.sleep(60)"

    parent = start(tmp_path, body)
    while not (tmp_path / "tries").exists():
        time.sleep(0.01)
    time.sleep(0.2)  # the handler is set after that
    parent.send_signal(signal.SIGTERM)

    assert parent.wait(60) == 7
    assert tried(tmp_path) == 1


def test_an_executor_that_writes_something_else_is_not_argos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_RETRIES", "2")
    monkeypatch.setattr(tries, "_TEMPLATE", tmp_path / "template")
    for text in ("", "{", '{"retryStrategy": null}', "[]"):
        (tmp_path / "template").write_text(text)
        assert tries.retries() == 0
