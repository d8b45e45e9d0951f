"""What stages leave, damaged in every way: it is refused in a sentence, or read as it was."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.compare.names import Names
from components.compare.outputs import read_comparison, write_comparison
from components.compare.results import Comparison
from components.ingest.concepts import of_classes
from components.ingest.dataset import REJECTS
from components.shared.data import predictions, texts
from components.shared.data.evaluation import EXTERNAL, EXTERNAL_LABELS, Evaluation, write_title
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import CONCEPTS, CONCEPTS_SCHEMA, Targets
from components.shared.data.texts import Texts
from components.shared.stage.errors import UserError
from components.shared.storage import arrays
from components.shared.training import models
from pipelines.run import record
from pipelines.run.models import _score
from tests import comparisons, synthetic, tiny_models
from tests.synthetic import ColouredSquares
from tests.test_formats import write_record

pytestmark = pytest.mark.slow


class Artifact(NamedTuple):
    """What a stage leaves: its files, and all that is read of them."""

    files: list[str]
    read: Callable[[Path], object]


def _images(folder: Path) -> object:
    images = ImageSet.load(folder)
    return images.shards, images.index.tolist(), images.image_side, images.ids(), images.name(1)


def _targets(folder: Path) -> object:
    found = Targets.load(folder)
    pairs = [column.tolist() for column in (found.offsets, found.classes, found.weights)]
    return pairs, found.names, found.titles, found.identity, found.chosen


def _texts(folder: Path) -> object:
    found = Texts(folder / "texts.parquet")
    return [*found.batches(texts.SCHEMA.names)], found.row_groups(), found.identity


def _predictions(folder: Path) -> object:
    path = folder / "predictions.parquet"
    identity, labels, found, history = predictions.read(path)
    lists = labels.tolist(), found.classes.tolist(), found.probabilities.tolist()
    return identity, lists, history, predictions.ids(path)


def _evaluation(folder: Path) -> object:
    found = Evaluation.load(folder)
    assert found.external is not None
    return found.external.title, len(found.images), len(found.external.labels)


def _model(folder: Path) -> object:
    model = models.load(folder)
    tensors = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
    return tensors, models.read_record(folder), _score(folder)


def _suspects(folder: Path) -> object:
    with arrays.opened(folder / "suspects.parquet", pa.schema([])) as file:
        return file.metadata.num_rows


ARTIFACTS = {
    "images": Artifact(["manifest.json", "index.npy", "ids.parquet"], _images),
    "labels": Artifact(["classes.parquet", "offsets.npy", "classes.npy", "weights.npy"], _targets),
    "concepts": Artifact(
        [CONCEPTS], lambda folder: arrays.table(folder / CONCEPTS, CONCEPTS_SCHEMA).to_pydict()
    ),
    "texts": Artifact(["texts.parquet"], _texts),
    "predictions": Artifact(["predictions.parquet"], _predictions),
    "evaluation": Artifact(
        [
            "external_title.txt",
            "validation/manifest.json",
            "validation_labels/classes.parquet",
            "external_labels/offsets.npy",
        ],
        _evaluation,
    ),
    "model": Artifact(["config.json", "model.safetensors", "training.json"], _model),
    "comparison": Artifact(
        ["comparison.json"], lambda folder: read_comparison(folder / "comparison.json")
    ),
    "rejects": Artifact(
        ["rejects.parquet"],
        lambda folder: arrays.table(folder / "rejects.parquet", REJECTS).to_pydict(),
    ),
    "suspects": Artifact(["suspects.parquet"], _suspects),
    "run": Artifact(["record.json"], record.read),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All artifacts, each in a folder of its name, as their own writers make them."""
    folder = tmp_path_factory.mktemp("made")
    squares = ColouredSquares.write(folder / "squares")
    images = ImageSet.load(squares.images)
    shutil.copytree(squares.images, folder / "images")
    shutil.copytree(squares.labels, folder / "labels")
    shutil.copytree(squares.evaluation, folder / "evaluation")
    shutil.copytree(squares.evaluation / "validation", folder / "evaluation" / EXTERNAL)
    shutil.copytree(
        squares.evaluation / "validation_labels", folder / "evaluation" / EXTERNAL_LABELS
    )
    write_title(folder / "evaluation", "another set")
    for name in ("concepts", "texts", "predictions", "comparison", "rejects", "suspects", "run"):
        (folder / name).mkdir()
    arrays.write(folder / "concepts" / CONCEPTS, of_classes(["red", "blue"], None))
    rows = [
        {"id": id, "title": "a", "description": "b", "tags": "c", "source": "d", "query": "e",
         "rank": 1}
        for id in images.ids()
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=texts.SCHEMA)
    texts.write(folder / "texts" / "texts.parquet", images.identity, [table])
    predicted = comparisons.Images(folder / "predicted", np.array([0, 1, 1]))
    path = folder / "predictions" / "predictions.parquet"
    comparisons.write(path, predicted, predicted.labels, np.array([True, False, True]))
    tiny_models.save(folder / "model", ["a", "b"])
    comparison = Comparison(Names([], {}, {}), np.zeros(0, np.int64), {}, [], [], [])
    write_comparison(folder / "comparison" / "comparison.json", comparison)
    rejects = pa.Table.from_pylist([dict.fromkeys(REJECTS.names, "x")] * 3, schema=REJECTS)
    arrays.write(folder / "rejects" / "rejects.parquet", rejects)
    pq.write_table(pa.table({"rank": [1, 2]}), folder / "suspects" / "suspects.parquet")
    write_record(folder / "run")
    return folder


