"""Targets: what a model learns from. For each image, some classes, each with a weight.

A folder of memory-mapped arrays in compressed-sparse-row form, in image order:

    offsets.npy      int64 (N+1,)   image i has the pairs offsets[i] … offsets[i+1]
    classes.npy      int32 (P,)     the pairs' class numbers, strongest first
    weights.npy      float32 (P,)   and their weights, > 0
    classes.parquet  name, title, images: one row per class; in its schema the data set's identity,
                     and what validation images have chosen of what made the targets

The given labels come with `concepts.parquet`: what the classes mean (`ingest/concepts.py`).

Four stages make them: ingest (the given label), tagging (keywords), weighting (similar concepts)
and pseudo_label (a model's predictions). So one loss, one sampler and one loop serve them all.

Not lists in Parquet: at 16 M images these take 3.4 s to load and 1.8 GB in each process, while the
arrays (732 MiB) open at once and are shared by all ranks and workers of a node.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.shared.data.identity import Identity
from components.shared.stage.errors import UserError
from components.shared.storage import arrays, filesystem, formats
from components.shared.storage.formats import FormatError

FORMAT = 1
SCHEMA = pa.schema([("name", pa.string()), ("title", pa.string()), ("images", pa.int64())])
CONCEPTS = "concepts.parquet"
CONCEPTS_SCHEMA = pa.schema(
    [
        pa.field("wnid", pa.string(), nullable=False),
        pa.field("lemmas", pa.list_(pa.string()), nullable=False),
        pa.field("gloss", pa.string(), nullable=False),
        pa.field("hypernyms", pa.list_(pa.string()), nullable=False),  # wnids of the direct ones
        pa.field("label", pa.int32()),  # null for an ancestor
    ]
)
_CHOSEN = b"chosen"


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of N images over C classes, as P pairs of a class and a weight.

    Attributes:
        offsets: (N+1,) int64.
        classes: (P,) int32.
        weights: (P,) float32.
        names: The C classes' names: a wnid or a keyword, unique.
        titles: Their display names.
        identity: The data set's.
        chosen: As in a classifier's `History`.
    """

    offsets: NDArray[np.int64]
    classes: NDArray[np.int32]
    weights: NDArray[np.float32]
    names: list[str]
    titles: list[str]
    identity: Identity
    chosen: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open a folder of Targets; the arrays are memory-mapped."""
        path = folder / "classes.parquet"
        if not path.is_file():
            raise UserError(f"{folder}: not Targets (classes.parquet is missing)")
        table = arrays.table(path, SCHEMA)
        identity = Identity.of_schema(table.schema, FORMAT, path)
        with formats.guarded(path):
            chosen = tuple(json.loads(table.schema.metadata.get(_CHOSEN, "[]")))
        offsets = arrays.mapped(folder / "offsets.npy", np.int64)
        classes = arrays.mapped(folder / "classes.npy", np.int32)
        weights = arrays.mapped(folder / "weights.npy", np.float32)
        pairs = {len(classes), len(weights), pc.sum(table["images"]).as_py() or 0}
        if len(offsets) != identity.images + 1 or pairs != {int(offsets[-1])} or offsets[0]:
            raise FormatError(
                f"{folder}: damaged: the numbers of images or pairs differ between its files: "
                "rerun what made it"
            )
        names, titles = table["name"].to_pylist(), table["title"].to_pylist()
        return cls(offsets, classes, weights, names, titles, identity, chosen)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, image: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the classes and weights of one image."""
        pairs = slice(self.offsets[image], self.offsets[image + 1])
        return self.classes[pairs], self.weights[pairs]

    @property
    def average_weight(self) -> float:
        """The sum of an image's weights, averaged over the images that have targets."""
        images = np.count_nonzero(np.diff(self.offsets))
        return float(np.sum(self.weights, dtype=np.float64) / max(1, int(images)))

    def padded(self, images: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return classes and weights (B, K) of a batch of images, K the largest count among them.

        Padding has class 0 and weight 0.
        """
        starts = np.asarray(self.offsets[images])
        counts = np.asarray(self.offsets[images + 1]) - starts
        columns = np.arange(max(1, counts.max(initial=0)))
        there = columns < counts[:, None]
        pairs = (starts[:, None] + columns)[there]
        classes = np.zeros(there.shape, np.int64)
        weights = np.zeros(there.shape, np.float32)
        classes[there], weights[there] = self.classes[pairs], self.weights[pairs]
        return classes, weights


class TargetsWriter:
    """Writes Targets batch by batch in constant memory; the folder appears when complete.

    with TargetsWriter(folder, names, titles, identity) as writer:
        writer.append(counts, classes, weights)
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        titles: Sequence[str],
        identity: Identity,
        chosen: Sequence[str] = (),
    ) -> None:
        """Prepare to write Targets over the given classes to `folder`."""
        self._folder, self._identity, self._open = folder, identity, ExitStack()
        self._chosen = chosen
        self._names, self._titles = list(names), list(titles)
        self._images_per_class = np.zeros(len(names), np.int64)
        self._end = 0

    def __enter__(self) -> Self:
        self._temporary = self._open.enter_context(filesystem.complete(self._folder))
        self._temporary.mkdir()
        self._offsets = _ArrayFile(self._temporary / "offsets.npy", np.dtype(np.int64))
        self._classes = _ArrayFile(self._temporary / "classes.npy", np.dtype(np.int32))
        self._weights = _ArrayFile(self._temporary / "weights.npy", np.dtype(np.float32))
        self._offsets.append(np.zeros(1, np.int64))
        self._open.push(self._finish)
        return self

    def append(self, counts: Any, classes: Any, weights: Any) -> None:
        """Add a batch of images: pairs per image (B,), then the pairs, one image after another."""
        ends = self._end + np.cumsum(counts, dtype=np.int64)
        self._offsets.append(ends)
        self._classes.append(np.asarray(classes, np.int32))
        self._weights.append(np.asarray(weights, np.float32))
        self._images_per_class += np.bincount(
            np.asarray(classes, np.int64), minlength=len(self._names)
        )
        self._end += len(classes)
        assert len(ends) == 0 or ends[-1] == self._end == self._classes.length

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, traceback)

    def _finish(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for file in (self._offsets, self._classes, self._weights):
            file.close()
        if kind is None:
            assert self._offsets.length == self._identity.images + 1
            self._write_classes()

    def _write_classes(self) -> None:
        values = [self._names, self._titles, self._images_per_class]
        columns = [pa.array(each, type) for each, type in zip(values, SCHEMA.types, strict=True)]
        schema = self._identity.in_schema(SCHEMA, FORMAT)
        if self._chosen:
            schema = schema.with_metadata(
                {**schema.metadata, _CHOSEN: json.dumps(self._chosen).encode()}
            )
        table = pa.table(columns, schema=schema)
        arrays.write(self._temporary / "classes.parquet", table)


class _ArrayFile:
    """A growing one-dimensional .npy file; NumPy leaves room in the header for the length."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._file, self._dtype, self.length = path.open("wb"), dtype, 0
        self._write_header()

    def append(self, values: NDArray[Any]) -> None:
        assert values.ndim == 1 and values.dtype == self._dtype
        self._file.write(values.tobytes())
        self.length += len(values)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        descr = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self._file, header)
