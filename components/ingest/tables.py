"""Tables as people have them: CSV, TSV, JSON, JSON lines or Parquet, read row by row.

What is wrong in a line costs that line. Python's readers are used where a file is text: they take
a field of any length, and say in which line they fail.
"""

import codecs
import csv
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest.dataset import Reject
from components.shared.stage.errors import UserError

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet")
_DELIMITERS = (",", ";", "\t", "|")
_MOST_LINES = 1_000  # of a field: a quote that is open for longer was never closed
_SAMPLE = 1_000  # rows whose keys are the columns of JSON lines
_BATCH = 32_768
MOST_REJECTS = 1_000
_FIELDS = {"title", "description", "caption", "text", "name"}  # of a record, not images' names
# What Arrow raises for a damaged Parquet file.
_DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, OverflowError)
_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Row(NamedTuple):
    """A row: the number of its line, and a value for each column."""

    line: int
    values: Sequence[Any]


class BadLine(NamedTuple):
    """A line that is no row, and why."""

    line: int
    text: str
    detail: str


class LineRejects:
    """Rejects of a table's lines: of each kind the first are listed, the others are counted.

    Attributes:
        counts: How many there are of each kind.
    """

    def __init__(self, table: str, rejects: list[Reject]) -> None:
        """Begin with none; `rejects` is what they are added to."""
        self._table, self._rejects, self.counts = table, rejects, Counter[str]()

    def add(self, kind: str, line: int, what: object, detail: str) -> None:
        """Add a line, known by what it says."""
        self.counts[kind] += 1
        if self.counts[kind] <= MOST_REJECTS:
            self._rejects.append(
                Reject("", kind, self._table, str(what)[:500], f"line {line}: {detail}")
            )

    def end(self) -> None:
        """Add how many more there were of each kind."""
        for kind, count in self.counts.items():
            if count > MOST_REJECTS:
                more = f"{count - MOST_REJECTS:,} more such lines"
                self._rejects.append(Reject("", kind, self._table, "…", more))


