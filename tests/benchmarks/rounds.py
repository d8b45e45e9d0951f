"""How contestants are measured side by side, so that a busy machine is as slow for one as for all.

All run in one process, each in every round, and are compared within a round. What is compared is
the median of these ratios.
"""

import gc
import itertools
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

_ROUNDS, _MOST_TIMES = 3, 50
Seconds = Mapping[str, Sequence[float]]  # what each round took, by contestant


class Row(NamedTuple):
    """What was measured of one thing; None where it does not apply.

    Attributes:
        what: What was measured.
        rate: Of it per second.
        ratio: How many times as long the peer takes.
        gibibytes: Memory that it needs.
        remark: Whatever else is to be said, or why there is no figure.
    """

    what: str
    rate: float | None = None
    ratio: float | None = None
    gibibytes: float | None = None
    remark: str = ""


def machine() -> str:
    """Say what a benchmark runs on."""
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
        device = f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"
    return f"{device}; torch {torch.__version__}"


def on_one_core() -> None:
    """Keep this process, and what it starts, on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)


def interleaved(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Seconds:
    """Return how long each contestant takes in each round, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        # To and fro, so that none gains if the machine becomes slower.
        for name in list(contestants)[:: 1 if number % 2 else -1]:
            start = clock()
            contestants[name]()
            if number > 0:
                seconds[name].append(clock() - start)
    return seconds


class Contestant:
    """What is done again and again, on a GPU if there is one, warmed up.

    Attributes:
        seconds: How long it takes, about.
        start: How long the first time took, with all that it needs.
        gibibytes: Of the GPU's memory, with what torch keeps for the next time; None on the CPU.
    """

    def __init__(self, make: Callable[[], Callable[[], object]]) -> None:
        """Do it a few times: cuDNN tries its kernels, and what is compiled is compiled."""
        on_gpu = torch.cuda.is_available()
        gc.collect()
        torch.cuda.empty_cache()
        others = torch.cuda.memory_reserved() if on_gpu else 0
        start = time.perf_counter()
        self._step = make()
        self.run(1)
        self.start = time.perf_counter() - start
        self.run(2)
        torch.cuda.empty_cache()
        self.seconds = self.run(1)
        memory = torch.cuda.memory_reserved() - others if on_gpu else 0
        self.gibibytes = memory / 2**30 if on_gpu else None

    def run(self, times: int) -> float:
        """Return how long so many times take."""
        start = time.perf_counter()
        for _ in range(times):
            self._step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - start


def in_turns(contestants: Mapping[str, Contestant], round_seconds: float) -> Seconds:
    """Return how long each takes once, by rounds in which the slowest takes about so long."""
    slowest = max(each.seconds for each in contestants.values())
    times = max(1, min(_MOST_TIMES, round(round_seconds / slowest)))
    runs = {name: partial(each.run, times) for name, each in contestants.items()}
    return {
        name: [took / times for took in found] for name, found in interleaved(runs, _ROUNDS).items()
    }


def ratio(seconds: Seconds, one: str, other: str) -> float:
    """Return how many times as long as `one` the other takes."""
    pairs = zip(seconds[one], seconds[other], strict=True)
    return statistics.median(theirs / ours for ours, theirs in pairs)


def peak_bytes(run: Callable[[], object]) -> int:
    """Return how much more memory tensors take at a time than before, while `run` runs."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(profile_memory=True) as profile:
        run()
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        profile.export_chrome_trace(file.name)
        events = json.loads(Path(file.name).read_text())["traceEvents"]
    changes = [event for event in events if event["name"] == "[memory]"]
    held, most = 0, 0
    for change in sorted(changes, key=lambda event: float(event["ts"])):
        held += change["args"]["Bytes"]
        most = max(most, held)
    return most


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in Markdown, each row as it comes."""
    for row in itertools.chain((header, ["---", *("--:" for _ in header[1:])]), rows):
        print("|", " | ".join(map(str, row)), "|", flush=True)
