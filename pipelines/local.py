"""Run the pipeline on this machine, without a cluster.

    python -m pipelines.local --recipe sample dataset=../photographs finetune_epochs=3
    python -m pipelines.local --recipe sample dataset=… --set 'seeds=[0, 1]' --dry-run
    python -m pipelines.images build && python -m pipelines.local --docker --recipe sample …

The recipe is compiled from the working tree, and the compiled file is run: what works here is what
goes to Kubeflow. Stages run as processes, or with `--docker` in their containers. Tasks whose
inputs, parameters and code have not changed since an earlier run in the same folder are not rerun.
"""

import argparse
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from components.shared.stage.boundary import boundary
from components.shared.stage.environment import integer, parsed
from components.shared.stage.interface import Range
from pipelines.recipe_arguments import add_recipe
from pipelines.run import terminal

logger = logging.getLogger("pipelines.local")  # also where this is `__main__`
_JOBS = Range(at_least=1, at_most=256)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; exits with 1 if a task failed, with 2 if the user can fix the error."""
    given = _parser().parse_intermixed_args(argv)
    terminal.log_here(sys.stderr)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # of libraries, to their users
    resumes = "stopped; the same command resumes the run"
    with boundary(stopped=resumes), tempfile.TemporaryDirectory() as scratch:
        sys.exit(_run(given, Path(scratch)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.local",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("overrides", nargs="*", metavar="name=value", help="pipeline parameters of this run")
    add_recipe(parser, default="demo")
    add("--run", type=Path, help="the run's folder (default: runs/RECIPE)")
    add(
        "--jobs",
        metavar="NUMBER",
        help=f"tasks to run in parallel, {_JOBS} (default: the variable JOBS, else 2)",
    )
    add("--dry-run", action="store_true", help="say what would run, and why; run nothing")
    add(
        "--only",
        default="",
        metavar="NAME",
        help="a stage, step or task to run alone, with what it reads from the cache",
    )
    add("--docker", action="store_true", help="run each stage in its container, not on the host")
    return parser


def _run(given: argparse.Namespace, scratch: Path) -> int:
    logger.info("recipe      %s", " ".join([given.recipe, *given.set, *given.overrides]))
    # KFP's SDK takes seconds: nothing above imports it.
    from pipelines.compile import compile_recipe
    from pipelines.engine import execution
    from pipelines.engine.folder import environment, locked
    from pipelines.pretraining import pretraining
    from pipelines.recipe import load

    jobs = _jobs(given.jobs)
    recipe = load(given.recipe, given.set)
    if any(task.values.get("num_nodes", "1") != "1" for task in pretraining(recipe)):
        logger.info("ignoring num_nodes: this machine is one node")
    compiled = scratch / "pipeline.yaml"
    compile_recipe(replace(recipe, one_node=True), compiled)
    pipeline = execution.read(compiled, given.overrides, recipe.drawn)
    folder = (given.run or Path("runs") / Path(given.recipe).stem).absolute()
    os.environ.update(environment(folder, jobs))
    if given.dry_run:
        planned = execution.plan(
            pipeline,
            folder,
            jobs,
            drawn=recipe.drawn,
            docker=given.docker,
            only=given.only,
        )
        for line in planned:
            logger.info("%s", line)
        return 0
    with locked(folder):
        shutil.copyfile(compiled, folder / compiled.name)
        before = _recorded(folder)
        try:
            record = execution.execute(
                folder / compiled.name,
                folder,
                given.overrides,
                jobs,
                given.recipe,
                drawn=recipe.drawn,
                docker=given.docker,
                only=given.only,
            )
        except (KeyboardInterrupt, SystemExit):
            if _recorded(folder) != before:
                _report_unfinished(folder)
            raise
        from pipelines import report  # imports matplotlib
        from pipelines.run import ending

        page = report.write(folder)
        for what, text in ending.lines(record, folder, page):
            logger.info("%-10s  %s", what, text)
    return int(any(task.status in ("failed", "skipped") for task in record.tasks))


def _jobs(given: str | None) -> int:
    if given is not None:
        return int(parsed("--jobs", given, int, _JOBS))
    return integer("JOBS", min(2, os.cpu_count() or 1), _JOBS)


def _recorded(folder: Path) -> tuple[int, int] | None:
    """Return what tells the folder's record from any other, whatever the clock says."""
    from pipelines.run.record import FILE

    path = folder / FILE
    return (path.stat().st_ino, path.stat().st_mtime_ns) if path.is_file() else None


def _report_unfinished(folder: Path) -> None:
    """Report a run that was stopped as far as it got."""
    from pipelines import report

    logger.info("report      %s", report.write(folder))


if __name__ == "__main__":
    main()
