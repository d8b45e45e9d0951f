"""Runs the tasks of a compiled pipeline on this machine, as KFP would on a cluster.

Each task gets the ExecutorInput that KFP's launcher would give it, in a process of its own.
Branches run in parallel; a failure skips what depends on it and nothing else.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from components.shared.stage.fingerprint import ROOT
from pipelines.engine.cache import Cache, Entry
from pipelines.run.graph import Graph, Task
from pipelines.run.record import RunRecord, Status, TaskRecord

_SECONDS_BETWEEN_SHOWS = 0.5
# The slowest imports of training stages.
_PRELOAD = ["torch", "timm", "matplotlib.figure", "pyarrow.parquet"]
# A stage that is asked to end may clean up within this time; then it is killed.
SECONDS_TO_END = 10


class ForkServer:
    """A process that stages are forked from; see `pipelines/engine/forkserver.py`."""

    def __init__(self, preload: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Start it.

        Args:
            preload: Modules that it imports, so that no stage needs to.
            environment: The stages' environment.
            log: A file for what these modules say, and for the error if it dies.
        """
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.engine.forkserver", *preload],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
                env=dict(environment),
            )
        self._waiting = b""

    def fileno(self) -> int:
        """Return the file descriptor to wait on for stages to end."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def start(self, name: str, module: str, argument: str, log: Path) -> None:
        """Start a stage."""
        self._send({"name": name, "module": module, "argument": argument, "log": str(log)})

    def ended(self) -> Iterator[dict[str, Any]]:
        """Yield `name`, `exit_code` and `peak_bytes` of stages that have ended."""
        received = os.read(self.fileno(), 1 << 16)
        if not received:
            raise RuntimeError(f"the fork server has died; see {self._log}")
        *lines, self._waiting = (self._waiting + received).split(b"\n")
        yield from map(json.loads, lines)

    def stop(self) -> None:
        """Ask all stages to end."""
        self._send({"stop": True})

    def close(self) -> None:
        """Stop it, and kill the stages that are left."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _send(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()


class Machine(Protocol):
    """Starts stages and waits for them."""

    def start(self, task: Task, folder: Path, argument: str, log: Path) -> None:
        """Start a task's stage.

        Args:
            task: The task.
            folder: The folder for its outputs.
            argument: The ExecutorInput.
            log: The file for its standard output and error.
        """

    def ended(self, seconds: float) -> list[dict[str, Any]]:
        """Wait for stages to end, at most so many seconds, and return those that have.

        Each has `name`, `exit_code` (negative: the signal that killed it) and `peak_bytes` (0 if
        unknown).
        """

    def close(self) -> None:
        """End all stages: they may finish what they are writing, then they are killed."""


class Host:
    """Runs stages as processes of this machine.

    Training stages are forked from a server that has imported torch and timm. It starts with the
    first of them: a run that is all cached does without.
    """

    def __init__(
        self, environment: Mapping[str, str], training: frozenset[str], logs: Path
    ) -> None:
        """Use the host.

        Args:
            environment: The stages' environment.
            training: The modules that import torch and timm.
            logs: A folder for logs of its own.
        """
        self._logs = logs
        path = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
        self._environment = {**environment, "PYTHONPATH": path}
        self._training = training
        self._servers: dict[bool, ForkServer] = {}
        self._running: set[str] = set()

    def start(self, task: Task, folder: Path, argument: str, log: Path) -> None:
        """Start a task's stage."""
        training = task.module in self._training
        if training not in self._servers:
            preload = _PRELOAD if training else []
            own = self._logs / f"forkserver-{'training' if training else 'others'}.log"
            self._servers[training] = ForkServer(preload, self._environment, own)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        self._servers[training].start(task.name, task.module, argument, log)
        self._running.add(task.name)

    def ended(self, seconds: float) -> list[dict[str, Any]]:
        """Wait for stages to end."""
        readable, _, _ = select.select(self._servers.values(), [], [], seconds)
        replies = [reply for server in readable for reply in server.ended()]
        self._running -= {reply["name"] for reply in replies}
        return replies

    def close(self) -> None:
        """End all stages."""
        if self._running:
            for server in self._servers.values():
                server.stop()
        deadline = time.monotonic() + SECONDS_TO_END
        while self._running and time.monotonic() < deadline:
            self.ended(0.1)
        for server in self._servers.values():
            server.close()


