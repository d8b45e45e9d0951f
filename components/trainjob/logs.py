"""Copies the logs of all nodes into the launcher's own."""

import logging
import math
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.shared.stage.errors import UserError
from components.trainjob.kubernetes_api import Cluster, ClusterError
from components.trainjob.pods import End, NodePod

logger = logging.getLogger(__name__)

_LINES_OF_AN_END = 20
# A resumed stream begins this much earlier: lines take a while to arrive.
_OVERLAP = 60.0  # seconds
_PAUSE = 0.1  # seconds


@dataclass(slots=True)
class _Reading:
    """How far a pod's log has been read.

    Attributes:
        last: The time of the last line, as Kubernetes writes it.
        received: When it arrived.
        restarts: How often the container had been restarted.
        heard: The last end of the container up to which everything has been read.
        thread: The thread that reads it.
    """

    last: str = ""
    received: float | None = None
    restarts: int = 0
    heard: End | None = None
    thread: threading.Thread | None = None


class NodeLogs:
    """Writes the nodes' log lines to this process's output, each once, as they arrive."""

    def __init__(self, cluster: Cluster, num_nodes: int) -> None:
        """Begin with nothing read.

        Args:
            cluster: Where the nodes run.
            num_nodes: How many there are; with several, each line starts with its node's number.
        """
        self._cluster, self._several = cluster, num_nodes > 1
        self._readings: defaultdict[str, _Reading] = defaultdict(_Reading)
        self._ends: defaultdict[int, deque[str]] = defaultdict(
            lambda: deque(maxlen=_LINES_OF_AN_END)
        )
        self._lock = threading.Lock()
        self._refused: UserError | None = None

    def follow(self, pods: Iterable[NodePod]) -> None:
        """Keep reading, in threads, wherever there may be something to read.

        Raises:
            UserError: This pod has no permission to read logs.
        """
        if self._refused is not None:
            raise self._refused
        for pod in pods:
            reading = self._readings[pod.uid]
            alive = reading.thread is not None and reading.thread.is_alive()
            if pod.started and not alive and not (pod.over and self._is_heard(pod)):
                reading.thread = threading.Thread(
                    target=self._read, args=(pod, reading), daemon=True
                )
                reading.thread.start()

    def finish(self, pods: Sequence[NodePod], seconds: float) -> None:
        """Read up to each node's last end, for at most this long."""
        end = time.monotonic() + seconds
        while not all(map(self._is_heard, pods)) and time.monotonic() < end:
            self.follow(pods)
            time.sleep(_PAUSE)

    def end(self, node: int) -> list[str]:
        """Return the last lines of a node."""
        return list(self._ends[node])

    def _is_heard(self, pod: NodePod) -> bool:
        return pod.end is None or self._readings[pod.uid].heard == pod.end

    def _read(self, pod: NodePod, reading: _Reading) -> None:
        """Read until the container ends; after a restart, the rest of its predecessor first."""
        try:
            if pod.restarts > reading.restarts:
                self._show(pod, reading, previous=True)
                reading.restarts = pod.restarts
                reading.heard = pod.end if pod.running else reading.heard
            self._show(pod, reading)
            reading.heard = reading.heard if pod.running else pod.end
        except ClusterError as error:  # the next call of `follow` resumes after the last line
            logger.debug("log of %s: %s", pod.name, error)
        except UserError as error:
            self._refused = error

    def _show(self, pod: NodePod, reading: _Reading, previous: bool = False) -> None:
        seconds = None
        if reading.received is not None:
            seconds = math.ceil(time.monotonic() - reading.received + _OVERLAP)
        prefix = f"[node {pod.node}] " if self._several else ""
        for line in self._cluster.log(pod.name, seconds=seconds, previous=previous):
            written, _, text = line.partition(" ")
            if written <= reading.last:
                continue
            reading.last, reading.received = written, time.monotonic()
            with self._lock:
                self._ends[pod.node].append(text)
                sys.stdout.write(f"{prefix}{text}\n")
                sys.stdout.flush()
