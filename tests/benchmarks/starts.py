"""What the start of each stage takes: processor time of what it imports, by package.

    python -m tests.benchmarks.starts [stage …]

Each in a process of its own, once to have bytecode, and once that counts. A package's time is that
of its own modules, without those of other packages that they import.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence

from components.shared.stage.fingerprint import ROOT
from tests.benchmarks.import_times import Seconds
from tests.benchmarks.rounds import machine, print_table
from tests.imports import first_imports

SHOWN = 8


def start(stage: str) -> Seconds:
    """Return what a stage's imports take, in seconds by package."""
    command = [sys.executable, "tests/benchmarks/import_times.py", first_imports(stage)]
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: Seconds = json.loads(done.stdout.splitlines()[-1])
    return found


def rows(stages: Sequence[str]) -> Iterator[list[str]]:
    """Yield a row for each stage."""
    for stage in stages:
        seconds = start(stage)
        largest = sorted(seconds, key=seconds.__getitem__, reverse=True)[:SHOWN]
        shown = ", ".join(f"{package} {seconds[package]:.2f}" for package in largest)
        yield [stage, f"{sum(seconds.values()):.1f}", shown]


def main() -> None:
    """Print a table."""
    stages = sys.argv[1:] or sorted(path.parent.name for path in ROOT.glob("components/*/stage.py"))
    print(f"seconds of a core of: {machine()}\n")
    print_table(["stage", "in all", "most of it"], rows(stages))


if __name__ == "__main__":
    main()
