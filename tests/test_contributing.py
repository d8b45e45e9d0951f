"""Follows CONTRIBUTING.md on a copy of the tree, by its code blocks."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.shared.stage.fingerprint import ROOT
from pipelines.run import graph, record
from tests.ingest.layouts import jpeg

RECIPE = """
name: webly-toy
candidates:
  - backbone: resnet10t
    backbone_args: {layers: [1, 1, 1, 1], channels: [8, 8, 8, 8], stem_width: 8}
    pretraining: [nouns]
ingest: {dataset: data, image_side: 24}
tagging: {min_images: 1, max_share: 1.0}
training: {image_size: 16, epochs: 1, epoch_images: 0, batch_size: 8, accumulation_steps: 1}
"""
# Compiles all, and runs what is new and what that reads: the rest is nothing new.
RUN = """
import sys
from pathlib import Path
import yaml
from pipelines.compile import compile_recipe
from pipelines.engine.execution import execute
from pipelines.engine.folder import locked
from pipelines.recipe import load
from pipelines.run import graph
folder = Path.cwd()
compile_recipe(load("toy.yaml"), folder / "pipeline.yaml")
spec, pods = graph.documents(folder / "pipeline.yaml")
tasks = spec["root"]["dag"]["tasks"]
spec["root"]["dag"]["tasks"] = {name: tasks[name] for name in sys.argv[1:]}
(folder / "new.yaml").write_text(yaml.safe_dump_all([spec, pods]))
with locked(folder):
    execute(folder / "new.yaml", folder, [], jobs=1)
"""
NEW = ["lengths", "nouns-pretrain-resnet10t"]


def blocks(heading: str) -> list[tuple[str, str]]:
    """Return language and content of the code blocks of a section."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def follow(heading: str, tree: Path, python: str = "") -> None:
    """Do what a section says; its Python goes to the file `python`."""
    for language, content in blocks(heading):
        match language:
            case "sh":
                subprocess.run(["sh", "-ec", content], cwd=tree, check=True)
            case "python":
                (tree / python).write_text(content)
            case "diff":
                for name, hunks in re.findall(
                    r"^--- (.*)\n((?:[ +@].*\n)+)", content, re.MULTILINE
                ):
                    for hunk in hunks.split("@@\n"):
                        add(tree / name, hunk.splitlines(keepends=True))


def add(file: Path, lines: list[str]) -> None:
    before = "".join(line[1:] for line in lines if line[0] == " ")
    after = "".join(line[1:] for line in lines)
    text = file.read_text()
    assert text.count(before) == 1, f"{file.name}: {before}"
    file.write_text(text.replace(before, after))


def draw(folder: Path) -> None:
    """Write pictures of two classes with captions."""
    rows = []
    for number in range(24):
        name, color = ("zebra", "white") if number % 2 else ("rose", "red")
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{number}.jpg").write_bytes(jpeg((10 * number, 0, 99)))
        rows.append({"path": f"{name}/{number}.jpg", "title": f"A {color} {name} in the garden"})
    with (folder / "captions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "title"])
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.slow
def test_a_stage_and_a_pretraining_that_are_added_by_the_book_run(
    tmp_path: Path, nltk_data: Path
) -> None:
    for folder in ("components", "docker", "pipelines"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    follow("Add a stage", tmp_path, "components/lengths/stage.py")
    follow("Add a pretraining", tmp_path)
    draw(tmp_path / "data")
    (tmp_path / "toy.yaml").write_text(RECIPE)

    places = {f"WEBLY_{name}": str(tmp_path / name) for name in ("STORE", "CHECKPOINTS", "CACHE")}
    command = [sys.executable, "-c", RUN, "ingest", "tagging", *NEW]
    subprocess.run(command, cwd=tmp_path, env=os.environ | places, check=True)

    tasks = {task.name: task for task in record.read(tmp_path).tasks}
    assert {task.status for task in tasks.values()} == {"ran"}
    assert json.loads(Path(tasks["lengths"].outputs["metrics"]).read_text()) == {"words": 6}
    assert (tasks[NEW[1]].step, str(tasks[NEW[1]].candidate)) == ("nouns_pretrain", "resnet10t")
    everything = {task.name: task for task in graph.read(tmp_path / "pipeline.yaml", []).tasks}
    initial = everything["finetune-resnet10t-nouns"].inputs["initial_model"]
    assert initial.task == NEW[1]
    assert '"nouns": {"title": "nouns"' in everything["compare"].parameters["names"]
