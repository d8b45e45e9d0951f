"""The report of a run: one self-contained page that joins the record and the stages' own pages.

python -m pipelines.report runs/demo
"""

import argparse
import importlib.metadata
import logging
import os
import platform
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from components.ingest.dataset import REJECTS
from components.shared.data import targets
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.reports import html
from components.shared.reports.html import Page
from components.shared.stage.boundary import boundary
from components.shared.storage import arrays
from pipelines.run import ending, plots, record, samples
from pipelines.run.graph_drawing import draw_graph
from pipelines.run.record import RunRecord, TaskRecord, duration

logger = logging.getLogger(__name__)

FILE = "report.html"
MOST_BYTES = 5_000_000  # KFP's UI shows no larger page; mail servers accept it, too
_FRAME_BYTES, _FRAME_BYTES_OF_A_TASK = 10_000, 1_000  # the style; the markup around a folded page
_PACKAGES = ("torch", "timm", "torchvision", "numpy", "scipy", "pyarrow", "nltk", "pillow", "kfp")
# Steps whose first task's page is a section of this one.
_SECTIONS = {
    "compare": "Results",
    "audit": "Labels that look wrong",
    "ensemble": "What is confused",
}
_SHOWN_REJECTS = 15
_LINES_OF_A_FAILED_LOG = 30


def write(folder: Path) -> Path:
    """Write `report.html` into a run's folder, from its record and the outputs that it names.

    A run that failed, or is still running, is reported as far as it got.

    Raises:
        UserError: There is no run, or it was written by another version of webly.
    """
    run = record.read(folder)
    page = Page(f"Run {folder.name}", _summary(run))
    lines = ending.lines(run, folder, folder / FILE)
    page.preformatted("\n".join(f"{what:<10}  {text}" for what, text in lines))
    page.stats(list(_tiles(run)))
    _add_failures(page, run)
    sections = {step: task for step in _SECTIONS if (task := _reported(run, step))}
    for step, task in sections.items():
        page.heading(_SECTIONS[step])
        page.included(html.body(Path(task.outputs["report"])), anchor=f"task-{task.name}")
    _add_keywords(page, run)
    _add_samples(page, run)
    _add_rejects(page, run)
    page.heading("What ran")
    page.drawing(
        draw_graph(run.tasks),
        "The tasks and their inputs. Grey tasks came from the cache; their times are those of the "
        "original run. Tasks that differ only by seed are drawn as one, with their mean time. "
        "Edges implied by longer paths are left out.",
    )
    _add_settings(page, run)
    _add_pages(page, [task for task in run.tasks if task not in sections.values()])
    page.write(folder / FILE)
    return folder / FILE


def _summary(run: RunRecord) -> str:
    day = time.strftime("%d %B %Y, %H:%M", time.localtime(run.started))
    took = f", {duration(run.ended - run.started)}" if run.ended else ""
    counts = Counter(task.status for task in run.tasks)
    states = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"Pipeline {run.pipeline}, recipe {run.recipe or '–'}; {day}{took}. Tasks: {states}."


def _output(run: RunRecord, step: str, name: str) -> Path | None:
    """Return the path of an output of a step's only task, if it got that far."""
    paths = [task.outputs[name] for task in run.tasks if task.step == step and name in task.outputs]
    return Path(paths[0]) if paths else None


def _reported(run: RunRecord, step: str) -> TaskRecord | None:
    """Return a step's first task that has a page."""
    tasks = (task for task in run.tasks if task.step == step and "report" in task.outputs)
    return next(tasks, None)


def _tiles(run: RunRecord) -> Iterator[tuple[str, str]]:
    labels = _output(run, "ingest", "labels")
    if labels:
        targets = Targets.load(labels)
        yield f"{len(targets):,}", f"training images of {len(targets.names):,} classes"
        yield f"{100 / len(targets.names):.2g}%", "top-1 by chance"


def _add_failures(page: Page, run: RunRecord) -> None:
    for task in run.tasks:
        if task.status == "failed":
            page.heading(f"{task.name} failed")
            log = Path(task.log)
            text = log.read_text(errors="replace") if log.is_file() else ""
            page.preformatted("\n".join(text.splitlines()[-_LINES_OF_A_FAILED_LOG:]))


def _add_keywords(page: Page, run: RunRecord) -> None:
    path = _output(run, "tagging", "keywords")
    if path is None:
        return
    classes = arrays.table(path / "classes.parquet", targets.SCHEMA)
    images = classes["images"].to_numpy()
    if len(images):
        page.heading("Keywords")
        page.figure(
            partial(plots.plot_keywords, classes["name"].to_pylist(), images),
            f"{len(images):,} keywords from the texts around the images, and how many images have "
            "each.",
        )