class Engine:
    """Runs the tasks of a graph, or takes their outputs from the cache."""

    def __init__(
        self,
        graph: Graph,
        record: RunRecord,
        folder: Path,
        machine: Machine,
        only: Collection[str] = (),
    ) -> None:
        """Prepare a run.

        Args:
            graph: What to run.
            record: The run's record, kept up to date; has an entry for each task.
            folder: The run's folder.
            machine: Where stages run.
            only: The tasks to run; others are taken from the cache or left waiting. If there are
                none, all are run.
        """
        self._only = frozenset(only) or frozenset(task.name for task in graph.tasks)
        self._graph, self._record = graph, record
        self._folder, self._machine = folder, machine
        self._cache = Cache(folder / "artifacts")
        self._tasks = {task.name: task for task in graph.tasks}
        self._records = {task.name: task for task in record.tasks}
        self._entries: dict[str, Entry] = {}
        self._began: dict[str, float] = {}

    def run(self, jobs: int, show: Callable[[RunRecord], None]) -> None:
        """Run all tasks that can be run.

        Args:
            jobs: How many at a time.
            show: Called on each change, and twice a second.
        """
        self._start_ready(jobs)
        show(self._record)
        while self._num_running():
            for reply in self._machine.ended(_SECONDS_BETWEEN_SHOWS):
                self._finish(reply)
            self._start_ready(jobs)
            show(self._record)

    def _start_ready(self, jobs: int) -> None:
        """Go through the waiting tasks in order: skip, take from the cache, or start them."""
        statuses = [task.status for task in self._record.tasks]
        for task in self._graph.tasks:
            record = self._records[task.name]
            before = {self._records[name].status for name in task.dependencies}
            if record.status != "waiting" or before & {"waiting", "running"}:
                continue
            if before & {"failed", "skipped"}:
                record.status = "skipped"
                continue
            entry = None
            if not record.key:
                record.key = self._cache.key(task, self._inputs(task))
                entry = self._cache.find(task, record.key) if task.enable_cache else None
            if entry:
                self._complete(task, entry, "cached")
            elif task.name in self._only and self._num_running() < jobs:
                self._start(task, record)
        if statuses != [task.status for task in self._record.tasks]:
            self._record.write(self._folder)

    def _num_running(self) -> int:
        return sum(task.status == "running" for task in self._record.tasks)

    def _inputs(self, task: Task) -> dict[str, str]:
        """Return the digest of each of a task's inputs."""
        return {
            name: self._entries[source.task].digests[source.output]
            for name, source in task.inputs.items()
        }

    def _start(self, task: Task, record: TaskRecord) -> None:
        log = self._folder / "logs" / f"{task.name}.log"
        record.status, record.started, record.log = "running", time.time(), str(log)
        self._began[task.name] = time.monotonic()
        folder = self._cache.cleared(task, record.key)
        argument = json.dumps(self._executor_input(task, folder))
        self._machine.start(task, folder, argument, log)

    def _finish(self, reply: Mapping[str, Any]) -> None:
        task, record = self._tasks[reply["name"]], self._records[reply["name"]]
        assert record.started is not None
        # The clock may have been set meanwhile.
        record.ended = record.started + (time.monotonic() - self._began[task.name])
        record.exit_code, peak_bytes = reply["exit_code"], reply["peak_bytes"]
        seconds = record.ended - record.started
        record.seconds, record.peak_bytes, record.status = seconds, peak_bytes, "failed"
        if record.exit_code == 0:
            try:
                inputs = self._inputs(task)
                entry = self._cache.add(task, record.key, seconds, peak_bytes, inputs)
            except FileNotFoundError as error:
                with Path(record.log).open("a") as log:
                    log.write(f"{error}\n")
            else:
                self._complete(task, entry, "ran")
        self._record.write(self._folder)

    def _complete(self, task: Task, entry: Entry, status: Status) -> None:
        record = self._records[task.name]
        self._entries[task.name] = entry
        folder = self._cache.folder_of(task, record.key)
        record.outputs = {output: str(folder / output) for output in task.outputs}
        record.status, record.seconds, record.peak_bytes = status, entry.seconds, entry.peak_bytes

    def _executor_input(self, task: Task, folder: Path) -> dict[str, Any]:
        """Return KFP's ExecutorInput, as its launcher writes it."""

        def artifact(name: str, type: str, path: str) -> dict[str, Any]:
            entry = {"name": name, "type": {"schemaTitle": type}, "uri": path, "metadata": {}}
            return {"artifacts": [entry]}

        inputs = {}
        for name, source in task.inputs.items():
            path = self._records[source.task].outputs[source.output]
            inputs[name] = artifact(source.output, source.type, path)
        outputs = {
            name: artifact(name, type, str(folder / name)) for name, type in task.outputs.items()
        }
        return {
            "inputs": {"parameterValues": task.parameters, "artifacts": inputs},
            "outputs": {
                "artifacts": outputs,
                "outputFile": str(folder / "executor_output.json"),
            },
        }
