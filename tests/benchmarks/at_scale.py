"""Time and memory of each stage at 16 M images × 5,000 concepts × 35,000 keywords.

    NLTK_DATA=… python -m tests.benchmarks.at_scale                                 # 5 minutes
    NLTK_DATA=… python -m tests.benchmarks.at_scale --rows 10000 100000 1000000 2000000

Runs each stage on synthetic data of several sizes, each run in a process of its own, and lays a
line through what it measures. Prints Markdown: what was measured, what follows for the full size,
and what follows from formulas alone. A run that would take too long, by the smaller ones, is left
out. A quiet machine and large sizes are worth waiting for: 10 MB more or less at 100,000 images
are 1.8 GB at 16 M.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.shared.stage.parallel import cores
from components.shared.training.settings import TrainingSettings
from tests.benchmarks import at_scale_inputs as inputs
from tests.benchmarks.at_scale_stages import SCALE, STAGES, Stage
from tests.benchmarks.rounds import machine, print_table

logger = logging.getLogger("at_scale")
MANY_CORES = 64
_SECONDS_BETWEEN_SAMPLES = 0.2
_CHANCE = 10e6  # bytes by which the memory of two equal runs may differ


class Measured(NamedTuple):
    """What a run took.

    Attributes:
        rows: Images.
        seconds: By the clock.
        parent_cpu: Processor seconds of the first process,
        workers_cpu: and of all others.
        parent: Most private bytes of the first process; what it shares with forks is its own.
        worker: Most private bytes of any other, without what it shares with the first.
        together: Most bytes of all at a time, what is shared counted once.
        written: Bytes of the outputs, without shards of images.
    """

    rows: int
    seconds: float
    parent_cpu: float
    workers_cpu: float
    parent: int
    worker: int
    together: int
    written: int


class Line(NamedTuple):
    """start + slope · rows."""

    start: float
    slope: float

    @classmethod
    def through(cls, runs: Sequence[Measured], value: Callable[[Measured], float]) -> "Line":
        """Return the line that fits best, proportional if there is but one run."""
        if len(runs) == 1:
            return cls(0.0, value(runs[0]) / runs[0].rows)
        slope, start = np.polyfit([run.rows for run in runs], [value(run) for run in runs], 1)
        return cls(float(start), float(slope))

    def at(self, rows: int) -> float:
        """Return its value, at least 0."""
        return max(0.0, self.start + self.slope * rows)


def measure(name: str, rows: int, folder: Path) -> Measured:
    """Prepare a stage's inputs in a folder, and run it in a process of its own."""
    logger.info("%s, %s images: making the inputs", name, f"{rows:,}")
    STAGES[name].prepare(folder, rows)
    (folder / "out").mkdir()
    logger.info("%s, %s images: running", name, f"{rows:,}")
    environment = {
        **os.environ,
        "WEBLY_STORE": str(folder / "store"),
        "WEBLY_CHECKPOINTS": str(folder / "checkpoints"),
        "WEBLY_CACHE": str(folder / "cache"),
        "WEBLY_PROCESSES": "1",
        "CUDA_VISIBLE_DEVICES": "",
        # Else glibc raises it, and what it keeps of freed memory is chance: 0 or 100 MB.
        "MALLOC_MMAP_THRESHOLD_": "131072",
    }
    command = [sys.executable, "-m", "tests.benchmarks.at_scale_stages", name, str(folder)]
    process = subprocess.Popen(command, env=environment)
    peaks = np.zeros(3, np.int64)
    try:
        while process.poll() is None:
            peaks = np.maximum(peaks, _memory(process.pid))
            time.sleep(_SECONDS_BETWEEN_SAMPLES)
    finally:
        process.kill()
    if process.returncode:
        raise SystemExit(f"{name} failed at {rows:,} images: see above")
    parent, worker, together = peaks.tolist()
    written = sum(path.stat().st_size for path in (folder / "out").rglob("*") if path.is_file())
    usage = json.loads((folder / "usage.json").read_text())
    run = Measured(rows, **usage, parent=parent, worker=worker, together=together, written=written)
    cpu = run.parent_cpu + run.workers_cpu
    logger.info("… %.1f s, CPU %.1f s, %.0f MB", run.seconds, cpu, together / 1e6)
    return run


def _memory(process: int) -> tuple[int, int, int]:
    """Return bytes that no file backs: of a process, of the largest below it, of all together."""
    parent, worker, together = 0, 0, 0
    for number in _with_descendants(process):
        with suppress(FileNotFoundError, ProcessLookupError):  # it may have ended
            lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()[1:]
            if not lines:  # it is ending
                continue
            found = {words[0]: 1024 * int(words[1]) for words in map(str.split, lines)}
            together += found["Pss_Anon:"] + found["SwapPss:"]
            if number == process:
                # Not Private_Dirty: what it shares with forked workers would not count.
                parent = found["Anonymous:"] + found["Swap:"]
            else:
                worker = max(worker, found["Private_Dirty:"] + found["Swap:"])
    return parent, worker, together


