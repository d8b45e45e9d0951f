"""Predictions as a table, written row by row: CSV, JSON lines or Parquet.

All have the same columns: `path`, then `class_1`, `title_1`, `probability_1` for the most probable
class, likewise for the next ones, and `error` for pictures that could not be read.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from components.shared.stage.errors import UserError
from components.shared.storage import filesystem

_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
_DIGITS = 6  # of a probability
_ROWS = 10_000  # of a group in Parquet
Cells = dict[str, str | float | None]


class Guess(NamedTuple):
    """A class that a picture may show."""

    name: str
    title: str
    probability: float


class Row(NamedTuple):
    """A picture's path and its most probable classes, or why it could not be read."""

    path: str
    guesses: Sequence[Guess]
    error: str = ""


def check(path: Path) -> None:
    """Refuse a file whose ending says no format.

    Raises:
        UserError: It is none of `.csv`, `.jsonl` and `.parquet`, or a folder.
    """
    if path.suffix not in _WRITERS:
        raise UserError(f"--output {path}: use a name that ends with {' or '.join(_WRITERS)}")
    if path.is_dir():
        raise UserError(f"--output {path}: this is a folder")


@contextmanager
def written(path: Path, top: int) -> Iterator[Callable[[Sequence[Row]], None]]:
    """Yield a function that writes rows; the file appears complete if the block succeeds.

    Args:
        path: The file; its ending says in which format.
        top: How many classes a row has.
    """
    with filesystem.complete(path) as temporary, _WRITERS[path.suffix](temporary, top) as write:
        yield lambda rows: write([_cells(row, top) for row in rows])


def _columns(top: int) -> list[str]:
    numbered = [
        f"{what}_{place}"
        for place in range(1, top + 1)
        for what in ("class", "title", "probability")
    ]
    return ["path", *numbered, "error"]


def _cells(row: Row, top: int) -> Cells:
    values: list[str | float | None] = [row.path]
    for name, title, probability in row.guesses:
        values += [name, title, round(probability, _DIGITS)]
    values += [None] * (3 * top + 1 - len(values))
    return dict(zip(_columns(top), [*values, row.error or None], strict=True))


Write = Callable[[Sequence[Cells]], None]


@contextmanager
def _csv(path: Path, top: int) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _columns(top), lineterminator="\n")
        writer.writeheader()
        yield lambda rows: writer.writerows(map(_harmless, rows))


def _harmless(cells: Cells) -> Cells:
    """Return cells of which spreadsheets take none for a formula; paths stay valid."""

    def text(column: str, value: Any) -> Any:
        if isinstance(value, str) and value.startswith(_FORMULAS):
            return f"./{value}" if column == "path" else f"'{value}"
        return f"{value:.{_DIGITS}f}" if isinstance(value, float) else value

    return {column: text(column, value) for column, value in cells.items()}


@contextmanager
def _jsonl(path: Path, top: int) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        yield lambda rows: _write_lines(file, rows)


def _write_lines(file: IO[str], rows: Sequence[Cells]) -> None:
    file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


@contextmanager
def _parquet(path: Path, top: int) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"probability": pa.float64()}
    schema = pa.schema(
        [(name, kinds.get(name.partition("_")[0], pa.string())) for name in _columns(top)]
    )
    waiting: list[Cells] = []

    def write(rows: Sequence[Cells]) -> None:
        waiting.extend(rows)
        if len(waiting) >= _ROWS:
            flush()

    def flush() -> None:
        writer.write_table(pa.Table.from_pylist(waiting, schema))
        waiting.clear()

    with pq.ParquetWriter(path, schema) as writer:
        yield write
        flush()


_WRITERS = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
