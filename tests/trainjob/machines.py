"""Machines for the nodes of TrainJobs: each a folder, and a process group for its container."""

import os
import queue
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import yaml

from components.shared.stage.fingerprint import ROOT
from components.trainjob.job import condition
from tests.forked import Forked
from tests.torchrun import environment, free_port
from tests.trainjob.kubernetes_api import Job, KubernetesApi, Node

_PAUSE = 0.1  # seconds


class Machines:
    """While its `with` block runs, the nodes of an API's TrainJobs run, as `k8s/trainer` has it.

    That is: one that fails is made anew in another pod, but not after an error of the user's, which
    fails the job; one whose TrainJob is deleted is terminated.

    A node's environment is what its TrainJob says, with the values of its secrets, and what Trainer
    adds for torch; of this process's, only where programs are found.
    """

    def __init__(self, api: KubernetesApi, secrets: Mapping[str, str], folder: Path) -> None:
        """Start nothing yet.

        Args:
            api: Where TrainJobs are created.
            secrets: The values of all keys of all secrets.
            folder: For the machines' disks.
        """
        self._api, self._secrets, self._folder = api, secrets, folder
        self._over = threading.Event()
        self._containers: dict[Node, Forked] = {}
        self._thread = threading.Thread(target=self._serve)
        runtime = yaml.safe_load((ROOT / "k8s" / "trainer" / "runtime.yaml").read_text())
        (nodes,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
        fail_job, _ = nodes["template"]["spec"]["podFailurePolicy"]["rules"]
        self._final = fail_job["onExitCodes"]["values"]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        for container in self._containers.values():
            _signal(container, signal.SIGKILL)
        self._thread.join()

    def kill(self, number: int) -> None:
        """Kill the container of a node: its process group, as when its machine is lost."""
        for node, container in list(self._containers.items()):
            if node.number == number:
                _signal(container, signal.SIGKILL)

    def _serve(self) -> None:
        with ThreadPoolExecutor() as jobs:
            while not self._over.is_set():
                try:
                    job = self._api.created.get(timeout=_PAUSE)
                except queue.Empty:
                    continue
                jobs.submit(self._run, job)

    def _run(self, job: Job) -> None:
        """Run a TrainJob to its end."""
        port = free_port()
        with ThreadPoolExecutor() as pods:
            started = [pods.submit(self._node, job, node, port) for node in self._api.start(job)]
            while not all(each.done() for each in started) and self._wanted(job):
                time.sleep(_PAUSE)
            if not self._wanted(job):
                self._terminate(job)
            codes = [each.result() for each in started]
        if not any(codes):
            self._api.condition(job, "Complete", message="all jobs have completed")

    def _node(self, job: Job, node: Node, port: int) -> int:
        """Run a node in pod after pod until one ends well, or none is wanted any more."""
        while True:
            code = self._pod(job, node, port)
            if code in self._final:
                self._api.condition(job, "Failed", message="matching a rule of podFailurePolicy")
            if code == 0 or not self._wanted(job):
                return code
            node = self._api.another(node)

    def _pod(self, job: Job, node: Node, port: int) -> int:
        trainer = job["spec"]["trainer"]
        python, option, module = trainer["command"]
        assert (python, option) == ("python", "-m")
        self._folder.mkdir(exist_ok=True)
        pipe = self._folder / node.name
        os.mkfifo(pipe)
        container = Forked(
            module,
            *trainer["args"],
            log=pipe,
            env={name: os.environ[name] for name in ("PATH", "HOME")}
            | {"WEBLY_CACHE": str(self._folder / f"machine{node.number}"), "OMP_NUM_THREADS": "1"}
            | dict(self._environment(trainer["env"]))
            | environment(node.number, trainer["numNodes"], port),
        )
        self._containers[node] = container
        node.run()
        with pipe.open() as output:
            for line in output:
                node.log(line.rstrip("\n"))
        code = container.wait()
        code = code if code >= 0 else 128 - code
        node.end(code)
        return code

    def _environment(self, variables: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
        for variable in variables:
            if "value" in variable:
                yield variable["name"], variable["value"]
            elif (reference := variable["valueFrom"].get("secretKeyRef")) is not None:
                yield variable["name"], self._secrets[reference["key"]]

    def _wanted(self, job: Job) -> bool:
        """Whether a TrainJob is there and may go on."""
        is_there = self._api.jobs.get(job["metadata"]["name"]) is job
        return is_there and condition(job, "Failed") is None and not self._over.is_set()

    def _terminate(self, job: Job) -> None:
        for node, container in list(self._containers.items()):
            if node.job == job["metadata"]["name"]:
                _signal(container, signal.SIGTERM)


def _signal(container: Forked, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has ended
        os.killpg(container.pid, number)
