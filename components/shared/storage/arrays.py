"""The arrays and tables that stages leave for each other: NumPy's and Parquet files, checked.

What is in their headers and footers is checked when they are opened, which reads no more of them;
the caller checks what must agree between files. The pages of Parquet files have checksums, which
are verified as they are read: a ten-thousandth of the size, and no time that could be measured.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import DTypeLike, NDArray

from components.shared.storage import formats
from components.shared.storage.formats import FormatError


def mapped(path: Path, dtype: DTypeLike) -> NDArray[Any]:
    """Memory-map a one-dimensional array.

    Raises:
        FormatError: It is damaged, or of another type.
    """
    with formats.guarded(path):
        array: np.memmap[Any, Any] = np.load(path, mmap_mode="r")
        if array.dtype != dtype or array.ndim != 1:
            raise TypeError(f"{array.dtype} of shape {array.shape}")
        size = path.stat().st_size
        if array.offset + array.nbytes != size:
            raise ValueError(f"{size:,} bytes do not hold {len(array):,} values")
        return array


def opened(path: Path, schema: pa.Schema) -> pq.ParquetFile:
    """Open a Parquet file that has at least some columns; its footer is memory-mapped.

    Raises:
        FormatError: It is damaged, or lacks a column of this type.
    """
    with formats.guarded(path):
        file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
        found = file.schema_arrow
        for field in schema:
            if field.name not in found.names or found.field(field.name).type != field.type:
                file.close()
                raise FormatError(
                    f"{path}: a file of {', '.join(found.names)}, not with {field.name} "
                    f"({field.type}): give what a stage has made"
                )
        return file


def table(path: Path, schema: pa.Schema) -> pa.Table:
    """Return some columns of a Parquet file.

    Raises:
        FormatError: It is damaged, or lacks a column of this type.
    """
    with opened(path, schema) as file, formats.guarded(path):
        return file.read(schema.names)


def writer(path: Path, schema: pa.Schema, *, compression: str = "snappy") -> pq.ParquetWriter:
    """Return a writer of a Parquet file, a context manager."""
    return pq.ParquetWriter(path, schema, compression=compression, write_page_checksum=True)


def write(path: Path, table: pa.Table, *, compression: str = "snappy") -> None:
    """Write a Parquet file."""
    with writer(path, table.schema, compression=compression) as file:
        file.write_table(table)
