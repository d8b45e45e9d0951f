"""How contestants are measured side by side, so that a busy machine is as slow for one as for all.

All run in one process, each in every round, and are compared within a round. What is compared is
the median of these ratios.
"""

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch

Seconds = Mapping[str, Sequence[float]]  # what each round took, by contestant


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
    """Print a table in Markdown."""
    for row in (header, ["---", *("--:" for _ in header[1:])], *rows):
        print("|", " | ".join(map(str, row)), "|")