class Table:
    """A table.

    Attributes:
        name: Its path below the data set's folder.
        columns: Their names, without blanks around them.
        delimiter: What separates the fields of a text.
    """

    def __init__(self, path: Path, name: str) -> None:
        """Open a table; a text in UTF-16 is written anew next to it.

        Raises:
            UserError: It cannot be read as what its name says, or is empty.
        """
        self.name, self._path, self.delimiter = name, path, ","
        self._suffix = path.suffix.casefold()
        if self._suffix == ".parquet":
            self.columns = self._parquet_columns()
            return
        self._path = _utf8(path)
        if self._suffix in (".jsonl", ".ndjson", ".json"):
            sample = islice(self._objects(), _SAMPLE)
            keys = (key for row in sample if not isinstance(row, BadLine) for key in row[1])
            self.columns = list(dict.fromkeys(keys))
            return
        self.delimiter, self._first = _delimiter(self._path, self._suffix)
        header = next(self._records(), None)
        self.columns = []
        if isinstance(header, Row):
            self.columns = [str(value).strip() for value in header.values]
        if not any(self.columns):
            raise UserError(f"{name}: empty, or its first line is")

    def rows(self, columns: Sequence[str]) -> Iterator[Row | BadLine]:
        """Yield the rows, with the values of some columns; an absent value is None.

        Raises:
            UserError: The file ends too early or is damaged, in Parquet.
        """
        if self._suffix == ".parquet":
            yield from self._parquet(columns)
            return
        if self._suffix in (".jsonl", ".ndjson", ".json"):
            for found in self._objects():
                if isinstance(found, BadLine):
                    yield found
                else:
                    yield Row(found[0], [found[1].get(column) for column in columns])
            return
        places = [self.columns.index(column) for column in columns]
        most = len(self.columns)
        for record in islice(self._records(), 1, None):
            if isinstance(record, BadLine):
                yield record
            elif len(record.values) > most and any(record.values[most:]):
                detail = f"{len(record.values)} fields, but the header has {most}"
                yield BadLine(record.line, self.delimiter.join(record.values), detail)
            elif any(record.values):
                values = record.values
                yield Row(record.line, [values[i] if i < len(values) else None for i in places])

    def batches(
        self, columns: Sequence[str], rejects: LineRejects, kind: str
    ) -> Iterator[list[Row]]:
        """Yield the rows as `rows` does, many at a time; lines that are none become rejects."""
        rows = self.rows(columns)
        while batch := list(islice(rows, _BATCH)):
            for each in batch:
                if isinstance(each, BadLine):
                    rejects.add(kind, each.line, each.text, each.detail)
            yield [each for each in batch if isinstance(each, Row)]

    def _records(self) -> Iterator[Row | BadLine]:
        """Yield the records of a text with delimiters, the header as the first of them."""
        csv.field_size_limit(sys.maxsize)
        waiting: list[str] = []
        with self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline=_newline(
            self._path
        )) as file:  # fmt: skip
            lines = _Lines(islice(file, self._first - 1, None), self._first - 1)
            while not lines.ended:
                reader = csv.reader(lines, delimiter=self.delimiter, strict=True,
                                    skipinitialspace=True)  # fmt: skip
                try:
                    for record in reader:
                        yield Row(lines.begin(), record)
                except csv.Error as error:
                    line, waiting = lines.back_to_second()
                    detail = str(error)
                    if "end of data" in detail:
                        detail = "a quote is opened there and never closed"
                    yield BadLine(line, waiting[0].rstrip("\r\n"), detail)

    def _objects(self) -> Iterator[tuple[int, dict[str, Any]] | BadLine]:
        """Yield the objects of JSON or JSON lines, with the numbers of their lines."""
        if self._suffix == ".json":
            yield from enumerate(_objects_of_json(self._path, self.name), start=1)
            return
        with self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
            for number, line in enumerate(map(_decoded, file), start=1):
                if not line.strip():
                    continue
                try:
                    found = json.loads(line)
                except (ValueError, RecursionError) as error:
                    detail = getattr(error, "msg", "") or "too deep"
                    yield BadLine(number, line.rstrip("\n"), f"no JSON: {detail}")
                    continue
                if isinstance(found, dict):
                    yield number, found
                else:
                    yield BadLine(number, line.rstrip("\n"), "no object")

    def _parquet_columns(self) -> list[str]:
        try:
            fields = pq.read_schema(self._path)
            return [each.name for each in fields if not _holds_bytes(each.type)]
        except _DAMAGE as error:
            raise UserError(f"{self.name}: cannot be read as Parquet: {error!s:.200}") from None

    def _parquet(self, columns: Sequence[str]) -> Iterator[Row]:
        line = 0
        try:
            with pq.ParquetFile(self._path) as file:
                for batch in file.iter_batches(_BATCH, columns=list(columns)):
                    found = {name: _values(batch.column(name)) for name in set(columns)}
                    for values in zip(*(found[name] for name in columns), strict=True):
                        line += 1
                        yield Row(line, values)
        except _DAMAGE as error:
            raise UserError(f"{self.name}: damaged after row {line:,}: {error!s:.200}") from None


class _Lines:
    """The lines of a file for a reader of records, from which it can be called back."""

    def __init__(self, file: Iterator[str], number: int) -> None:
        self._file, self._again = file, list[str]()
        self._number, self._taken = number, list[str]()
        self.ended = False

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if len(self._taken) >= _MOST_LINES:  # the reader complains of the open quote
            raise StopIteration
        line = self._again.pop() if self._again else next(self._file, "")
        if not line:
            self.ended = not self._taken
            raise StopIteration
        self._taken.append(line := _decoded(line))
        return line

    def begin(self) -> int:
        """Return the number of the line where the record began that has just been read."""
        first = self._number + 1
        self._number += len(self._taken)
        self._taken.clear()
        return first

    def back_to_second(self) -> tuple[int, list[str]]:
        """Give all lines but the first of the record again; return its number, and the lines."""
        taken = list(self._taken)
        self._again += taken[:0:-1]
        del self._taken[1:]
        return self.begin(), taken


