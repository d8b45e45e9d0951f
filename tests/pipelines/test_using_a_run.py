"""From photographs to predictions, as people do it: by the commands."""

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.run import record
from tests.synthetic import coloured_squares

ROOT = Path(__file__).parents[2]
RECIPE = """
name: webly-tiny
form: [finetune_epochs]
candidates:
  - backbone: resnet10t
    backbone_args: {layers: [1, 1, 1, 1], channels: [8, 8, 8, 8], stem_width: 8}
ingest: {image_side: 48}
finetune: {epochs: 4}
training: {image_size: 32, epoch_images: 64, batch_size: 16, accumulation_steps: 1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs in a folder per class, with captions, and a recipe."""
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    names = ["red", "green", "blue"]
    pictures, labels = coloured_squares(90, 48, seed=0)
    captions = ["path,title"]
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        split = "val" if number % 9 < 3 else "train"
        path = Path(split, names[label], f"{number}.jpg")
        (tmp_path / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / "photos" / path)
        captions.append(f"{path},a {names[label]} square")
    (tmp_path / "photos" / "captions.csv").write_text("\n".join(captions))
    return tmp_path


def command(folder: Path, *argv: str) -> list[str]:
    """Run a command of the project in a folder; return what it said."""
    environment = {name: text for name, text in os.environ.items() if "WEBLY_" not in name}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", *argv], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr.splitlines()


@pytest.mark.slow
def test_a_run_ends_with_the_command_that_uses_its_best_model(
    folder: Path, nltk_data: None
) -> None:
    run = ["pipelines.local", "--recipe", "tiny.yaml", "--run", "runs/tiny", "dataset=photos"]

    lines = command(folder, *run)

    ending = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in lines[-4:])
    assert list(ending) == ["best model", "accuracy", "use it", "report"]
    assert ending["best model"] == "runs/tiny/best: resnet10t, scratch, finetune"
    assert re.fullmatch(r"[\d.]+ % \[[\d.]+, [\d.]+\] \(95 % interval\)", ending["accuracy"])
    assert (folder / ending["report"]).is_file()
    assert max(map(len, lines[-4:])) <= 80

    # What the model sees in the validation images is what it saw there in the run.
    _, _, *argv = shlex.split(ending["use it"].replace("FOLDER", "photos/val"))
    command(folder, "pipelines.predict", *argv[1:], "--output", "table.csv")
    with (folder / "table.csv").open(newline="") as file:
        found = {row["path"].removeprefix("photos/"): row for row in csv.DictReader(file)}
    (task,) = [task for task in record.read(folder / "runs/tiny").tasks if task.step == "finetune"]
    rows = pq.read_table(task.outputs["predictions"]).to_pylist()
    names = [found[next(iter(found))][f"class_{place}"] for place in (1, 2, 3)]
    assert sorted(names) == ["blue", "green", "red"]
    assert len(found) == len(rows) == 30
    for row in rows:
        assert float(found[row["id"]]["probability_1"]) == pytest.approx(
            row["probabilities"][0], abs=1e-4
        )

    (folder / ending["report"]).unlink()
    command(folder, "pipelines.report", "runs/tiny")
    assert (folder / ending["report"]).is_file()

    before = (folder / "runs/tiny/best").resolve()
    command(folder, *run, "finetune_epochs=1")
    assert (folder / "runs/tiny/best").resolve() != before
    assert (folder / "runs/tiny/models/resnet10t-none").resolve() != before
