"""The recipe `photos`, shrunk: from a hub to a classifier, as somebody with photographs would."""

import csv
import random
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from components.shared.training import models
from pipelines import local, predict, trial
from pipelines.compile import compile_recipe
from pipelines.recipe import FOLDER, load
from pipelines.run import graph, record
from tests import hub as hubs
from tests.conftest import SHARED
from tests.hub import Hub

NAME = "timm/resnet10t.c3_in1k"
CLASSES = ("beach", "forest", "street", "garden", "kitchen", "harbour", "field", "square")
_COUNT = 200


def photographs(archive: Path) -> Iterator[tuple[str, str, Image.Image]]:
    """Yield real photographs with what they show, and a class, which is made up."""
    with tarfile.open(archive) as tar:
        for number, member in enumerate(tar.getmembers()[:_COUNT]):
            shown = Path(member.name).stem.split("_", 1)[1].replace("_", " ")
            file = tar.extractfile(member)
            assert file is not None
            yield CLASSES[number % len(CLASSES)], shown, Image.open(file).convert("RGB")


def drawn() -> Iterator[tuple[str, str, Image.Image]]:
    dice = random.Random(1)
    for number in range(_COUNT):
        kind = number % len(CLASSES)
        colour = tuple(dice.randrange(40) + 200 * (kind >> channel & 1) for channel in range(3))
        yield CLASSES[kind], f"a {CLASSES[kind]} in the sun", Image.new("RGB", (300, 240), colour)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Folders of classes with a table of captions; drawn where there are no photographs."""
    archive = SHARED / "data" / "photos.tar"
    pictures = photographs(archive) if archive.is_file() else drawn()
    folder = tmp_path / "data"
    rows = ["filename,caption"]
    for number, (kind, shown, picture) in enumerate(pictures):
        path = folder / kind / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.thumbnail((300, 300))
        picture.save(path)
        rows.append(f"{kind}/{path.name},a photograph of {shown}")
    (folder / "captions.csv").write_text("\n".join(rows))
    return folder


def shrunk(folder: Path) -> Path:
    """Write the recipe with a tiny network, for crops of the same size, and a short training."""
    content = yaml.safe_load((FOLDER / "photos.yaml").read_text())
    (candidate,) = content["candidates"]
    candidate["backbone"] = "resnet10t"
    for step in content:
        if isinstance(content[step], dict) and "gpus" in content[step]:
            content[step]["gpus"] = "0"
    content["tagging"]["min_images"] = 1  # each of the photographs shows something else
    content["training"] |= {"epochs": 1, "decay_epochs": 1, "image_size": 128, "batch_size": 16}
    path = folder / "photos.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def completed(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        local.main(argv)
    assert not ended.value.code


@pytest.mark.slow
def test_photographs_become_classifiers_that_started_from_imagenet(
    data: Path,
    nltk_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    run = tmp_path / "run"
    argv = ["--recipe", str(shrunk(tmp_path)), "--run", str(run), f"dataset={data}"]
    with Hub() as hub:
        hub.repositories = {NAME: hubs.write(tmp_path / "repository")}
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setattr(trial, "_MOST_SECONDS", 600.0)
        completed(argv)

    assert re.search(r"time +about .* on this machine's \d+ cores.*: 6 trainings see", caplog.text)
    tasks = {task.name: task for task in record.read(run).tasks}
    assert {task.status for task in tasks.values()} == {"ran"}
    given = load_file(tmp_path / "repository" / "model.safetensors")
    folders = {path.parts[-4]: path.parent for path in run.glob("artifacts/*/*/*/training.json")}
    lineages = {
        name: [each.what for each in models.read_record(folder).lineage]
        for name, folder in folders.items()
    }
    assert lineages["finetune-resnet10t-none"] == [
        f"ImageNet weights {NAME}",
        "finetune on given labels 128 px",
    ]
    assert [what.split()[0] for what in lineages["finetune-resnet10t-wt"]] == [
        *("ImageNet", "wt_pretrain", "finetune"),
    ]
    fetched = load_file(folders["initial-model-resnet10t"] / "model.safetensors")
    assert all(torch.equal(fetched[name], given[name]) for name in given)

    with (run / "suspects" / "suspects.csv").open(newline="") as file:
        suspects = list(csv.DictReader(file))
    assert all((data / row["id"]).is_file() for row in suspects)
    new = tmp_path / "new"
    new.mkdir()
    for kind in CLASSES:
        shutil.copy(next((data / kind).glob("*.jpg")), new / f"{kind}.jpg")
    with pytest.raises(SystemExit, match="0"):
        predict.main([str(run), "--images", str(new), "--output", str(tmp_path / "new.csv")])
    with (tmp_path / "new.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {Path(row["path"]).stem for row in rows} == {*CLASSES}
    assert {row["class_1"] for row in rows} <= {*CLASSES}

    # The hub is gone, and nobody asks it again; nor is a trial taken.
    monkeypatch.setattr(trial, "measured", None)
    completed(argv)
    assert {task.status for task in record.read(run).tasks} == {"cached"}


def test_the_recipe_is_for_photographs_on_one_gpu() -> None:
    content = yaml.safe_load((FOLDER / "photos.yaml").read_text())
    assert content["training"]["image_size"] <= content["ingest"]["image_side"] == 256
    assert content["training"]["gpus"] == content["ensemble"]["gpus"] == "1"


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        # Five trainings of ten epochs, at ten images per second.
        (2_000, "about 3 h 20 min on .*: 6 trainings see 120,000 images, 10.0 per second"),
        (0, "about 1 h 40 min for each 1,000 images of the data set"),
    ],
)
def test_the_forecast_is_epochs_times_images_by_what_was_measured(
    images: int, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_recipe(load("photos"), tmp_path / "compiled.yaml")
    pipeline = graph.read(tmp_path / "compiled.yaml", [])
    asked = []
    monkeypatch.setattr(trial, "measured", lambda training: asked.append(training) or 10.0)

    given = pipeline, {"ingest": images}, tmp_path / "trial.json"
    first, second = [*trial.forecast(*given)], [*trial.forecast(*given)]

    assert len(first) == 2 and first[1:] == second
    assert re.search(expected, second[0])
    assert asked == [("resnet50", "{}", 224, 64)]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"a": "x"}', b"\xff"])
def test_rates_that_are_damaged_are_measured_again(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_recipe(load("photos"), tmp_path / "compiled.yaml")
    pipeline = graph.read(tmp_path / "compiled.yaml", [])
    monkeypatch.setattr(trial, "measured", lambda training: 10.0)
    (tmp_path / "trial.json").write_bytes(content)

    assert len([*trial.forecast(pipeline, {}, tmp_path / "trial.json")]) == 2
    assert len([*trial.forecast(pipeline, {}, tmp_path / "trial.json")]) == 1


@pytest.mark.parametrize("training", ["", "[", "5", "[1]", "{}"])
def test_a_trial_of_nothing_ends_in_a_line(training: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        trial.main([training])

    (line,) = caplog.messages
    assert line.startswith(f"{training!r}: damaged") and "\n" not in line


def test_small_pictures_are_not_worth_a_trial(tmp_path: Path) -> None:
    compile_recipe(load("sample"), tmp_path / "compiled.yaml")
    pipeline = graph.read(tmp_path / "compiled.yaml", [])

    assert [*trial.forecast(pipeline, {"ingest": 9}, tmp_path / "trial.json")] == []
