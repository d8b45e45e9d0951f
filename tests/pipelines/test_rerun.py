"""What an edit of the project's code runs again, on a copy of the tree."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = """
name: webly-tiny
form: [tagging_tagger]
candidates:
  - backbone: resnet10t
    backbone_args: {layers: [1, 1, 1, 1], channels: [8, 8, 8, 8], stem_width: 8}
    pretraining: [wt, lw]
ingest: {image_side: 32}
tagging: {vocabulary_size: 50, min_images: 2, max_share: 0.9}
ensemble: {}
training: {image_size: 32, epochs: 1, epoch_images: 64, batch_size: 32, accumulation_steps: 1}
"""
WORDS = ["dataset=data", "tagging_tagger=data/tagger"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the project's code with a data set beside it."""
    for folder in ("components", "pipelines", "docker"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    sizes = ("--train-images", "120", "--validation-images", "40", "--test-images", "20")
    python(tmp_path, "-m", "pipelines.demo", "data", *sizes)
    return tmp_path


def python(tree: Path, *argv: str) -> str:
    """Run the copy's code; return what it said."""
    environment = {name: text for name, text in os.environ.items() if "WEBLY_" not in name}
    environment |= {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, *argv], cwd=tree, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def ran(tree: Path) -> set[str]:
    """Run the pipeline; return the tasks that were not taken from the cache."""
    python(tree, "-m", "pipelines.local", "--recipe", "tiny.yaml", "--run", "run", *WORDS)
    record = json.loads((tree / "run" / "record.json").read_text())
    assert {task["status"] for task in record["tasks"]} <= {"ran", "cached"}
    return {task["name"] for task in record["tasks"] if task["status"] == "ran"}


def announced(tree: Path) -> set[str]:
    """Return the tasks that `submit diff` says will run."""
    argv = ["diff", "--recipe", "tiny.yaml", *WORDS, "--against", "run"]
    lines = python(tree, "-m", "pipelines.submit", *argv).splitlines()
    return {line.split()[1] for line in lines if line.startswith("+ ")}


def planned(tree: Path) -> set[str]:
    """Return the tasks that a dry run says will run."""
    argv = ["--recipe", "tiny.yaml", "--run", "run", *WORDS, "--dry-run"]
    lines = python(tree, "-m", "pipelines.local", *argv).splitlines()
    return {line.split()[1] for line in lines if line.startswith("+ ")}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.slow
def test_an_edit_runs_just_what_it_can_change_as_diff_says_before(tree: Path) -> None:
    everything = ran(tree)
    assert {"ingest", "wt-pretrain-resnet10t", "finetune-resnet10t-wt", "ensemble"} <= everything

    shared = tree / "components" / "shared"
    edit(shared / "reports" / "html.py", "_RESOLUTION = 144", "_RESOLUTION = 96")
    edit(shared / "stage" / "retry.py", "2 * pause", "3 * pause")
    edit(tree / "components" / "finetune" / "stage.py", "How to train.", "How it is trained.")
    edit(shared / "training" / "loop.py", "import logging", "# A comment.\nimport logging")
    assert announced(tree) == planned(tree) == set()
    assert ran(tree) == set()

    edit(shared / "training" / "losses.py", "import torch", "import torch\n\nassert torch")
    trained = {task for task in everything if task.startswith(("wt-", "lw-", "finetune"))}
    assert announced(tree) == planned(tree) == {*trained, "ensemble", "compare"}
    assert ran(tree) == {*trained, "ensemble", "compare"}

    outputs = [*(tree / "run" / "artifacts").glob("*/*/entry.json")]
    assert len(outputs) == len(everything) + len(trained) + 2
    python(tree, "-m", "pipelines.clean", "run", "--recipe", "tiny.yaml", *WORDS, "--yes")
    outputs = [*(tree / "run" / "artifacts").glob("*/*/entry.json")]
    assert len(outputs) == len(everything)
    assert planned(tree) == ran(tree) == set()
