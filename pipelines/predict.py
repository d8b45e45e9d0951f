"""Classify pictures with the best model of a run, with one model, or with several together.

    python -m pipelines.predict runs/demo --images photo.jpg holiday/
    python -m pipelines.predict runs/demo/models/* --images holiday --output holiday.csv

Several models average their probabilities, each at its own image size; `--views flip` averages over
pictures and their mirror images, too, for twice the models' work, `--views multi` over three crops
and their mirror images, for six times. Without `--output`, the most probable classes of each
picture are printed; the table has a row for each picture, and what is wrong with those that cannot
be read.
"""

import argparse
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from components.shared.stage.boundary import boundary
from components.shared.stage.environment import parsed
from components.shared.stage.interface import Range
from components.shared.stage.parallel import cores
from components.shared.stage.progress import progress
from components.shared.training.views import Views

if TYPE_CHECKING:
    from pipelines.prediction.tables import Row

logger = logging.getLogger("pipelines.predict")  # also where this is `__main__`
_NAMED = 10  # of the pictures that cannot be read
_TOP, _WORKERS = Range(at_least=1, at_most=100_000), Range(at_least=0, at_most=1_024)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; exits with 2 and one line if the user can fix the error.

    It exits with 1 if no picture at all could be read.
    """
    given = arguments(argv)
    logging.basicConfig(format="%(message)s")
    for package in ("components", "pipelines"):
        logging.getLogger(package).setLevel(logging.INFO)
    with boundary(stopped="stopped; nothing was written" if given.output else "stopped"):
        top = int(parsed("--top", given.top, int, _TOP))
        workers = int(parsed("--workers", given.workers, int, _WORKERS))
        read = predict(given.models, given.images, given.output, top, workers, given.views)
    sys.exit(0 if read else 1)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command's arguments; imports nothing slow."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "models", nargs="+", type=Path, help="a run's folder, a model's, or several models'"
    )
    parser.add_argument(
        "--images", nargs="+", type=Path, required=True, help="pictures, or folders of them"
    )
    parser.add_argument(
        "--output", type=Path, help="a table to write instead: .csv, .jsonl or .parquet"
    )
    parser.add_argument(
        "--top", default=5, metavar="NUMBER", help=f"classes of each picture, {_TOP} (default: 5)"
    )
    parser.add_argument(
        "--views",
        choices=get_args(Views),
        default="one",
        help="what models see of each picture: its middle; also its mirror image; or three crops, "
        "each mirrored (default: one)",
    )
    parser.add_argument(
        "--workers",
        default=cores(),
        metavar="NUMBER",
        help=f"processes that decode pictures, {_WORKERS} (default: one per core)",
    )
    return parser.parse_args(argv)


def predict(
    models: Sequence[Path],
    images: Sequence[Path],
    output: Path | None,
    top: int,
    workers: int,
    views: Views,
) -> int:
    """Classify pictures, print or write the result, and return how many could be read.

    Raises:
        UserError: A path is wrong.
    """
    from pipelines.prediction import tables
    from pipelines.run.models import folder_of

    if output:
        tables.check(output)
    folders = [folder_of(path) for path in models]
    from components.shared.training.models import read_record  # imports torch, as do these
    from pipelines.prediction import classifying, pictures

    files, start, errors = pictures.find(images), time.monotonic(), list[tuple[str, str]]()
    batches = classifying.classified(folders, files, top, workers, views)
    shown: Iterable[list[Row]] = batches
    if output or not sys.stdout.isatty():
        shown = progress(batches, total=len(files), unit="image", what="predicting", units=len)
    width = min(top, len(read_record(folders[0]).names))
    with tables.written(output, width) if output else nullcontext(_print) as write:
        for rows in shown:
            write(rows)
            errors += [(row.path, row.error) for row in rows if row.error]
    for path, error in errors[:_NAMED]:
        logger.warning("%s: not readable: %s", path, error)
    if len(errors) > _NAMED:
        logger.warning("… and %s more", f"{len(errors) - _NAMED:,}")
    if output:
        seconds = time.monotonic() - start
        told = f"; {len(errors):,} could not be read: see the column error" if errors else ""
        rate = f"{len(files):,} images in {seconds:.1f} s, {len(files) / seconds:,.0f}/s"
        logger.info("%s: %s%s", output, rate, told)
    return len(files) - len(errors)


def _print(rows: Sequence["Row"]) -> None:
    for line in _lines(rows):
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _lines(rows: Sequence["Row"]) -> Iterator[str]:
    for path, guesses, error in rows:
        yield path
        for name, title, probability in guesses:
            yield f"  {probability:6.1%}  {title}{f' ({name})' if name != title else ''}"
        if error:
            yield f"  not readable: {error}"


if __name__ == "__main__":
    main()
