"""Several processes that train as one, each with a GPU of its own.

A stage checks its arguments, then calls `launch`: with at most one GPU nothing happens; with
several, the same command runs again in one process per GPU, under torch's elastic agent, and this
process exits as they do. In them `launch` returns, and all execute the rest of the stage together.

On several nodes the same command runs on each, with torchrun's variables, set by Kubeflow Trainer
(`PET_NNODES`, `PET_NODE_RANK`, `PET_MASTER_ADDR`, `PET_MASTER_PORT`); the agents rendezvous in a
store hosted by node 0, and start once all of them are there. When a node is lost:

1. The other nodes' processes fail, or hang, in their collectives with the lost ones.
2. Where they fail, their agent ends them and waits for the lost node's replacement; where they
   hang, it ends them when the replacement arrives. An agent sends the store a heartbeat every 5 s,
   and after 15 s of silence its slot is free (the nodes' clocks must agree to some seconds).
3. All resume from the checkpoint.

If node 0 is lost, so is the store: the others' agents exit, and new ones wait for its replacement.
"""

import atexit
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, TCPStore, rendezvous  # type: ignore[attr-defined]
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.rendezvous.api import (
    RendezvousClosedError,
    RendezvousError,
    RendezvousParameters,
)
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from components.shared.stage import environment
from components.shared.stage.boundary import USER_ERROR
from components.shared.stage.errors import UserError
from components.shared.stage.interface import Range
from components.shared.stage.parallel import cores

logger = logging.getLogger(__name__)
# Ranks wait for the slowest of them, which at the end of inference may take hours longer than the
# fastest. (When one dies, the agent ends all: that needs no timeout.)
_TIMEOUT = timedelta(days=1)
_EXIT_CODE = 128 + signal.SIGTERM
# Keys of the ranks' store: one of them has received SIGTERM; rank 0 has exited because of it.
_TERMINATING, _TERMINATED = "terminating", "terminated"
# The agent's process id, in the environment of its processes.
_AGENT = "WEBLY_AGENT"
# How often an agent restarts its processes; more failures are not due to lost nodes.
_RESTARTS = 3
_MOST_NODES = 9_999
_store: TCPStore


def launch() -> None:
    """Continue in one process per GPU, or in `WEBLY_PROCESSES`, if that is more than one."""
    if dist.is_torchelastic_launched():
        _join()
        return
    processes = environment.processes() or max(1, torch.cuda.device_count())
    nodes = environment.integer("PET_NNODES", 1, Range(at_least=1, at_most=_MOST_NODES))
    if nodes > 1:
        number, address, port = _place_among(nodes)
        logger.info("node %d of %d: continuing in %d processes", number, nodes, processes)
        # Rank 0's agent would host the ranks' store, too, and keep it: after a loss, ranks would
        # find their predecessors' keys, or look for it on the lost node. So rank 0 hosts the store,
        # a new one each time.
        os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        code = None
        while code is None:
            here = address if number == 0 else _wait_for(address, port)
            code = _run(processes, nodes, f"{address}:{port}", here, hosts=number == 0)
        sys.exit(code)
    if processes > 1:
        logger.info("continuing in %d processes", processes)
        # No restarts: KFP retries the pod, and that resumes from the checkpoint as well.
        sys.exit(_run(processes))


def _place_among(nodes: int) -> tuple[int, str, int]:
    """Return this node's number, and where they meet, as Kubeflow's Trainer says.

    Raises:
        UserError: It does not say so, or nothing that can be.
    """
    for name in ("PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT"):
        if not os.environ.get(name):
            raise UserError(f"{name} is not set, but PET_NNODES={nodes}: Trainer sets both")
    return (
        environment.integer("PET_NODE_RANK", 0, Range(at_least=0, below=nodes)),
        str(environment.parsed("PET_MASTER_ADDR", os.environ["PET_MASTER_ADDR"], str, _host)),
        environment.integer("PET_MASTER_PORT", 0, Range(at_least=1, at_most=65_535)),
    )


def _host(value: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_.:\[\]-]{1,253}", value):
        raise UserError("must be the name or address of a host")


def rank() -> int:
    """Return this process's rank."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_rank() -> int:
    """Return this process's rank on its node."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def local_world_size() -> int:
    """Return the number of processes on this node."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def all_reduce(tensor: Tensor) -> Tensor:
    """Return the sum of the ranks' tensors."""
    if world_size() == 1:
        return tensor
    summed = tensor.cuda() if dist.get_backend() == "nccl" else tensor.clone()
    dist.all_reduce(summed)
    return summed.to(tensor.device)


def broadcast(tensor: Tensor) -> None:
    """Overwrite a tensor with rank 0's."""
    if world_size() > 1:
        dist.broadcast(tensor, 0)


def barrier() -> None:
    """Wait until all ranks get here."""
    if world_size() > 1:
        dist.barrier()


