"""Runs stages in the containers that a compiled pipeline names, with the command `docker`.

A container runs like a pod under the restricted security standard: its user is not root, has no
capabilities, and cannot write to the root file system. It sees the artifacts, the folders in the
environment and those in the task's parameters, each at its path on the host, and can write only to
its own outputs and the folders in the environment.
"""

import os
import secrets
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from components.shared.stage.errors import UserError
from components.shared.storage import filesystem
from pipelines.engine.engine import SECONDS_TO_END
from pipelines.run.graph import Task

# The user of the images, where the runner is root.
_USER = 1000
_PLACES = ("WEBLY_STORE", "WEBLY_CHECKPOINTS", "WEBLY_CACHE")
_PASSED = ("AWS_", "HF_ENDPOINT", "HF_TOKEN", "OMP_NUM_THREADS", "WEBLY_")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SECONDS_BETWEEN_LOOKS = 0.05
# Waits until its runner ends, in whatever way, then removes the runner's containers.
_WATCHER = """
cat >/dev/null
docker ps --all --quiet --filter "label=$1" | xargs -r docker rm --force >/dev/null
"""
_CONFINED = (
    *("--init", "--pull", "never", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--read-only", "--tmpfs", "/tmp", "--env", "HOME=/tmp"),
    # Workers pass batches through shared memory; a limit, not a reservation.
    *("--shm-size", "16g"),
)


class Containers:
    """Runs stages in containers of the local Docker engine."""

    def __init__(
        self, environment: Mapping[str, str], folder: Path, images: Collection[str]
    ) -> None:
        """Use the engine.

        Args:
            environment: The runner's; what the stages use of it is passed on.
            folder: The run's folder.
            images: All images that the run needs.

        Raises:
            UserError: There is no engine, or it lacks an image.
        """
        self._environment, self._folder = environment, folder
        self._label = f"webly.run={folder}"
        self._running: dict[str, tuple[str, Path, subprocess.Popen[bytes]]] = {}
        missing = sorted(image for image in images if not _has(image))
        if missing:
            raise UserError(
                f"no such image: {', '.join(missing)}; build the images of this code by "
                "`python -m pipelines.images build`"
            )
        # An earlier runner may have left containers that nobody has stopped.
        self._watch().communicate()
        self._watcher = self._watch()

    def start(self, task: Task, folder: Path, argument: str, log: Path) -> None:
        """Start a task's container."""
        container = f"webly-{task.name}-{secrets.token_hex(4)}"
        command = ["docker", "run", "--name", container, "--label", self._label, *_CONFINED]
        user, group = (os.getuid(), os.getgid()) if os.getuid() else (_USER, _USER)
        command += ["--user", f"{user}:{group}", "--workdir", str(Path.cwd())]
        command += [*self._settings(), *self._mounts(task, folder), task.image]
        command += [argument if word == "{{$}}" else word for word in task.command]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self._environment),
                start_new_session=True,  # the runner handles Ctrl-C
            )
        self._running[task.name] = container, log, process

    def ended(self, seconds: float) -> list[dict[str, Any]]:
        """Wait for containers to end."""
        deadline = time.monotonic() + seconds
        while not any(process.poll() is not None for _, _, process in self._running.values()):
            if time.monotonic() >= deadline:
                return []
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        ended = [
            name for name, (_, _, process) in self._running.items() if process.poll() is not None
        ]
        return [self._end(name) for name in ended]

    def close(self) -> None:
        """End all containers."""
        containers = [container for container, _, _ in self._running.values()]
        if containers:
            _docker("stop", "--time", str(SECONDS_TO_END), *containers)
        self._watcher.communicate()
        for _, _, process in self._running.values():
            process.wait()

    def _end(self, name: str) -> dict[str, Any]:
        container, log, process = self._running.pop(name)
        code = process.returncode
        state = _docker("inspect", "--format", "{{.State.OOMKilled}}", container)
        if code and state.stdout.strip() == "true":
            with log.open("a") as output:
                output.write("a process was killed: the container ran out of memory\n")
        _docker("rm", "--force", container)
        # The shell's convention for signals, which `docker run` follows.
        return {"name": name, "exit_code": 128 - code if code > 128 else code, "peak_bytes": 0}

    def _settings(self) -> Iterator[str]:
        """Yield options for the environment: names only, as anyone can read a command line."""
        for name in sorted(self._environment):
            if name.startswith(_PASSED):
                yield from ("--env", name)
        endpoint = urlsplit(self._environment.get("AWS_ENDPOINT_URL", ""))
        if endpoint.hostname in _LOOPBACK:
            yield from ("--network", "host")

    def _mounts(self, task: Task, folder: Path) -> Iterator[str]:
        written = [folder]
        for name in _PLACES:
            where = self._environment.get(name, "")
            if where and not filesystem.is_s3(where):
                written.append(Path(where).absolute())
        read = {self._folder / "artifacts"}
        for value in task.parameters.values():
            if isinstance(value, str) and value and os.path.exists(value):
                read.add(Path(value).absolute())
        for folder in written:
            _give(folder)
            yield from ("--mount", f"type=bind,source={folder},target={folder}")
        for path in sorted(read):
            yield from ("--mount", f"type=bind,source={path},target={path},readonly")

    def _watch(self) -> subprocess.Popen[bytes]:
        command = ["sh", "-c", _WATCHER, "sh", self._label]
        return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def _give(folder: Path) -> None:
    """Make a folder that the container's user, who is the runner's unless that is root, can use."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, _USER, _USER, follow_symlinks=False)


def _has(image: str) -> bool:
    found = _docker("image", "inspect", "--format", "{{.Id}}", image)
    if found.returncode and "No such image" not in found.stderr:
        raise UserError(f"no Docker engine: {found.stderr.strip()}")
    return not found.returncode


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError("docker: no such command; install Docker, or leave out --docker") from None