def decoded(content: bytes) -> str:
    """Return a text in UTF-8, UTF-16 or Windows' Latin-1, whichever it is."""
    if encoding := _utf16(content):
        return content.decode(encoding, errors="replace").removeprefix("\ufeff")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _utf16(head: bytes) -> str:
    """Return which UTF-16 a text is in by its beginning; empty if it is another encoding."""
    if head[:2] in _BYTE_ORDER_MARKS:
        return "utf-16"
    if head[:200].count(0) < len(head[:200]) / 4:
        return ""
    return "utf-16-be" if head[:1] == b"\0" else "utf-16-le"


def _decoded(line: str) -> str:
    """Return a line, read as Windows' Latin-1 if it was not UTF-8."""
    if line.isascii():
        return line
    try:
        line.encode()
    except UnicodeEncodeError:
        return line.encode(errors="surrogateescape").decode("cp1252", errors="replace")
    return line


def _utf8(path: Path) -> Path:
    """Return a text file in UTF-8: the same, or a copy if it is in UTF-16."""
    with path.open("rb") as file:
        head = file.read(1_000)
    encoding = _utf16(head)
    if not encoding:
        return path
    copy = path.with_name(f"{path.stem}.utf-8{path.suffix}")
    with (
        path.open(encoding=encoding, errors="replace", newline="") as old,
        copy.open("w", encoding="utf-8", newline="") as new,
    ):
        shutil.copyfileobj(old, new)
    return copy


def _newline(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(2**16)
    return "\r" if b"\r" in head and b"\n" not in head else "\n"


def _delimiter(path: Path, suffix: str) -> tuple[str, int]:
    """Return the delimiter of which the header has most, and the number of the header's line.

    Or what Excel writes above the header: `sep=;`.
    """
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = re.sub(r'"[^"]*"', "", file.readline(2**20))
    if said := re.fullmatch(r"sep=(.)\s*", header, re.IGNORECASE):
        return said[1], 2
    return ("\t" if suffix == ".tsv" else max(_DELIMITERS, key=header.count)), 1


def _objects_of_json(path: Path, name: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(path.read_bytes().decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: no JSON: {error!s:.200}") from None
    if isinstance(found, dict):
        found = _of_coco(found) or _of_mapping(found)
    if not isinstance(found, list) or not found:
        raise UserError(f"{name}: no list of objects; give a CSV or JSON lines")
    return [row for row in found if isinstance(row, dict)]


def _holds_bytes(kind: pa.DataType) -> bool:
    """Return whether values have bytes in them, such as whole images."""
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return True
    return any(_holds_bytes(kind.field(i).type) for i in range(kind.num_fields))


def _of_coco(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the captions or categories of a file as COCO has them, or none if it is not one."""
    try:
        names = {image["id"]: image["file_name"] for image in found["images"]}
        kinds = {each["id"]: each["name"] for each in found.get("categories", [])}
        return [
            {"file_name": names.get(each["image_id"])}
            | ({"caption": each["caption"]} if "caption" in each else {})
            | ({"label": kinds[each["category_id"]]} if "category_id" in each else {})
            for each in found["annotations"]
        ]
    except (KeyError, TypeError, AttributeError):
        return []


def _of_mapping(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a mapping from images to texts; one row if it is a record itself."""
    if not _FIELDS.isdisjoint(found):
        return [found]
    return [{"path": path, "text": text} for path, text in found.items() if isinstance(text, str)]


def _values(column: pa.Array) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except (OverflowError, ValueError, pa.ArrowException):  # a date that Python does not have
        values = column.cast(pa.string()).to_pylist()
    return values