def _add_samples(page: Page, run: RunRecord) -> None:
    images, labels = _output(run, "ingest", "images"), _output(run, "ingest", "labels")
    if images is None or labels is None:
        return
    predicted = {
        "keywords": _output(run, "tagging", "keywords"),
        "weights": _output(run, "weighting", "weights"),
        "pseudo labels": _output(run, "pseudo_label", "pseudo_labels"),
    }
    contradicts = predicted["pseudo labels"] is not None
    page.heading("Samples")
    page.paragraph(
        "In bold each image's given label; below it, what each stage made of the image and its "
        "text."
        + (
            " Images whose label the models contradict come first, the most confident first."
            * contradicts
        )
    )
    page.cards(
        samples.cards(
            ImageSet.load(images),
            Targets.load(labels),
            {title: Targets.load(path) for title, path in predicted.items() if path},
        )
    )


def _add_rejects(page: Page, run: RunRecord) -> None:
    images = _output(run, "ingest", "images")
    if images is None:
        return
    rejects = arrays.table(images / "rejects.parquet", REJECTS)
    counts = Counter(rejects["kind"].to_pylist())
    page.heading("Rejects")
    page.paragraph(
        "What ingest left out or found missing; the complete list is one of its outputs."
    )
    page.table(["kind", "count"], counts.most_common())
    shown = rejects.slice(0, _SHOWN_REJECTS)
    page.table(shown.column_names, [list(row.values()) for row in shown.to_pylist()])


def _add_settings(page: Page, run: RunRecord) -> None:
    page.heading("Parameters and versions")
    given = [(name, value) for name, value in sorted(run.parameters.items()) if value != ""]
    page.table(["parameter of the run", "value"], given)
    versions = [("webly", run.revision or "unknown"), ("python", platform.python_version())]
    for package in _PACKAGES:
        try:
            versions.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            versions.append((package, "not installed"))
    page.table(["package", "version"], versions)
    page.heading("What it cost")
    rows = [
        (task.name, task.status, duration(task.seconds), task.peak_bytes >> 20, task.key[:12])
        for task in run.tasks
    ]
    in_all = duration(sum(task.seconds for task in run.tasks))
    most = max((task.peak_bytes >> 20 for task in run.tasks), default=0)
    page.table(
        ["task", "status", "time", "peak MiB", "cache key"],
        [*rows, ("all of them", "", in_all, most, "")],
    )
    page.paragraph(
        "Time and memory of cached tasks are those of the original run; 0 MiB: not measured."
    )


def _add_pages(page: Page, tasks: Sequence[TaskRecord]) -> None:
    """Fold in as many of the stages' own pages as fit: the large ones are left out."""
    page.heading("The stages' own pages")
    short = {task.name: _without_its_page(task) + _parameters(task) for task in tasks}
    whole = {
        task.name: html.body(Path(task.outputs["report"])) + _parameters(task)
        for task in tasks
        if "report" in task.outputs
    }
    room = MOST_BYTES - len(page.body().encode()) - _FRAME_BYTES
    room -= sum(len(content.encode()) + _FRAME_BYTES_OF_A_TASK for content in short.values())
    contents = short.copy()
    for name in sorted(whole, key=lambda name: len(whole[name])):
        room -= len(whole[name].encode()) - len(short[name].encode())
        if room < 0:
            break
        contents[name] = whole[name]
    for task in tasks:
        page.folded(
            contents[task.name],
            title=task.name,
            note=f"{task.status}, {duration(task.seconds)}",
            anchor=f"task-{task.name}",
        )


def _without_its_page(task: TaskRecord) -> str:
    page = Page(task.name, f"The stage {task.stage}.")
    if "report" in task.outputs:
        page.paragraph(f"Too large to be included here; see {task.outputs['report']}.")
    return page.body()


def _parameters(task: TaskRecord) -> str:
    page = Page("Parameters", "")
    page.table(["parameter", "value"], sorted(task.parameters.items()))
    return page.body()


def main(argv: Sequence[str] | None = None) -> None:
    """Rewrite the report of a run."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.report", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the run's folder, such as runs/demo")
    folder = parser.parse_args(argv).folder.absolute()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    os.environ.setdefault("WEBLY_STORE", str(folder / "store"))  # as pipelines.local does
    with boundary():
        logger.info("%s", write(folder))


if __name__ == "__main__":
    main()
