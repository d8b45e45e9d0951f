"""Texts: the web text around each image. One Parquet file, one row per image, in image order.

Columns: `id title description tags source query rank`. Absent texts are empty, never null;
`rank` is the image's position in its query's results, from 1, or 0 where unknown.
"""

import html
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from components.shared.data.identity import Identity
from components.shared.stage.errors import UserError
from components.shared.storage import arrays, filesystem, formats
from components.shared.storage.formats import FormatError

FORMAT = 1
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("description", pa.string(), nullable=False),
        # Separated by spaces; those of several words as golden_retriever.
        pa.field("tags", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),  # google, flickr, …
        pa.field("query", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
    ]
)
# Rows of a row group, a process's unit of work: a small set's are smaller, to be shared out.
ROW_GROUP, _MIN_ROW_GROUP, _MIN_GROUPS = 65_536, 1_024, 64


# Python refuses to read numbers of more than 4,300 digits; no character's has more than seven.
_TOO_LONG = re.compile(r"&#\d{8,};?")


def unescaped(text: str) -> str:
    """Return a text with its HTML entities replaced by the characters that they stand for."""
    return html.unescape(_TOO_LONG.sub(" ", text)) if "&" in text else text


class Texts:
    """The texts of an image set, read in batches.

    Attributes:
        identity: The data set's.
    """

    def __init__(self, path: Path) -> None:
        """Open the Parquet file at `path`."""
        if not path.is_file():
            raise UserError(f"{path}: no such Texts")
        self._path, self._file = path, arrays.opened(path, SCHEMA)
        self.identity = Identity.of_schema(self._file.schema_arrow, FORMAT, path)
        if (rows := self._file.metadata.num_rows) != len(self):
            raise FormatError(
                f"{path}: damaged: {rows:,} texts of {len(self):,} images: rerun what made it"
            )

    def __len__(self) -> int:
        return self.identity.images

    def row_groups(self) -> list[range]:
        """Return the image numbers of each row group, the unit of work of a process."""
        metadata = self._file.metadata
        counts = (metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
        ends = [0, *itertools.accumulate(counts)]
        return [range(start, end) for start, end in itertools.pairwise(ends)]

    def batches(
        self, columns: list[str], rows: int = 8_192, row_group: int | None = None
    ) -> Iterator[dict[str, list[str]]]:
        """Yield the columns in image order, `rows` rows at a time (the last batch has fewer).

        Args:
            columns: Which columns.
            rows: Rows of a batch.
            row_group: Only this row group's.
        """
        groups = None if row_group is None else [row_group]
        with formats.guarded(self._path):
            for batch in self._file.iter_batches(rows, groups, columns):
                yield batch.to_pydict()


def write(path: Path, identity: Identity, tables: Iterable[pa.Table]) -> None:
    """Write Texts to `path` in constant memory, complete or not at all.

    Args:
        path: The file.
        identity: The data set's.
        tables: Their rows in image order, with the columns of `SCHEMA`, any number at a time.
    """
    even = math.ceil(identity.images / _MIN_GROUPS)
    size = min(ROW_GROUP, max(_MIN_ROW_GROUP, even))
    schema = identity.in_schema(SCHEMA, FORMAT)
    waiting, rows = [SCHEMA.empty_table()], 0
    with (
        filesystem.complete(path) as temporary,
        arrays.writer(temporary, schema, compression="zstd") as writer,
    ):
        for table in tables:
            waiting.append(table)
            rows += len(table)
            while sum(map(len, waiting)) >= size:
                joined = pa.concat_tables(waiting)
                writer.write_table(joined.slice(0, size).cast(schema), row_group_size=size)
                waiting = [joined.slice(size)]
        if last := pa.concat_tables(waiting):
            writer.write_table(last.cast(schema), row_group_size=size)
    assert rows == identity.images
