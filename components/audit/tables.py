"""The files: suspects and near-duplicates for people, predictions of all images for programs.

CSV is what people open in a spreadsheet, which runs a cell that looks like a formula; and ids,
names of classes and titles are whatever the web or a colleague called them. So there, such an id
has `./` in front, which leaves it the same path, and any other such text an apostrophe. Parquet has
all texts as they are.
"""

import csv
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.audit.duplicates import Duplicates
from components.audit.scoring import NONE, Scores
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.storage import arrays, filesystem
from components.shared.training.inference import ShardPredictions

SPLITS = ("training", "validation")
_NAME = pa.dictionary(pa.int32(), pa.string())
_PREDICTIONS = pa.schema(
    [
        ("id", pa.string()),
        ("label", _NAME),
        ("fold", pa.int32()),
        ("label_probability", pa.float32()),  # the models'
        ("score", pa.float32()),  # see `scoring`: the smaller, the more suspect
        ("concepts", pa.list_(_NAME)),  # most probable first
        ("probabilities", pa.list_(pa.float32())),
    ]
)
_ROWS = 10_000  # that become Python's at a time
# What a formula begins with, also in the wide forms of East Asian keyboards.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_DIGITS = 4


def suspects(scores: Scores, images: ImageSet, labels: Targets) -> pa.Table:
    """Return the suspects, in their order, as a table."""
    return pa.table(
        {
            "rank": np.arange(1, len(scores.numbers) + 1),
            "id": images.id_column().take(pa.array(scores.numbers)),
            "label": _named(labels.names, scores.given),
            "label_title": _named(labels.titles, scores.given),
            "suggested": _named(labels.names, scores.suggested),
            "suggested_title": _named(labels.titles, scores.suggested),
            "confidence": scores.probabilities[:, 0],
            "label_probability": scores.label,
            "models_say": _named(labels.names, scores.model_classes),
            "models_probability": scores.model,
            "models_label_probability": scores.model_label,
            "text_says": _named(labels.names, scores.text_classes),
            "text_weight": scores.text,
        }
    )


def duplicates(
    found: Duplicates, training: ImageSet, validation: ImageSet, labels: Targets
) -> pa.Table:
    """Return the near-duplicates as a table; the labels have the classes' names."""
    both = pa.chunked_array(
        [*training.id_column().chunks, *validation.id_column().chunks], pa.string()
    )
    columns: dict[str, Any] = {}
    for prefix, numbers in {"": found.pairs.one, "other_": found.pairs.other}.items():
        columns[f"{prefix}id"] = both.take(pa.array(numbers))
        columns[f"{prefix}label"] = _named(labels.names, found.labels[numbers])
        columns[f"{prefix}split"] = _named(SPLITS, (numbers >= found.training).astype(np.int64))
    return pa.table(columns | {"distance": found.pairs.distance})


def write(folder: Path, name: str, table: pa.Table) -> None:
    """Write a table to `<name>.csv` and `<name>.parquet`."""
    arrays.write(folder / f"{name}.parquet", table, compression="zstd")
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.column_names)
        for batch in table.to_batches(max_chunksize=_ROWS):
            cells = [
                [cell(value, is_path=name.endswith("id")) for value in column.to_pylist()]
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            ]
            writer.writerows(zip(*cells, strict=True))


def cell(value: object, *, is_path: bool = False) -> str:
    """Return a value as a cell of CSV that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{_DIGITS}f}"
    text = str(value)
    if isinstance(value, str) and text.startswith(_FORMULA):
        return f"./{text}" if is_path else f"'{text}"
    return text


class PredictionsWriter:
    """Writes what the models predict for all images, shard by shard, in constant memory.

    with PredictionsWriter(path, images, labels, folds) as writer:
        writer.append(part, given, trust)
    """

    def __init__(
        self, path: Path, images: ImageSet, labels: Targets, folds: NDArray[np.int32]
    ) -> None:
        """Prepare to write to a Parquet file.

        Args:
            path: The file.
            images: All images.
            labels: Their given labels.
            folds: (N,) Their folds.
        """
        self._path, self._ids, self._open = path, images.id_column(), ExitStack()
        self._labels, self._folds = labels, folds

    def __enter__(self) -> Self:
        temporary = self._open.enter_context(filesystem.complete(self._path))
        self._writer = self._open.enter_context(
            arrays.writer(temporary, _PREDICTIONS, compression="zstd")
        )
        return self

    def append(
        self,
        part: ShardPredictions,
        given: NDArray[np.int64],
        trust: NDArray[np.float64],
    ) -> None:
        """Add the images of the next shard: predictions, given classes (B,), trust (B,)."""
        assert part.asked is not None
        classes, probabilities = part.classes[0], part.probabilities[0]
        offsets = pa.array(np.arange(len(classes) + 1, dtype=np.int32) * classes.shape[1])
        start, end = int(part.numbers[0]), int(part.numbers[-1]) + 1
        columns = [
            pa.concat_arrays(self._ids.slice(start, end - start).chunks),
            _named(self._labels.names, given),
            pa.array(self._folds[part.numbers]),
            pa.array(part.asked[:, 0]),
            pa.array(trust.astype(np.float32)),
            pa.ListArray.from_arrays(offsets, _named(self._labels.names, classes.ravel())),
            pa.ListArray.from_arrays(offsets, pa.array(probabilities.ravel())),
        ]
        self._writer.write_table(pa.table(columns, schema=_PREDICTIONS))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, traceback)


def _named(names: Sequence[str], classes: NDArray[Any]) -> pa.DictionaryArray:
    """Return names of classes, null for `NONE`."""
    indices = pa.array(classes.astype(np.int32), mask=classes == NONE)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()))
