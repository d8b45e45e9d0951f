"""Files of yesterday, which say no number, and of tomorrow: each is read, or refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.compare.names import Names
from components.compare.outputs import read_comparison, write_comparison
from components.compare.results import Comparison
from components.shared.data import predictions, texts
from components.shared.data.identity import Identity
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.data.texts import Texts
from components.shared.reports.titles import Name
from components.shared.stage.errors import UserError
from components.shared.training import models
from components.trainjob.handover import Handover
from pipelines.run import record
from pipelines.run.record import RunRecord, TaskRecord
from tests import comparisons, synthetic, tiny_models

Content = dict[str, Any]


class Format(NamedTuple):
    """A format: how to write it into a folder, and to read it from there.

    Attributes:
        file: Where it says its number.
        key: One that it cannot do without.
        write: Writes into a folder.
        read: Returns what it finds there.
        number: Its number.
    """

    file: str
    key: str
    write: Callable[[Path], object]
    read: Callable[[Path], object]
    number: int = 1

    def change(self, folder: Path, change: Callable[[Content], object]) -> None:
        """Change what the file says."""
        path = folder / self.file
        if path.suffix == ".json":
            content = json.loads(path.read_text())
            change(content)
            path.write_text(json.dumps(content))
            return
        table = pq.read_table(path)
        metadata = {name: json.loads(value) for name, value in table.schema.metadata.items()}
        change(metadata[b"webly"])
        encoded = {name: json.dumps(value) for name, value in metadata.items()}
        pq.write_table(table.replace_schema_metadata(encoded), path)


def write_record(folder: Path) -> None:
    task = TaskRecord(
        name="ingest",
        stage="ingest",
        step="ingest",
        candidate=Name(),
        dependencies=[],
        parameters={},
    )
    run = RunRecord(pipeline="p", recipe="r", parameters={"seed": 1}, started=2.0, tasks=[task])
    run.write(folder)


def read_images(folder: Path) -> object:
    images = ImageSet.load(folder / "images")
    return images.shards, images.index.tolist(), images.image_side, images.identity


def read_targets(folder: Path) -> object:
    targets = Targets.load(folder)
    return targets.classes.tolist(), targets.names, targets.identity


def write_predictions(folder: Path) -> None:
    images = comparisons.Images(folder, np.array([0, 1]))
    comparisons.write(
        folder / "predictions.parquet", images, images.labels, np.array([True, False])
    )


def read_predictions(folder: Path) -> object:
    identity, labels, found, history = predictions.read(folder / "predictions.parquet")
    return identity, labels.tolist(), found.classes.tolist(), history


def executor_input(folder: Path) -> Content:
    uri = str(folder / "given" / "metrics")
    metrics = {"artifacts": [{"name": "metrics", "uri": uri, "metadata": {}}]}
    return {
        "inputs": {"parameterValues": {"size": 7}},
        "outputs": {"artifacts": {"metrics": metrics}, "outputFile": str(folder / "output")},
    }


def give_back(folder: Path) -> None:
    taken = executor_input(folder / "node")
    (folder / "node" / "given").mkdir(parents=True)
    (folder / "node" / "given" / "metrics").write_text("{}")
    (folder / "node" / "output").write_text(
        json.dumps({"artifacts": taken["outputs"]["artifacts"]})
    )
    Handover(str(folder)).give_back(taken)


def take_back(folder: Path) -> object:
    assert Handover(str(folder)).take_back(executor_input(folder / "launcher"))
    return json.loads((folder / "launcher" / "output").read_text())


FORMATS = {
    "model": Format(
        "training.json",
        "last_learning_rate",
        lambda folder: tiny_models.save(folder, ["a", "b"]),
        models.read_record,
    ),
    "run": Format("record.json", "tasks", write_record, record.read),
    "image set": Format(
        "images/manifest.json",
        "shards",
        lambda folder: synthetic.image_set(folder, synthetic.coloured_squares(3, 16, seed=0)[0]),
        read_images,
    ),
    "targets": Format(
        "classes.parquet",
        "digest",
        lambda folder: synthetic.targets(folder, Identity.of("ab"), [[(0, 1.0)], []], ["cat"]),
        read_targets,
    ),
    "texts": Format(
        "texts.parquet",
        "images",
        lambda folder: texts.write(folder / "texts.parquet", Identity.of([]), []),
        lambda folder: Texts(folder / "texts.parquet").identity,
    ),
    "predictions": Format(
        "predictions.parquet",
        "images",
        write_predictions,
        read_predictions,
        predictions.FORMAT,
    ),
    "comparison": Format(
        "comparison.json",
        "gains",
        lambda folder: write_comparison(
            folder / "comparison.json",
            Comparison(Names([], {}, {}), np.zeros(0, np.int64), {}, [], [], []),
        ),
        lambda folder: read_comparison(folder / "comparison.json"),
    ),
    "request": Format(
        "request.json",
        "outputs",
        lambda folder: Handover(str(folder)).give(executor_input(folder)),
        lambda folder: Handover(str(folder)).take(folder)["outputs"],
    ),
    "what is given back": Format("executor_output.json", "made", give_back, take_back),
}


@pytest.fixture(params=FORMATS.values(), ids=FORMATS.keys())
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Format:
    format: Format = request.param
    format.write(tmp_path)
    return format


def test_a_file_of_yesterday_says_no_number(written: Format, tmp_path: Path) -> None:
    today = written.read(tmp_path)
    written.change(tmp_path, lambda content: content.pop("format"))

    if written.number == 1:
        assert written.read(tmp_path) == today
    else:
        with pytest.raises(UserError, match=f"format 1, .* reads format {written.number}: "):
            written.read(tmp_path)


def test_what_a_file_of_tomorrow_says_besides_is_left_out(written: Format, tmp_path: Path) -> None:
    today = written.read(tmp_path)
    written.change(tmp_path, lambda content: content.update(tomorrow=1))

    assert written.read(tmp_path) == today


def test_a_format_of_tomorrow_is_refused_with_both_numbers(written: Format, tmp_path: Path) -> None:
    tomorrow = written.number + 1
    written.change(tmp_path, lambda content: content.update(format=tomorrow))

    with pytest.raises(UserError) as raised:
        written.read(tmp_path)

    complaint = f"format {tomorrow}, but this version of webly reads format {written.number}: "
    assert str(raised.value).startswith(f"{tmp_path / written.file}: {complaint}")


def test_a_file_that_lacks_something_is_refused(written: Format, tmp_path: Path) -> None:
    written.change(tmp_path, lambda content: content.pop(written.key))

    with pytest.raises(UserError, match=rf"{written.file}: damaged \(.*{written.key}.*$"):
        written.read(tmp_path)
