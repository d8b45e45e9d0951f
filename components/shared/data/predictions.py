"""Predictions: a classifier's top classes for the validation images, and how it was trained.

A Parquet file with a row per image (`SCHEMA`), those of an external validation set after the
others; its schema carries the validation set's identity and the classifier's `History`. Classes are
numbers: rows of ingest's `concepts.parquet`. Each finetuning makes one, and so does the ensemble;
they are enough to compare classifiers without their weights.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.shared.data.identity import Identity
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.stage.errors import UserError
from components.shared.storage import arrays, filesystem, formats
from components.shared.storage.formats import FormatError

FORMAT = 2  # 1 had no column `set`
SCHEMA = pa.schema(
    [
        pa.field("set", pa.string(), nullable=False),  # validation or external
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("concepts", pa.list_(pa.int32()), nullable=False),  # most probable first
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),
    ]
)
TOP = 5  # the challenge's measure
_KEY = b"history"
Set = Literal["validation", "external"]


# A list in JSON: another field would change the format of whatever holds it.
class Training(NamedTuple):
    """One of the trainings that made a model.

    Attributes:
        what: The stage and its image size, such as `finetune on given labels 224 px`.
        images: Images seen, each counted as often as it was drawn.
        seconds: Duration of its steps, without validation.
    """

    what: str
    images: int
    seconds: float


@dataclass(frozen=True, slots=True)
class History:
    """How a classifier was trained.

    Attributes:
        lineage: Its trainings, the last one last; for an ensemble, those of its members.
        curve: The last training's, as in `models.Record`; empty for an ensemble.
        chosen: What the half of the images that may choose (`halves`) has chosen of it or of what
            it was trained on, such as `the ensemble's members`: if anything, only the other half
            measures it.
    """

    lineage: Sequence[Training]
    curve: Sequence[dict[str, float]]
    chosen: tuple[str, ...] = ()


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
        """Concatenate parts."""
        if not parts:
            return cls(np.empty((0, TOP), np.int32), np.empty((0, TOP), np.float32))
        return cls(
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
        )


class Predicted(NamedTuple):
    """Images, each of which has one label, and a classifier's predictions for them."""

    images: ImageSet
    labels: Targets
    predictions: Predictions


def write(
    path: Path,
    images: ImageSet,
    labels: Targets,
    predictions: Predictions,
    history: History,
    external: Predicted | None = None,
) -> None:
    """Write a classifier's predictions for the validation images, and perhaps external ones."""
    schema = images.identity.in_schema(SCHEMA, FORMAT)
    content = {"format": FORMAT, **asdict(history)}
    schema = schema.with_metadata({**schema.metadata, _KEY: json.dumps(content).encode()})
    tables = [_table("validation", Predicted(images, labels, predictions))]
    if external:
        tables.append(_table("external", external))
    with filesystem.complete(path) as temporary:
        arrays.write(temporary, pa.concat_tables(tables).cast(schema))


def read(
    path: Path, of: Set = "validation"
) -> tuple[Identity, NDArray[np.int32], Predictions, History]:
    """Return the images' identity, their labels (N,), the predictions, and the model's history.

    Args:
        path: The file.
        of: Which images; where it has none of these, N is 0.

    Raises:
        UserError: The file is not a stage's predictions, or has another format.
    """
    table = arrays.table(path, SCHEMA)
    metadata = table.schema.metadata or {}
    if _KEY not in metadata:
        raise UserError(f"{path}: not a stage's predictions")
    identity = Identity.of_schema(table.schema, FORMAT, path)
    with formats.reading(metadata[_KEY], FORMAT, path) as content:
        lineage = [Training(*each) for each in content["lineage"]]
        history = formats.fill(History, content | {"lineage": lineage})
        if of == "external":
            history = replace(history, chosen=())
    table = _of(table, of)
    if of == "external":
        identity = Identity.of(table["id"].to_pylist())
    if len(table) != identity.images:
        raise FormatError(
            f"{path}: damaged: predictions of {len(table):,} of {identity.images:,} images: rerun "
            "what made it"
        )
    width = len(table["concepts"][0]) if len(table) else TOP
    shape = (len(table), width)
    with formats.guarded(path):
        predictions = Predictions(
            _values(table, "concepts").reshape(shape),
            _values(table, "probabilities").reshape(shape),
        )
    return identity, table["label"].to_numpy(), predictions, history


def ids(path: Path) -> list[str]:
    """Return the ids of the validation images that a file has predictions for."""
    columns = pa.schema([SCHEMA.field("set"), SCHEMA.field("id")])
    table = _of(arrays.table(path, columns), "validation")
    found: list[str] = table["id"].to_pylist()
    return found


def _table(name: Set, predicted: Predicted) -> pa.Table:
    images, labels, predictions = predicted
    ids = images.ids()
    columns = [
        [name] * len(ids),
        ids,
        np.asarray(labels.classes),
        list(predictions.classes),
        list(predictions.probabilities),
    ]
    arrays = [pa.array(each, field.type) for each, field in zip(columns, SCHEMA, strict=True)]
    return pa.table(arrays, schema=SCHEMA)


def _of(table: pa.Table, name: Set) -> pa.Table:
    return table.filter(pc.equal(table["set"], name))


def _values(table: pa.Table, name: str) -> NDArray[Any]:
    """Return the values of a column of lists, one list after another."""
    values: NDArray[Any] = table[name].combine_chunks().flatten().to_numpy()
    return values
