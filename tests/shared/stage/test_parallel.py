import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from components.shared.stage.parallel import cores, ordered


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_first(item: int) -> tuple[int, int]:
        time.sleep(0.2 if item == 0 else 0)
        return item, os.getpid()

    results = list(ordered(slow_first, range(50)))
    assert [item for item, _ in results] == list(range(50))
    assert os.getpid() not in {process for _, process in results}


def test_takes_items_only_as_results_are_used() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(1_000):
            taken.append(item)
            yield item

    results = ordered(abs, items())
    next(results)
    assert len(taken) == 3 * cores() + 1


def test_an_error_of_a_worker_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        list(ordered(lambda item: 1 // item, [1, 0, 1]))


def test_workers_end_when_their_parent_is_killed() -> None:
    script = (
        "import os, time\n"
        "from components.shared.stage.parallel import ordered\n"
        "def work(item):\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(60)\n"
        "list(ordered(work, range(1)))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()

    deadline = time.monotonic() + 60
    while _runs(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(worker)


def _runs(process: int) -> bool:
    """Return whether a process is alive; one that nobody has waited for yet is not."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