def _with_descendants(process: int) -> Iterator[int]:
    yield process
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, path.read_text().split()):
                yield from _with_descendants(child)


def measured(name: str, sizes: Sequence[int], longest: float, base: Path) -> list[Measured]:
    """Measure a stage at several sizes, the smallest first, until one would take too long."""
    runs: list[Measured] = []
    for rows in sizes:
        expected = Line.through(runs[-2:], lambda run: run.seconds).at(rows) if runs else 0.0
        if expected > longest:
            logger.info("%s, %s images: left out (some %.0f s)", name, f"{rows:,}", expected)
            break
        with tempfile.TemporaryDirectory(dir=base) as folder:
            runs.append(measure(name, rows, Path(folder)))
    return runs


def row_measured(name: str, run: Measured) -> list[str]:
    """Return a row of the first table."""
    memory = (run.parent, run.worker, run.together)
    return [
        name,
        f"{run.rows:,}",
        f"{run.seconds:.1f}",
        f"{run.parent_cpu:.1f}",
        f"{run.workers_cpu:.1f}",
        *(f"{each / 1e6:,.0f}" for each in memory),
        f"{run.written / 1e6:,.1f}",
    ]


def row_at_scale(name: str, stage: Stage, runs: Sequence[Measured]) -> list[str]:
    """Return a row of the second table."""
    full = [run for run in runs if run.rows >= stage.full_from]
    known = len(full) > 1
    seconds, parent_cpu, workers_cpu, written = (
        Line.through(runs, value)
        for value in (
            lambda run: run.seconds,
            lambda run: run.parent_cpu,
            lambda run: run.workers_cpu,
            lambda run: run.written,
        )
    )
    parent = Line.through(full if known else runs, lambda run: run.parent)
    worker = Line.through(full, lambda run: run.worker) if known else Line(runs[-1].worker, 0.0)
    hours = memory = "–"
    if stage.spread:
        cpu = parent_cpu.at(stage.images) + workers_cpu.at(stage.images) / MANY_CORES
        hours = f"{cpu / 3600:.2f}"
        memory = f"{(parent.at(stage.images) + MANY_CORES * worker.at(stage.images)) / 1e9:.1f}"
    # Until units are full, memory grows with them: too fast a line, too small a unit.
    most = "" if known else "≤ "
    least = "" if full else "≥ "
    return [
        name,
        f"{stage.images / 1e6:g} M",
        f"{1e6 * max(0.0, seconds.slope):.0f}",
        f"{1e6 * max(0.0, parent_cpu.slope + workers_cpu.slope):.0f}",
        f"{seconds.at(stage.images) / 3600:.2f}",
        hours,
        f"{most}{max(0.0, parent.slope):.0f}",
        f"{most}{parent.at(stage.images) / 1e9:.2f}",
        f"{least}{worker.at(stage.images) / 1e6:.0f}",
        memory,
        f"{written.at(stage.images) / 1e9:.2f}",
    ]


def photograph(path: Path, side: int = 256) -> tuple[float, float]:
    """Return the processor seconds that ingest takes for a photograph, and the bytes it stores."""
    from components.ingest.encoding import stored

    with tarfile.open(path) as tar:
        files = [tar.extractfile(member) for member in tar if member.isfile()]
        encoded = [file.read() for file in files if file]
    start = time.process_time()
    sizes = [len(stored(each, side)) for each in encoded]
    return (time.process_time() - start) / len(encoded), float(np.mean(sizes))


def formulas(rate: float, gpus: int, image_bytes: float) -> Iterator[list[str]]:
    """Yield the rows of the third table: what, how much, and how that is computed."""
    settings = TrainingSettings()
    seen = settings.epochs * settings.epoch_images
    hours, labelling = seen / rate / 3600, 2 * SCALE / rate / 3600
    yield [
        "a training, GPU hours (hours)",
        f"{hours:,.0f} ({hours / gpus:,.1f})",
        f"{settings.epochs} epochs × {settings.epoch_images:,} images ÷ {rate:,.0f}/s (÷ {gpus})",
    ]
    yield [
        "pseudo_label, GPU hours (hours)",
        f"{labelling:,.1f} ({labelling / gpus:,.1f})",
        f"16 M images × 2 teachers ÷ {rate:,.0f}/s (÷ {gpus})",
    ]
    shards = SCALE * image_bytes / 1e9
    yield ["shards, read once a pass, GB", f"{shards:,.0f}", f"16 M × {image_bytes / 1e3:.1f} kB"]
    yield [
        "read in a training, TB",
        f"{shards * seen / SCALE / 1e3:,.1f}",
        f"{seen / SCALE:.1f} passes",
    ]
    window = settings.window_gigabytes
    yield ["cache of a node, GB, at least", f"{2 * window:g}", f"two windows of {window:g} GB"]
    for classes in (inputs.NUM_KEYWORDS, inputs.NUM_CLASSES):
        weights = _weights(settings.backbone, classes)
        yield [
            f"checkpoint, {settings.backbone} × {classes:,}, GB",
            f"{8 * weights / 1e9:.2f}",
            f"{weights / 1e6:.0f} M weights and their momentum × 4 bytes; two are kept",
        ]
    for name, pairs in (("labels", 1), ("keywords, weights, pseudo labels: each", inputs.KEYWORDS)):
        yield [
            f"Targets, {name}, GB",
            f"{SCALE * (8 + 8 * pairs) / 1e9:.2f}",
            f"16 M × (8 for the offset + {pairs} × (4 + 4))",
        ]
    yield ["index of the image set, GB", f"{16 * SCALE / 1e9:.2f}", "16 M × 16"]


