"""Reading lists of images in blocks, so that several processes can, and none holds a whole list."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path

from components.ingest.dataset import FileList, number


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive lines of one list.

    Attributes:
        file_list: The list.
        first_row: The first line's number, counted over all lists.
        num_rows: How many lines.
        line_offset: Where they begin in the list, in bytes.
        record_offset: Where the lines that belong to them begin in the list of records.
    """

    file_list: FileList
    first_row: int
    num_rows: int
    line_offset: int
    record_offset: int

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield each line, and the line of the list of records that belongs to it (or empty)."""
        lines = _lines(self.file_list.path, self.line_offset, self.num_rows)
        records: Iterator[str] = iter(())
        if self.file_list.records is not None:
            records = _lines(self.file_list.records, self.record_offset, self.num_rows)
        yield from zip_longest(lines, records, fillvalue="")

    def parse(self, line: str, num_classes: int) -> tuple[str, int]:
        """Return a line's id and label; the label is -1 where the line cannot be read."""
        if self.file_list.split == "test":
            return line, 0 if line else -1
        id, _, label = line.rpartition(" ")
        value = number(label)
        return id, value if id and value < num_classes else -1


def blocks(lists: Sequence[FileList], num_rows: int) -> list[Block]:
    """Return the lists cut into blocks of so many rows, the last of each list shorter."""
    found, first_row = [], 0
    for file_list in lists:
        offsets, total = _offsets(file_list.path, num_rows)
        record_offsets: list[int] = []
        if file_list.records is not None:
            record_offsets, _ = _offsets(file_list.records, num_rows)
            # Where the list of records ends too early, the rest has none.
            end = file_list.records.stat().st_size
            record_offsets += [end] * (len(offsets) - len(record_offsets))
        for position, offset in enumerate(offsets):
            rows = min(num_rows, total - position * num_rows)
            record_offset = record_offsets[position] if record_offsets else 0
            found.append(Block(file_list, first_row, rows, offset, record_offset))
            first_row += rows
    return found


def _lines(path: Path, offset: int, count: int) -> Iterator[str]:
    with path.open("rb") as file:
        file.seek(offset)
        for line in islice(file, count):
            yield line.decode(errors="replace").rstrip("\r\n ")


def _offsets(path: Path, num_rows: int) -> tuple[list[int], int]:
    """Return where every `num_rows`-th line of a file begins, and how many lines it has."""
    offsets, position, count = [], 0, 0
    with path.open("rb") as file:
        for line in file:
            if count % num_rows == 0:
                offsets.append(position)
            position += len(line)
            count += 1
    return offsets, count
