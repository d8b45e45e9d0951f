"""Runs a compiled pipeline in a run's folder, after all that can be checked before."""

import itertools
import logging
import os
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from components.shared.stage import machine
from components.shared.stage.errors import UserError
from pipelines import task_checks, trial
from pipelines.demo import webvision
from pipelines.demo.settings import DataSettings
from pipelines.engine import planning
from pipelines.engine.cache import Cache
from pipelines.engine.containers import Containers
from pipelines.engine.engine import Engine, Host, Machine
from pipelines.run import graph, models, table
from pipelines.run.record import RunRecord, TaskRecord
from pipelines.run.remaining import Earlier, Remaining
from pipelines.steps import STEPS

logger = logging.getLogger(__name__)
_TRAINING = frozenset(
    step.component.module
    for step in STEPS.values()
    if step.component is not None and step.component.target == "train"
)
Drawn = Mapping[str, DataSettings]


def read(compiled: Path, overrides: Sequence[str], drawn: Drawn | None = None) -> graph.Graph:
    """Read a compiled pipeline, and refuse what its stages would refuse of the values.

    Args:
        compiled: The pipeline's file.
        overrides: Pipeline parameters, as `name=value`.
        drawn: Data sets by folder: if they are drawn anew, they are read again.

    Raises:
        UserError: An override or a value is invalid, or the pipeline is not static.
    """
    pipeline = graph.read(compiled, overrides)
    task_checks.check(pipeline.tasks)
    if drawn := _read_by(pipeline, drawn or {}):
        version = "-".join(map(webvision.version, drawn.values()))
        return graph.read(compiled, [f"dataset_version={version}", *overrides])
    return pipeline


def plan(
    pipeline: graph.Graph,
    folder: Path,
    jobs: int,
    *,
    drawn: Drawn | None = None,
    docker: bool = False,
    only: str = "",
) -> Iterator[str]:
    """Yield what a run would do, and why; the arguments are those of `execute`.

    Raises:
        UserError: Something that it needs is missing.
    """
    if not _read_by(pipeline, drawn or {}):  # else the data may not be there yet
        yield from task_checks.check_here(pipeline.tasks, in_containers=docker).lines
    cache, chosen = Cache(folder / "artifacts"), _chosen(pipeline, only)
    verdicts = planning.planned(pipeline, cache)
    planning.check_cached(pipeline, verdicts, chosen)
    verdicts = [each for each in verdicts if each.task.name in chosen]
    yield from planning.lines(verdicts)
    record = _record(pipeline)
    runs = {each.task.name for each in verdicts if each.reasons}
    left = Remaining(_earlier(pipeline, cache), jobs)(record, runs)
    yield f"{len(runs)} of {len(verdicts)} tasks would run" + f"; time: {left}" * bool(runs)


def execute(
    compiled: Path,
    folder: Path,
    overrides: Sequence[str],
    jobs: int,
    recipe: str = "",
    *,
    drawn: Drawn | None = None,
    docker: bool = False,
    only: str = "",
) -> RunRecord:
    """Run a compiled pipeline in a folder that this process has locked.

    Args:
        compiled: The pipeline's file.
        folder: Where artifacts, logs, images, checkpoints and the record go; an absolute path.
        overrides: Pipeline parameters, as `name=value`.
        jobs: How many tasks to run in parallel.
        recipe: The recipe's name in the record.
        drawn: Data sets by folder: those that the pipeline reads are drawn before it runs.
        docker: Whether stages run in the containers that the pipeline names.
        only: A stage, step or task to run alone, with its inputs from the cache; or empty.

    Raises:
        UserError: An override is invalid, the pipeline is not static, there are no jobs, a data set
            cannot be understood, something that a stage needs is missing, or there is no Docker
            engine that has the images.
    """
    if jobs < 1:
        raise UserError(f"jobs={jobs}: must be at least 1")
    pipeline = read(compiled, overrides, drawn)
    cache, chosen = Cache(folder / "artifacts"), _chosen(pipeline, only)
    for data, settings in _read_by(pipeline, drawn or {}).items():
        webvision.write(Path(data), settings)
    here = task_checks.check_here(pipeline.tasks, in_containers=docker)
    for line in itertools.chain(
        here.lines, trial.forecast(pipeline, here.images, folder / "trial.json")
    ):
        logger.info("%s", line)
    if only:
        planning.check_cached(pipeline, planning.planned(pipeline, cache), chosen)
    record = _record(pipeline, recipe)
    left = Remaining(_earlier(pipeline, cache), jobs)
    with closing(_machine(pipeline, folder, docker)) as runner:
        show = table.LiveTable(sys.stderr, lambda record: left(record, chosen), chosen)
        try:
            Engine(pipeline, record, folder, runner, chosen).run(jobs, show)
        finally:
            models.link(record, folder)
    record.ended = time.time()
    record.write(folder)
    return record


def _record(pipeline: graph.Graph, recipe: str = "") -> RunRecord:
    """Return the record of a run that starts now."""
    return RunRecord(
        pipeline=pipeline.name,
        recipe=recipe,
        parameters=dict(pipeline.form),
        started=time.time(),
        revision=machine.revision(),
        tasks=[TaskRecord.of(task) for task in pipeline.tasks],
    )


def _read_by(pipeline: graph.Graph, drawn: Drawn) -> Drawn:
    """Return those of the data sets that a pipeline reads."""
    read = {task.parameters.get("dataset") for task in pipeline.tasks}
    return {data: settings for data, settings in drawn.items() if data in read}


def _chosen(pipeline: graph.Graph, only: str) -> Collection[str]:
    """Return the names of the tasks to run."""
    if only:
        return graph.named(pipeline, only, "--only")
    return {task.name for task in pipeline.tasks}


def _earlier(pipeline: graph.Graph, cache: Cache) -> Iterator[Earlier]:
    """Yield what the pipeline's tasks took in earlier runs."""
    for task in pipeline.tasks:
        entry = cache.latest(task)
        if entry and entry.made_from:
            yield Earlier(task.name, task.stage, entry.made_from["parameters"], entry.seconds)


def _machine(pipeline: graph.Graph, folder: Path, docker: bool) -> Machine:
    if docker:
        return Containers(os.environ, folder, {task.image for task in pipeline.tasks})
    return Host(os.environ, _TRAINING, folder / "logs")