def _weights(backbone: str, classes: int) -> int:
    import timm
    import torch

    with torch.device("meta"):
        model = timm.create_model(backbone, num_classes=classes)
    return sum(each.numel() for each in model.state_dict().values())


def print_tables(
    found: dict[str, list[Measured]], photos: tuple[float, float] | None, rate: float, gpus: int
) -> None:
    """Print all tables, with the model by which the second is computed."""
    here = cores()
    print("\n### Measured\n")
    print(f"On {machine()}; synthetic data. MB are of memory that no file backs.\n")
    columns = ["stage", "images", "s", "CPU s, parent", "CPU s, others", "parent, MB"]
    columns += ["largest other, MB", "together, MB", "outputs, MB"]
    print_table(columns, [row_measured(name, run) for name, runs in found.items() for run in runs])

    print("\n### At 16 M images × 5,000 concepts × 35,000 keywords\n")
    columns = ["stage", "images", "s/M", "CPU s/M", f"hours, {here} cores", f"hours, {MANY_CORES}"]
    columns += ["parent, bytes an image", "parent, GB", "each other, MB"]
    columns += [f"together, {MANY_CORES}, GB", "outputs, GB"]
    several = {name: runs for name, runs in found.items() if len(runs) > 1}
    print_table(columns, [row_at_scale(name, STAGES[name], runs) for name, runs in several.items()])
    spans = [runs[-1].rows - runs[0].rows for runs in several.values()]
    chance = _CHANCE * SCALE / min(spans, default=SCALE) / 1e9
    print(
        "\nModel: a + b · images, least squares through all sizes. Memory: only through sizes at "
        "which units of work (shards, row groups, windows) are as large as at full size; where "
        "fewer than two were measured, the parent's is through all sizes and an upper bound (≤), "
        "and the others' is that of the largest, a lower bound (≥) if units are not full there. "
        f"10 MB of chance are up to {chance:.1f} GB here. "
        f"On {MANY_CORES} cores: the parent's processor seconds and 1/{MANY_CORES} of the others'. "
        "Others: one a core; of a rank, its loader's workers. A training is a pass of one rank. "
        "Networks and the decoding of photographs are left out: ingest's images are of 0.3 kB."
    )
    if photos:
        hours = SCALE * photos[0] / 3600
        print(
            f"Photographs add {1e3 * photos[0]:.1f} ms of a core each to ingest, for 16 M "
            f"{hours:.0f} hours of a core: {hours / here:.1f} on {here}, "
            f"{hours / MANY_CORES:.2f} on {MANY_CORES}."
        )

    print("\n### By formula\n")
    rows = formulas(rate, gpus, photos[1] if photos else 40_000)
    print_table(["", "", "how"], rows)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000], metavar="IMAGES")
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=STAGES)
    parser.add_argument(
        "--longest", type=float, default=600, help="seconds of a run, else left out"
    )
    parser.add_argument("--images-per-second", type=float, default=1_000, help="of a GPU")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--photos", type=Path, default="../shared/data/photos.tar")
    parser.add_argument("--folder", type=Path, help="for data while it runs: 2 kB an image")
    arguments = parser.parse_args()
    logging.basicConfig(level="WARNING", format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logger.setLevel("INFO")
    logger.info("load before: %.1f processes on %d cores", os.getloadavg()[0], cores())
    names = list(arguments.stages)
    if not inputs.has_wordnet():
        for name in {"tagging", "weighting"} & set(names):
            logger.warning("%s is left out: NLTK finds no WordNet or tagger; set NLTK_DATA", name)
            names.remove(name)
    found = {
        name: measured(name, sorted(arguments.rows), arguments.longest, arguments.folder)
        for name in names
    }
    photos = photograph(arguments.photos) if arguments.photos.is_file() else None
    print_tables(found, photos, arguments.images_per_second, arguments.gpus)


if __name__ == "__main__":
    main()
