"""Run the pipeline on this machine, without a cluster.

    python -m pipelines.local --recipe sample dataset=../photographs finetune_epochs=3
    python -m pipelines.images build && python -m pipelines.local --docker --recipe sample …

The recipe is compiled from the working tree, and the compiled file is run: what works here is what
goes to Kubeflow. Stages run as processes, or with `--docker` in their containers. Tasks whose
inputs, parameters and code have not changed since an earlier run in the same folder are not rerun.
"""

import argparse
import fcntl
import itertools
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from components.shared.stage import machine
from components.shared.stage.errors import StorageError, UserError
from pipelines import task_checks, trial
from pipelines.compile import compile_recipe
from pipelines.demo import webvision
from pipelines.demo.settings import DataSettings
from pipelines.engine.containers import Containers
from pipelines.engine.engine import Engine, Host, Machine
from pipelines.pretraining import pretraining
from pipelines.recipe import load
from pipelines.run import graph, table
from pipelines.run.record import RunRecord, TaskRecord
from pipelines.steps import STEPS

logger = logging.getLogger(__name__)
_TRAINING = frozenset(
    step.component.module
    for step in STEPS.values()
    if step.component is not None and step.component.target == "train"
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; exits with 1 if a task failed, with 2 if the user can fix the error."""
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.local",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="name=value", help="pipeline parameters of this run"
    )
    parser.add_argument("--recipe", default="demo", help="a recipe's name or path")
    parser.add_argument("--run", type=Path, help="the run's folder (default: runs/RECIPE)")
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.environ.get("JOBS", str(min(2, cores))),
        help="tasks to run in parallel (default: the variable JOBS, else 2)",
    )
    parser.add_argument(
        "--docker", action="store_true", help="run each stage in its container, not on the host"
    )
    given = parser.parse_intermixed_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    folder = (given.run or Path("runs") / Path(given.recipe).stem).absolute()
    try:
        with locked(folder):
            os.environ.update(_environment(folder, given.jobs))
            compiled = folder / "pipeline.yaml"
            recipe = load(given.recipe)
            if any(task.values.get("num_nodes", "1") != "1" for task in pretraining(recipe)):
                logger.info("ignoring num_nodes: this machine is one node")
            compile_recipe(replace(recipe, one_node=True), compiled)
            record = execute(
                compiled,
                folder,
                given.overrides,
                given.jobs,
                given.recipe,
                drawn=recipe.drawn,
                docker=given.docker,
            )
            for line in table.results(record):
                logger.info("%s", line)
            from pipelines import report  # imports matplotlib: late, to keep --help fast

            page = report.write(folder)
    except UserError as error:
        logger.error("%s", error)
        sys.exit(2)
    except StorageError as error:
        logger.error("%s", error)
        sys.exit(1)
    except KeyboardInterrupt:
        logger.error("stopped; the same command resumes the run")
        sys.exit(130)
    logger.info("report     %s", page)
    logger.info("artifacts  %s", folder / "artifacts")
    logger.info("logs       %s", folder / "logs")
    sys.exit(any(task.status in ("failed", "skipped") for task in record.tasks))


def execute(
    compiled: Path,
    folder: Path,
    overrides: Sequence[str],
    jobs: int,
    recipe: str = "",
    *,
    drawn: Mapping[str, DataSettings] | None = None,
    docker: bool = False,
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

    Raises:
        UserError: An override is invalid, the pipeline is not static, there are no jobs, a data set
            cannot be understood, or there is no Docker engine that has the images.
    """
    if jobs < 1:
        raise UserError(f"jobs={jobs}: must be at least 1")
    pipeline = graph.read(compiled, overrides)
    task_checks.check(pipeline.tasks)
    read = {task.parameters.get("dataset") for task in pipeline.tasks}
    drawn = {data: settings for data, settings in (drawn or {}).items() if data in read}
    for data, settings in drawn.items():
        webvision.write(Path(data), settings)
    if drawn:  # redrawn data are read again
        version = "-".join(map(webvision.version, drawn.values()))
        pipeline = graph.read(compiled, [f"dataset_version={version}", *overrides])
    for source in task_checks.folders(pipeline.tasks):
        if not Path(source.path).is_dir():
            others = ", ".join(filter(None, ["s3://bucket/prefix", source.named]))
            raise UserError(f"{source}: no such folder; {others} would do as well")
    task_checks.check_weights(pipeline.tasks)
    images: dict[str, int] = {}
    for line in itertools.chain(
        _surveys(pipeline, images), trial.forecast(pipeline, images, folder / "trial.json")
    ):
        logger.info("%s", line)
    record = RunRecord(
        pipeline=pipeline.name,
        recipe=recipe,
        parameters=dict(pipeline.form),
        started=time.time(),
        revision=machine.revision(),
        tasks=[TaskRecord.of(task) for task in pipeline.tasks],
    )
    with closing(_machine(pipeline, folder, docker)) as runner:
        Engine(pipeline, record, folder, runner).run(jobs, table.LiveTable(sys.stderr))
    record.ended = time.time()
    record.write(folder)
    return record


def _surveys(pipeline: graph.Graph, images: dict[str, int]) -> Iterator[str]:
    """Yield what is understood of each data set, before the long work starts.

    Args:
        pipeline: The pipeline.
        images: Becomes the number of training images of each task that reads one; 0 if not known.
    """
    from components.ingest import survey  # imports pyarrow: late, to keep --help fast

    for task in pipeline.tasks:
        if task.step == "ingest":
            found = survey.survey_if_small(task.parameters["dataset"], task.parameters)
            images[task.name] = found.images
            yield from found.lines


def _machine(pipeline: graph.Graph, folder: Path, docker: bool) -> Machine:
    if docker:
        return Containers(os.environ, folder, {task.image for task in pipeline.tasks})
    return Host(os.environ, _TRAINING)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a run's folder for this process.

    Raises:
        UserError: Another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"{folder}: in use by process {file.read()}; wait for it, or choose "
                "another folder with --run"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _environment(folder: Path, jobs: int) -> Mapping[str, str]:
    """Return the environment of the runner and its stages; the user's takes precedence."""
    threads = max(1, (os.cpu_count() or 1) // max(1, jobs))
    return {
        "WEBLY_STORE": str(folder / "store"),
        "WEBLY_CHECKPOINTS": str(folder / "checkpoints"),
        "WEBLY_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": str(threads),
        **os.environ,
    }


if __name__ == "__main__":
    main()