class Termination:
    """SIGTERM during training: within a step it is deferred.

    Attributes:
        at_once: Whether it ends the process immediately.
    """

    def __init__(self) -> None:
        """Begin outside of any step."""
        self.at_once = True
        self._received = False

    @property
    def received(self) -> bool:
        """Whether the signal has come; for rank 0 also whether other nodes' ranks received it.

        Rank 0 then saves a checkpoint and calls `leave`; until then the others continue, because it
        needs them to complete its step.
        """
        if not self._received and rank() == 0 and world_size() > local_world_size():
            self._received = _store.check([_TERMINATING])
        return self._received

    def leave(self) -> None:
        """End this process, and the other ranks that know of the signal."""
        if world_size() > 1 and rank() == 0:
            _store.set(_TERMINATED, "")
        sys.exit(_EXIT_CODE)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        if self.at_once:
            self.leave()
        if not self._received and rank() > 0:
            threading.Thread(target=_leave_after_first, daemon=True).start()
        self._received = True


@contextmanager
def termination() -> Iterator[Termination]:
    """Defer SIGTERM to the next step, wherever the block asks for that."""
    deferred = Termination()
    if threading.current_thread() is not threading.main_thread():
        yield deferred  # only a main thread may handle signals
        return
    before = signal.signal(signal.SIGTERM, deferred.handle)
    try:
        yield deferred
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave_after_first() -> None:
    """End this process, even if it waits in a collective, once rank 0 has its checkpoint."""
    with suppress(RuntimeError):  # rank 0 has exited, and the store with it
        _store.set(_TERMINATING, "")
        _store.wait([_TERMINATED])
    os._exit(_EXIT_CODE)


def _join() -> None:
    global _store
    agent = int(os.environ[_AGENT])
    threading.Thread(target=_end_with_agent, args=(agent,), daemon=True).start()
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank())
    _store, number, processes = next(rendezvous("env://", timeout=_TIMEOUT))
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(
        backend,
        store=PrefixStore("group", _store),
        rank=number,
        world_size=processes,
        timeout=_TIMEOUT,
    )
    atexit.register(dist.destroy_process_group)
    if number > 0:  # rank 0 logs for all
        logging.getLogger("components").setLevel(logging.WARNING)


def _end_with_agent(agent: int) -> None:
    """End with a killed agent: its processes would otherwise run beside those of a retry."""
    while os.getppid() == agent:
        time.sleep(1)
    os._exit(1)


def _wait_for(address: str, port: int) -> str:
    """Wait for node 0, which may get its GPUs hours later: torch waits only for a minute.

    Returns:
        The address of this node, as the others see it.
    """
    logger.info("waiting for node 0 at %s:%d", address, port)
    while True:
        try:
            with socket.create_connection((address, port), timeout=10.0) as connection:
                here: str = connection.getsockname()[0]
                return here
        except OSError:
            time.sleep(1)


class _Agent(LocalElasticAgent):
    """Torch's agent, which restarts failed processes, unless they failed with a user's error."""

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result: RunResult = super()._monitor_workers(worker_group)
        if any(failure.exitcode == USER_ERROR for failure in result.failures.values()):
            self._remaining_restarts = 0
        return result


def _run(
    processes: int,
    nodes: int = 1,
    endpoint: str = "localhost:0",
    here: str | None = None,
    *,
    hosts: bool = True,
) -> int | None:
    """Run this process's command in several processes.

    Args:
        processes: The number of processes on this node.
        nodes: The number of nodes.
        endpoint: Where their agents rendezvous.
        here: This node's address; None for its name, which others need not resolve.
        hosts: Whether this node's agent hosts the store there.

    Returns:
        Their exit code; None when node 0 is lost, and with it the store.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
    os.environ[_AGENT] = str(os.getpid())
    # Not `sys.orig_argv`: a stage may have been forked from another command.
    spec = sys.modules["__main__"].__spec__
    assert spec is not None, "a stage runs as a module"
    command = ("-m", spec.name.removesuffix(".__main__"), *sys.argv[1:])
    restarts = _RESTARTS if nodes > 1 else 0
    terminated = signal.getsignal(signal.SIGTERM)  # torch's agent has its own handler
    try:
        rendezvous = get_rendezvous_handler(
            RendezvousParameters(
                "c10d",
                endpoint,
                run_id="webly",  # each job has a store of its own
                min_nodes=nodes,
                max_nodes=nodes,
                local_addr=here,
                is_host=hosts,
                join_timeout=int(_TIMEOUT.total_seconds()),
            )
        )
        work = WorkerSpec(
            "rank", processes, rendezvous, None, sys.executable, command, max_restarts=restarts
        )
        result: RunResult | None = _Agent(work, DefaultLogsSpecs()).run()
    except SignalException as error:
        return 128 + error.sigval  # the others wait for this node's replacement
    except RendezvousClosedError:
        result = None
    except RendezvousError as error:
        logger.warning("node 0 does not answer: %s", error)
        return 1 if hosts else None
    finally:
        signal.signal(signal.SIGTERM, terminated)
    if result is None:
        logger.error("another node has failed permanently: see its log")
        return 1
    if nodes > 1 and hosts and not result.is_failed():
        time.sleep(2)  # the others learn from its store that all have ended
    rendezvous.shutdown()  # no node need wait for this one
    if not result.is_failed():
        return 0
    failures = sorted(result.failures.values(), key=lambda failure: failure.timestamp)
    codes = [failure.exitcode for failure in failures]
    if USER_ERROR in codes:  # to the others it looks like a lost peer
        return USER_ERROR
    return codes[0] if codes[0] > 0 else 128 - codes[0]
