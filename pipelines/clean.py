"""Free what an earlier run has left in a run's folder, and no current recipe needs.

    python -m pipelines.clean runs/sample             # say how much
    python -m pipelines.clean runs/sample --yes       # and free it
    python -m pipelines.clean runs/sample --recipe sample --recipe mine.yaml dataset=…

What is needed is what the folder's last run has read and made; or with `--recipe`, as often as
there are recipes that use the folder, what these would take from the cache. Give the same values as
to `pipelines.local`. What `best` and other links in the folder lead to is kept.
"""

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.stage.boundary import boundary
from components.shared.stage.errors import UserError
from pipelines.recipe_arguments import add_recipe
from pipelines.run import terminal

if TYPE_CHECKING:
    from pipelines.engine.cleaning import Needed

logger = logging.getLogger("pipelines.clean")  # also where this is `__main__`


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; exits with 2 if the user can fix the error."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.clean",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument(
        "overrides", nargs="*", metavar="name=value", help="as of the recipes' runs"
    )
    add_recipe(parser, action="append", default=[])
    parser.add_argument("--yes", action="store_true", help="free it; else only say how much it is")
    given = parser.parse_intermixed_args(argv)
    terminal.log_here(sys.stderr)
    with boundary():
        _clean(given, given.run.absolute())


def _clean(given: argparse.Namespace, folder: Path) -> None:
    from pipelines.engine import cleaning
    from pipelines.engine.folder import locked
    from pipelines.run import record

    record.read(folder)  # before it is locked: else any folder would be made one
    if (given.set or given.overrides) and not given.recipe:
        raise UserError("--set and name=value belong to a --recipe: give one")
    os.environ["WEBLY_STORE"] = str(folder / "store")
    with locked(folder):
        needed = list(_of_recipes(given, folder) if given.recipe else _of_record(folder))
        unneeded = cleaning.unneeded(folder, needed)
        freed = 0
        for kind, paths in unneeded.items():
            before, less = cleaning.size(folder / kind), sum(map(cleaning.size, paths))
            logger.info("%-11s %12s → %s", kind, _megabytes(before), _megabytes(before - less))
            freed += less
            if given.yes:
                cleaning.remove(paths)
    said = "freed" if given.yes else "can be freed: with --yes it is"
    logger.info("%-11s %12s %s", "together", _megabytes(freed), said)


def _of_record(folder: Path) -> Iterator["Needed"]:
    """Yield what the last run of a folder needs."""
    from pipelines.engine.cleaning import Needed
    from pipelines.run import record

    for task in record.read(folder).tasks:
        yield Needed(task.name, task.stage, task.key, task.status in ("ran", "cached"))


def _of_recipes(given: argparse.Namespace, folder: Path) -> Iterator["Needed"]:
    """Yield what recipes need, given what the cache holds."""
    from dataclasses import replace

    from pipelines.compile import compile_recipe
    from pipelines.engine import execution, planning
    from pipelines.engine.cache import Cache
    from pipelines.engine.cleaning import Needed
    from pipelines.recipe import load

    for name in given.recipe:
        recipe = load(name, given.set)
        with tempfile.TemporaryDirectory() as scratch:
            compiled = Path(scratch) / "pipeline.yaml"
            compile_recipe(replace(recipe, one_node=True), compiled)
            pipeline = execution.read(compiled, given.overrides, recipe.drawn)
        for verdict in planning.planned(pipeline, Cache(folder / "artifacts")):
            task = verdict.task
            yield Needed(task.name, task.stage, verdict.key, not verdict.reasons)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


if __name__ == "__main__":
    main()
