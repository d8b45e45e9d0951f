"""Measurements in processes of their own, each with a time by which it is killed."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TypeVar

import torch

Found = TypeVar("Found")


def in_process(what: Callable[[], Iterator[Found]], seconds: float) -> Iterator[Found]:
    """Yield what a forked process finds, until it ends or its time is over.

    This process must not have used a GPU, nor torch's threads.

    Raises:
        TimeoutError: It was killed.
        ChildProcessError: It failed; its traceback is on the standard error.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(what, sender))
    process.start()
    sender.close()
    end = time.monotonic() + seconds
    try:
        while receiver.poll(max(0.0, end - time.monotonic())):
            yield receiver.recv()
        raise TimeoutError
    except EOFError:
        process.join(timeout=10)
        if process.exitcode != 0:
            raise ChildProcessError(process.exitcode) from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.kill()
        process.join()


def _tell(what: Callable[[], Iterator[Found]], sender: Connection) -> None:
    os.setsid()  # so that all it starts is killed with it
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # two that share a core wait for each other
    for found in what():
        sender.send(found)
