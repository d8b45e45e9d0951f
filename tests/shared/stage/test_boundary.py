import errno
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.shared.stage.boundary import boundary, ending
from components.shared.stage.errors import StorageError, UserError
from components.shared.stage.fingerprint import ROOT
from components.shared.storage import filesystem
from pipelines.cluster.kfp_api import ClusterError
from pipelines.cluster.kubernetes_api import UnknownError
from tests.disks import small_disk

# Every module that is run as a command, and arguments with which it gets to what it does.
COMMANDS = {
    "components.ingest": ("--help",),
    "components.ingest.survey": ("no-such-folder",),
    "components.finetune": ("--help",),
    "components.trainjob": ("components.finetune", "{}"),
    "pipelines.argo": (),
    "pipelines.clean": ("no-such-folder",),
    "pipelines.compile": ("--recipe", "no-such-recipe"),
    "pipelines.demo": ("--help",),
    "pipelines.export": ("no-such-folder", "--format", "onnx"),
    "pipelines.images": (),
    "pipelines.local": ("--recipe", "no-such-recipe"),
    "pipelines.predict": ("no-such-folder", "--images", "x"),
    "pipelines.report": ("no-such-folder",),
    "pipelines.submit": ("--recipe", "no-such-recipe"),
    "pipelines.trial": (),
}


class OutOfMemoryError(RuntimeError):
    """As torch's."""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("size=2: take 3"), 2, "size=2: take 3"),
        (StorageError("s3://b/x: no answer"), 1, "s3://b/x: no answer"),
        (ClusterError("no answer"), 1, "no answer"),
        (UnknownError("no answer"), 1, "no answer"),
        (OSError(errno.ENOSPC, "No space", "/full/x"), 1, "/full/x: no space is left there: free"),
        (OSError(errno.ENOSPC, "No", "/source", None, "/full/x"), 1, "/full/x: no space is left"),
        (OSError(errno.ENOSPC, "No space left"), 1, "No space left: no space is left there"),
        (OSError(errno.EDQUOT, "Quota", "/full/x"), 1, "/full/x: the quota is used up"),
        (OSError(errno.EIO, "Input/output", "/x"), 1, "/x: the disk fails"),
        (OSError(errno.ESTALE, "Stale", "/x"), 1, "/x: the network file system lost it"),
        (OSError(errno.EROFS, "Read-only", "/x"), 2, "/x: the file system is read-only"),
        (FileExistsError(errno.EEXIST, "File exists", __file__), 2, f"{__file__}: a file, where a"),
        (OSError(errno.EEXIST, "File exists", "/x"), 2, "/x: exists already: use another path"),
        (OSError(errno.EACCES, "Permission denied", b"/x"), 2, "/x: no permission"),
        (OSError(errno.ENOTDIR, "Not a directory", Path("/x/y")), 2, "/x/y: one of these folders"),
        (OSError(errno.ENOENT, "No such file", "/a\nb"), 2, r"'/a\nb': no such file or folder"),
        (OSError(errno.ELOOP, "Links", "/x"), 2, "/x: links that lead to themselves"),
        (OSError(errno.ENAMETOOLONG, "Name", "/x"), 2, "/x: a name is too long"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), 1, "refused: no answer"),
        (MemoryError(), 2, "the memory is too small"),
        (OutOfMemoryError("CUDA out of memory"), 2, "the GPU's memory is too small"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_the_world_does_wrong_ends_in_a_line_and_a_code(
    error: Exception, code: int, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit) as end, boundary("finetune"):
        raise error

    assert end.value.code == code
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert told.startswith(f"finetune: {line}")
    assert "\n" not in told


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        KeyError("a bug"),
        OSError("a library's own"),
        FileNotFoundError("a task succeeded without writing an output"),
        OSError(errno.EINVAL, "Invalid argument", "/x"),
        OSError(errno.EBADF, "Bad file descriptor"),
        BrokenPipeError(errno.EPIPE, "a worker's"),
    ],
    ids=repr,
)
def test_faults_of_the_code_keep_their_traceback(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, boundary():
        raise error

    assert raised.value is error
    assert ending(error) is None


def test_an_interrupted_command_says_what_that_means(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit) as end, boundary(stopped="stopped; nothing was written"):
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()

    assert end.value.code == 128 + signal.SIGINT
    assert caplog.messages == ["stopped; nothing was written"]


def test_where_an_error_came_from_is_logged_on_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "components")

    with pytest.raises(SystemExit), boundary():
        raise UserError("size=2")

    assert "test_boundary.py" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        Exception("I/O error: No space left on device (os error 28)"),
    ],
)
def test_errors_of_writing_name_the_file(error: Exception, tmp_path: Path) -> None:
    path = tmp_path / "weights"

    with pytest.raises(OSError) as raised, filesystem.complete(path) as temporary:
        temporary.touch()
        raise error

    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
    assert list(tmp_path.iterdir()) == []


def test_every_command_is_tried_here() -> None:
    stages = {f"components.{path.parent.name}" for path in ROOT.glob("components/*/component.py")}
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for package in ("components", "pipelines")
        for path in (ROOT / package).rglob("*.py")
        if 'if __name__ == "__main__":' in path.read_text()
    }
    others = {"components.shared.stage.ranks", "pipelines.engine.forkserver"}  # not for people

    # The stages' commands are one: `cli.main`.
    assert modules - stages - others == COMMANDS.keys() - stages


# Presses Ctrl-C as soon as a command has imported this project's first package.
IMPATIENT = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("components.", "pipelines.")):
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""


@pytest.mark.slow
@pytest.mark.parametrize("module", COMMANDS)
def test_ctrl_c_in_the_first_seconds_leaves_no_traceback(module: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(IMPATIENT)
    command = [sys.executable, "-m", module, *COMMANDS[module]]

    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert (ended.returncode, ended.stderr) == (128 + signal.SIGINT, "")


DRAW = ("pipelines.demo", "{}/data", "--train-images", "200", "--validation-images", "20")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "code", "line"),
    [((), 1, "no space is left there"), (("ro",), 2, "the file system is read-only")],
    ids=["full", "read-only"],
)
@pytest.mark.parametrize(
    "command", [DRAW, ("pipelines.compile", "--recipe", "paper", "--output", "{}/a/paper.yaml")]
)
def test_a_disk_that_takes_nothing_is_named(
    command: tuple[str, ...], options: tuple[str, ...], code: int, line: str, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "64k", *options) as disk:
        arguments = [argument.format(disk) for argument in command]
        ended = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True
        )

    assert ended.returncode == code, ended.stderr
    told = ended.stderr.splitlines()[-1]
    assert str(disk) in told
    assert line in told
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_a_reader_that_has_enough_ends_a_command_quietly() -> None:
    shell = f"{sys.executable} -m pipelines.images | true; exit ${{PIPESTATUS[0]}}"

    ended = subprocess.run(["bash", "-c", shell], cwd=ROOT, capture_output=True, text=True)

    assert ended.stderr == ""
