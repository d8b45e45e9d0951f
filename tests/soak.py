"""Run small pipelines on one run folder and one store for long, and see whether anything grows.

    python -m tests.soak 60 /tmp/soak                 # minutes, and a folder
    python -m tests.soak 60 /tmp/soak s3://bucket/x   # with shards and checkpoints on S3

Each round changes a seed, so that trainings run anew, and frees what the round before has left.
Of three rounds, the first is left alone, the second is interrupted after some seconds, as by
Ctrl-C, the third is killed with all its processes' group, and each is then run to its end. A line
says after each round what there is; the last one by how much the last third of the rounds has more
than the first, and it exits with 1 if that is more than a tenth of anything.
"""

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from components.shared.stage.fingerprint import ROOT
from components.shared.storage import filesystem

_RECIPE = """
extends: demo
name: webly-soak
without: [finetune_large, finetune_again_large, audit, lw_pretrain]
candidates:
  - backbone: resnet10t
    backbone_args: {{layers: [1, 1, 1, 1], channels: [8, 8, 8, 8], stem_width: 8}}
    pretraining: [wt, none]
drawn: {{{data}: {{train_images: 300, validation_images: 60, test_images: 20}}}}
ingest: {{dataset: {data}, shard_megabytes: 1}}
tagging: {{tagger: {data}/tagger, vocabulary_size: 60}}
training: {{epochs: 1, decay_epochs: 1}}
wt_pretrain: {{epochs: 1, decay_epochs: 1}}
finetune: {{epochs: 1, decay_epochs: 1}}
finetune_again: {{epochs: 1, decay_epochs: 1}}
"""
_MOST_GROWTH, _FEWEST_ROUNDS = 1.1, 9


class Round(NamedTuple):
    """What there is after a round; memory and open files are the most that there were in it."""

    seconds: float
    peak_megabytes: float
    open_files: int
    processes_left: int
    temporary_megabytes: float
    run_megabytes: float
    stored_megabytes: float


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("minutes", type=float)
    parser.add_argument("folder", type=Path)
    parser.add_argument("store", nargs="?", default="", help="s3://bucket/prefix")
    given = parser.parse_args()
    folder = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "soak.yaml"
    recipe.write_text(_RECIPE.format(data=folder / "data"))
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = os.environ | {"TMPDIR": str(temporary)}
    if given.store:
        environment |= {
            "WEBLY_STORE": f"{given.store}/store",
            "WEBLY_CHECKPOINTS": f"{given.store}/checkpoints",
        }
    runs = Runs(recipe, folder / "run", environment, given.store)
    end, rounds = time.monotonic() + 60 * given.minutes, list[Round]()
    print(*Round._fields, sep="\t")
    while time.monotonic() < end:
        rounds.append(runs.round(len(rounds)))
        print(*(f"{value:.5g}" for value in rounds[-1]), sep="\t", flush=True)
    if len(rounds) < _FEWEST_ROUNDS:
        sys.exit(f"{len(rounds)} rounds say nothing: give it more minutes")
    sys.exit(any(list(growths(rounds))))


def growths(rounds: list[Round]) -> Iterator[bool]:
    """Print and yield whether each figure has grown from the first third to the last."""
    third = len(rounds) // 3
    for name in Round._fields[1:]:
        before, after = (
            statistics.median(getattr(each, name) for each in part)
            for part in (rounds[1 : 1 + third], rounds[-third:])  # the first fills caches
        )
        print(f"{name}: {before:.5g} in the first third, {after:.5g} in the last")
        yield after > _MOST_GROWTH * before + 1


class Runs:
    """Runs of one recipe in one folder."""

    def __init__(self, recipe: Path, folder: Path, environment: dict[str, str], store: str) -> None:
        self._recipe, self._folder = recipe, folder
        self._environment, self._store = environment, store
        self._random = random.Random(0)

    def round(self, number: int) -> Round:
        """Run once with new seeds, perhaps after a run that ends early, and clean."""
        started = time.monotonic()
        seed = f"seeds=[{number}]"
        ends = [None, signal.SIGINT, signal.SIGKILL][number % 3]
        early = self._run(seed, ends) if ends else (0.0, 0)
        peak, files = map(max, early, self._run(seed))
        clean = ["pipelines.clean", str(self._folder), "--yes"]
        subprocess.run(
            [sys.executable, "-m", *clean],
            cwd=ROOT,
            env=self._environment,
            check=True,
            capture_output=True,
        )
        return Round(
            time.monotonic() - started,
            peak,
            int(files),
            len(list(self._processes())),
            _megabytes(self._environment["TMPDIR"]),
            _megabytes(str(self._folder)),
            _megabytes(self._store) if self._store else 0.0,
        )

    def _run(self, seed: str, end: signal.Signals | None = None) -> tuple[float, int]:
        """Run, or end a run after some seconds; return the peak memory in MB and open files."""
        command = ["pipelines.local", "--recipe", str(self._recipe), "--run", str(self._folder)]
        ends_at = time.monotonic() + self._random.uniform(2, 20)
        peak, files, is_ended = 0.0, 0, False
        with (
            self._folder.with_suffix(".log").open("w") as log,
            subprocess.Popen(
                [sys.executable, "-m", *command, "--set", seed],
                cwd=ROOT,
                env=self._environment | {"SOAK": str(self._folder)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            ) as process,
        ):
            while process.poll() is None:
                running = list(self._processes())
                peak = max(peak, sum(map(_memory, running)))
                files = max(files, sum(map(_open_files, running)))
                if end and not is_ended and time.monotonic() > ends_at:
                    os.killpg(process.pid, end)
                    is_ended = True
                time.sleep(0.5)
        if process.returncode and not is_ended:
            sys.exit(f"exit code {process.returncode}: see {log.name}")
        deadline = time.monotonic() + 10  # stages notice that their runner was killed
        while list(self._processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return peak, files

    def _processes(self) -> Iterator[Path]:
        """Yield the processes of all runs, by a variable in their environment."""
        mark = f"SOAK={self._folder}\0".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes():
                    yield process
            except OSError:  # ended, or not ours
                continue


def _memory(process: Path) -> float:
    """Return a process's own memory in MB: of what it shares with others, its part."""
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3


def _open_files(process: Path) -> int:
    try:
        return len(list((process / "fd").iterdir()))
    except OSError:
        return 0


def _megabytes(uri: str) -> float:
    return sum(entry.bytes for entry in filesystem.listed(uri)) / 1e6


if __name__ == "__main__":
    main()