def _empty(path: Path) -> Iterator[None]:
    path.write_bytes(b"")
    yield


def _cut(path: Path) -> Iterator[None]:
    content = path.read_bytes()
    for end in (len(content) // 2, len(content) - 1):
        path.write_bytes(content[:end])
        yield


def _zeroed(path: Path) -> Iterator[None]:
    path.write_bytes(bytes(path.stat().st_size))
    yield


def _longer(path: Path) -> Iterator[None]:
    path.write_bytes(path.read_bytes() + bytes(8))
    yield


def _changed_header(path: Path) -> Iterator[None]:
    """Change a byte in turn: of JSON the first, of Parquet also the last, where its footer ends."""
    content = path.read_bytes()
    step = 16 if path.parent.name == "model" else 1  # which takes longer to load
    at_ends = {".json": (0,), ".parquet": (*range(128), *range(-8, 0))}
    for at in at_ends.get(path.suffix, range(0, 118, step)):
        changed = bytearray(content)
        changed[at] ^= 0x10 if at % 2 else 1
        path.write_bytes(changed)
        yield


def _missing(path: Path) -> Iterator[None]:
    path.unlink()
    yield


def _folder(path: Path) -> Iterator[None]:
    path.unlink()
    path.mkdir()
    yield
    (path / "file").touch()
    yield


def _html(path: Path) -> Iterator[None]:
    path.write_text("<html><body>404</body></html>")
    yield


def _another_type(path: Path) -> Iterator[None]:
    """Write other JSON, also in place of each value; other arrays; other columns."""
    if path.suffix == ".json":
        for text in ("[]", "5", "{}", "null", '"x"', "[" * 10_000, '{"format": 1}', "1" * 5_000):
            path.write_text(text)
            yield
    elif path.suffix == ".npy":
        array = np.load(path) if path.exists() else np.zeros(3)
        for other in (array.astype("f2") if array.dtype.fields is None else array["shard"],
                      array.reshape(1, -1), array[:-1], np.concatenate([array, array[:1]]),
                      np.array("x"), array[:0]):  # fmt: skip
            np.save(path, other)
            yield
        buffer = io.BytesIO()
        np.savez(buffer, array)
        path.write_bytes(buffer.getvalue())
        yield
    elif path.suffix == ".parquet":
        table = pq.read_table(path)
        first = table.schema.names[0]
        if path.name != "suspects.parquet":  # of which only the rows are counted
            numbers = pa.array(range(len(table)))
            for other in (table.drop_columns([first]), table.set_column(0, first, numbers)):
                pq.write_table(other, path)
                yield
        if (table.schema.metadata or {}).get(b"webly"):  # says how many there must be
            for other in (table.slice(1), pa.concat_tables([table, table.slice(0, 1)])):
                pq.write_table(other, path)
                yield


def _another_value(path: Path) -> Iterator[None]:
    """Put values of other types in place of each value of JSON."""
    if path.suffix != ".json" or path.name == "config.json":  # of which timm takes some
        return
    content = json.loads(path.read_text())
    for name in content:
        for value in (None, [None], {"a": None}, "x"):
            if type(value) is not type(content[name]):
                path.write_text(json.dumps(content | {name: value}))
                yield


DAMAGES: dict[str, Callable[[Path], Iterator[None]]] = {
    "empty": _empty,
    "cut": _cut,
    "zeroed": _zeroed,
    "longer": _longer,
    "a header's byte changed": _changed_header,
    "missing": _missing,
    "a folder": _folder,
    "a page": _html,
    "of another type": _another_type,
    "with another value": _another_value,
}
FILES = [(name, file) for name, artifact in ARTIFACTS.items() for file in artifact.files]


@pytest.mark.parametrize(("name", "file"), FILES)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_ends_in_a_sentence_that_names_the_file(
    made: Path, tmp_path: Path, name: str, file: str, damage: Callable[[Path], Iterator[None]]
) -> None:
    if file == "external_title.txt" and damage in (_cut, _changed_header, _html, _longer):
        pytest.skip("a text like another")
    read = ARTIFACTS[name].read
    folder = tmp_path / name
    shutil.copytree(made / name, folder)
    before = read(folder)

    for _ in damage(folder / file):
        try:
            after: Any = read(folder)
        except UserError as error:
            assert "\n" not in str(error)
            assert str(folder) in str(error)
        else:
            assert after == before


def test_outputs_that_do_not_belong_together_are_refused(made: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    for name in ("classes.parquet", "offsets.npy", "classes.npy", "weights.npy"):
        shutil.copytree(made / "labels", labels, dirs_exist_ok=True)
        shutil.copy(made / "squares" / "train" / "keywords" / name, labels / name)

        with pytest.raises(UserError, match=f"{labels}: damaged: .* rerun what made it"):
            Targets.load(labels)


def test_arrays_stay_memory_mapped(made: Path) -> None:
    targets = Targets.load(made / "labels")

    for array in (targets.offsets, targets.classes, targets.weights):
        assert isinstance(array, np.memmap)
    assert isinstance(ImageSet.load(made / "images").index.base, np.memmap)


def test_empty_targets_and_images_are_whole(tmp_path: Path) -> None:
    images = synthetic.image_set(tmp_path, [])
    targets = synthetic.targets(tmp_path / "labels", images.identity, [], [])

    assert len(images) == len(targets) == 0
