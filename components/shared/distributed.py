"""Several processes that train as one, each with a GPU of its own.

A stage checks its arguments, then calls `launch`: on one GPU or none nothing happens; with several,
the same command runs again in a process for each, under torch's own launcher, and this one ends as
they do. In them `launch` returns, and all go through the rest of the stage together.
"""

import atexit
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, TCPStore, rendezvous  # type: ignore[attr-defined]
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from components.shared import environment
from components.shared.parallel import cores

logger = logging.getLogger(__name__)
# Ranks wait for the slowest of them, which at the end of labelling may take hours more than the
# first. (When one dies the launcher ends all: that needs no timeout.)
_TIMEOUT = timedelta(days=1)
_TERMINATED = 128 + signal.SIGTERM
_store: TCPStore


def launch() -> None:
    """Go on in one process per GPU (or as many as `WEBLY_PROCESSES` says), if that is several."""
    if dist.is_torchelastic_launched():
        _join()
        return
    processes = environment.processes() or torch.cuda.device_count()
    if processes > 1:
        logger.info("going on in %d processes", processes)
        sys.exit(_run(processes))


def rank() -> int:
    """Return this process's number among all, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_rank() -> int:
    """Return this process's number among those of its node."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def local_world() -> int:
    """Return how many processes this node has."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def total(tensor: Tensor) -> Tensor:
    """Return the sum of the ranks' tensors."""
    if world() == 1:
        return tensor
    summed = tensor.cuda() if dist.get_backend() == "nccl" else tensor.clone()
    dist.all_reduce(summed)
    return summed.to(tensor.device)


def of_first(tensor: Tensor) -> None:
    """Overwrite a tensor by the first rank's."""
    if world() > 1:
        dist.broadcast(tensor, 0)


def barrier() -> None:
    """Wait until all ranks are here."""
    if world() > 1:
        dist.barrier()


class Termination:
    """SIGTERM while training: where a step is half done it is only noted.

    Attributes:
        noted: Whether it has come. The first rank then leaves a checkpoint and calls `leave`; the
            others go on with it until then, for it needs them to complete its step.
        at_once: Whether it ends the process when it comes.
    """

    def __init__(self) -> None:
        """Begin outside of any step."""
        self.noted, self.at_once = False, True

    def leave(self) -> None:
        """End this process, and the other ranks that know of the signal."""
        if world() > 1 and rank() == 0:
            _store.set("terminated", "")
        sys.exit(_TERMINATED)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        if self.at_once:
            self.leave()
        if not self.noted and rank() > 0:
            threading.Thread(target=_leave_after_first, daemon=True).start()
        self.noted = True


@contextmanager
def termination() -> Iterator[Termination]:
    """Yield what becomes of SIGTERM within the block."""
    noted = Termination()
    if threading.current_thread() is not threading.main_thread():
        yield noted  # only a main thread may handle signals
        return
    before = signal.signal(signal.SIGTERM, noted.note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave_after_first() -> None:
    """End this process once the first rank has its checkpoint; it may wait in a collective."""
    _store.wait(["terminated"])
    os._exit(_TERMINATED)


def _join() -> None:
    global _store
    threading.Thread(target=_end_with_launcher, args=(os.getppid(),), daemon=True).start()
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
    if number > 0:  # the first rank speaks for all
        logging.getLogger("components").setLevel(logging.WARNING)


def _end_with_launcher(launcher: int) -> None:
    """One that was killed cannot end its processes; they would go on beside those of a retry."""
    while os.getppid() == launcher:
        time.sleep(1)
    os._exit(1)


def _run(processes: int) -> int:
    """Run this process's command in several processes; return their exit code."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,  # a pod's retry is KFP's, and goes on from the checkpoint as well
    )
    # Not `sys.orig_argv`: a stage may have been forked from another command.
    spec = sys.modules["__main__"].__spec__
    assert spec is not None, "a stage runs as a module"
    command = ["-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]]
    try:
        elastic_launch(config, sys.executable)(*command)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    except SignalException as error:
        return 128 + error.sigval
    return 0
