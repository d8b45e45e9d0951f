"""Work spread over processes: the same results in the same order, however many there are."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
_work: Callable[[Any], Any]


def num_cpus() -> int:
    """Return how many CPUs this process may use, by its affinity and its container's limit."""
    cpus = len(os.sched_getaffinity(0))
    if _CPU_LIMIT.is_file():
        quota, period = _CPU_LIMIT.read_text().split()
        if quota != "max":
            cpus = min(cpus, max(1, int(quota) // int(period)))
    return cpus


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], num_workers: int
) -> Iterator[Result]:
    """Yield `work(item)` of each item, in the order of the items.

    Args:
        work: Goes to each process once, so it may hold large arrays; it must be picklable.
        items: What to work on; small, because all of them are queued at once.
        num_workers: Processes; 1 works in this one.
    """
    if num_workers == 1:
        yield from map(work, items)
        return
    # Spawned, because a fork of a process that has threads (Arrow's, BLAS's) may hang.
    with ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(work,),
    ) as pool:
        yield from pool.map(_call, items)


def _begin(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is killed: the pool would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(item: Any) -> Any:
    return _work(item)
