"""Predictions: what a classifier says of the validation images, and how it came to be.

A Parquet file with a row per image (`SCHEMA`); its schema carries the numbering and the
classifier's `History`. Classes are numbers: rows of ingest's `concepts`. Each finetuning makes one,
and so does the ensemble; they are enough to compare classifiers without their weights.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.shared.data.identity import Numbering
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem, formats

FORMAT = 1
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("concepts", pa.list_(pa.int32()), nullable=False),  # most probable first
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),
    ]
)
TOP = 5  # the challenge's measure
_KEY = b"history"


# JSON has it as a list: with another field, whatever holds it is of another format.
class Training(NamedTuple):
    """One of the trainings that a model went through.

    Attributes:
        what: The stage and its image size, such as `finetune on given labels 224 px`.
        images: How many images it took, counted as often as they were drawn.
        seconds: How long its steps took, without validation.
    """

    what: str
    images: int
    seconds: float


@dataclass(frozen=True, slots=True)
class History:
    """How a classifier came to be.

    Attributes:
        lineage: The trainings that it went through, the last one last; of an ensemble, those of
            its members.
        curve: The last training's, as in `models.Record`; empty of an ensemble.
    """

    lineage: Sequence[Training]
    curve: Sequence[dict[str, float]]


@dataclass(frozen=True, slots=True)
class Predictions:
    """The most probable classes of N images: K = 5, or C where there are fewer classes.

    Attributes:
        classes: (N, K) int32, the most probable first.
        probabilities: (N, K) float32, of a classifier or the mean of several.
    """

    classes: NDArray[np.int32]
    probabilities: NDArray[np.float32]

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Put parts one after another."""
        if not parts:
            return cls(np.empty((0, TOP), np.int32), np.empty((0, TOP), np.float32))
        return cls(
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
        )


def write(
    path: Path, images: ImageSet, labels: Targets, predictions: Predictions, history: History
) -> None:
    """Write what a classifier says of labelled images, each of which has one label."""
    columns = [
        images.ids(),
        np.asarray(labels.classes),
        list(predictions.classes),
        list(predictions.probabilities),
    ]
    arrays = [pa.array(each, field.type) for each, field in zip(columns, SCHEMA, strict=True)]
    schema = images.numbering.in_schema(SCHEMA, FORMAT)
    told = {"format": FORMAT, "lineage": history.lineage, "curve": history.curve}
    schema = schema.with_metadata({**schema.metadata, _KEY: json.dumps(told).encode()})
    with filesystem.complete(path) as temporary:
        pq.write_table(pa.table(arrays, schema=schema), temporary)


def read(path: Path) -> tuple[Numbering, NDArray[np.int32], Predictions, History]:
    """Return the images' numbering and labels (N,), what was predicted of them, and by whom.

    Raises:
        UserError: The file is no stage's predictions, or of another format.
    """
    table = pq.read_table(path)
    metadata = table.schema.metadata or {}
    if _KEY not in metadata:
        raise UserError(f"{path}: no predictions of a stage")
    numbering = Numbering.of_schema(table.schema, FORMAT, path)
    with formats.reading(metadata[_KEY], FORMAT, path) as told:
        history = History([Training(*each) for each in told["lineage"]], told["curve"])
    width = len(table["concepts"][0]) if len(table) else TOP
    shape = (len(table), width)
    predictions = Predictions(
        _values(table, "concepts").reshape(shape), _values(table, "probabilities").reshape(shape)
    )
    return numbering, table["label"].to_numpy(), predictions, history


def _values(table: pa.Table, name: str) -> NDArray[Any]:
    """Return the values of a column of lists, one list after another."""
    values: NDArray[Any] = table[name].combine_chunks().flatten().to_numpy()
    return values
