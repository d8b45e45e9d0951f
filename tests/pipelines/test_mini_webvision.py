"""The recipe `mini-webvision`, shrunk: two validation sets, of which the second chooses nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from components.shared.data import predictions
from components.shared.data.evaluation import Evaluation
from components.shared.stage import metadata
from components.shared.stage.errors import UserError
from components.shared.training import models
from pipelines import local
from pipelines.compile import compile_recipe
from pipelines.recipe import FOLDER, load
from pipelines.run import graph, record
from pipelines.task_checks import check_here
from tests import mini_webvision, tiny_models


def shrunk(folder: Path, imagenet: Path) -> Path:
    """Write the recipe with a tiny network and few classes, and a short training."""
    content = yaml.safe_load((FOLDER / "mini-webvision.yaml").read_text())
    args = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 24], "stem_width": 8}
    content["candidates"] = [
        {"backbone": "resnet10t", "backbone_args": args, "pretraining": ["wt", "lw", "none"]}
    ]
    for step in content:
        if isinstance(content[step], dict) and "gpus" in content[step]:
            content[step]["gpus"] = "0"
    content["ingest"] |= {"external_validation": str(imagenet), "num_classes": 3}
    content["tagging"] |= {"min_images": 1, "max_share": 1}
    content["ensemble"] |= {"views": "one"}
    content["training"] |= {"image_size": 32, "epochs": 2, "decay_epochs": 2, "batch_size": 8}
    path = folder / "mini-webvision.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.slow
def test_classifiers_are_measured_on_imagenets_images_as_well(
    nltk_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    webvision, imagenet = mini_webvision.write(tmp_path)
    run = tmp_path / "run"
    recipe = shrunk(tmp_path, imagenet)

    with pytest.raises(SystemExit) as ended:
        local.main(["--recipe", str(recipe), "--run", str(run), f"dataset={webvision}"])

    assert not ended.value.code
    assert "external    9 images of imagenet: a folder per class" in caplog.text
    tasks = {task.name: task.outputs for task in record.read(run).tasks}
    evaluation = Evaluation.load(Path(tasks["ingest"]["evaluation"]))
    external = evaluation.external
    assert external
    folders = [Path(each["model"]) for name, each in tasks.items() if name.startswith("finetune-")]
    means = {}
    for name in (name for name in tasks if name.startswith(("finetune-", "ensemble"))):
        path = Path(tasks[name]["predictions"])
        identity, labels, found, _ = predictions.read(path, "external")
        assert identity == external.images.identity
        assert labels.tolist() == external.labels.classes.tolist()
        top1 = float(np.mean(found.classes[:, 0] == labels))
        means[name.removeprefix("finetune-").removeprefix("ensemble")] = top1
        assert predictions.read(path)[0] == evaluation.images.identity
        of = folders
        if name.startswith("finetune-"):
            of = [Path(tasks[name]["model"])]
            measured = models.read_record(*of).metrics
            assert measured["external_top1"] == pytest.approx(top1)
            assert measured["external_top5"] == 1
            assert "On the images of imagenet: balanced" in Path(tasks[name]["report"]).read_text()
        expected = tiny_models.naive_probabilities(external.images, of)
        named = np.take_along_axis(expected, found.classes.astype(np.int64), axis=1)
        np.testing.assert_allclose(found.probabilities, named, atol=1e-5)
        shown = metadata.read(path if len(of) > 1 else of[0])
        assert shown["external_top1_percent"] == pytest.approx(100 * top1, rel=1e-3)
    comparison = json.loads(Path(tasks["compare"]["comparison"]).read_text())["external"]
    assert comparison["title"] == "imagenet"
    rows = {row["candidate"]: row["top1"]["mean"] for row in comparison["accuracy"]}
    assert rows == pytest.approx(means)
    assert all("interval" in row["top1"] for row in comparison["accuracy"])
    summary = Path(tasks["compare"]["summary"]).read_text()
    assert "\n## Accuracy on imagenet\n" in summary
    assert "- **Accuracy on imagenet:** " in summary
    assert "imagenet: " in caplog.text.partition("best model")[2]


def test_the_recipe_has_what_papers_report(tmp_path: Path) -> None:
    compile_recipe(load("mini-webvision"), tmp_path / "compiled.yaml")
    given = ["dataset=s3://mine/webvision", "ingest_external_validation=s3://mine/imagenet"]
    tasks = {task.name: task for task in graph.read(tmp_path / "compiled.yaml", given).tasks}

    ingest = tasks["ingest"].parameters
    assert (ingest["sources"], ingest["num_classes"]) == ("google", 50)
    assert ingest["external_validation"] == "s3://mine/imagenet"
    trainings = [task.parameters for task in tasks.values() if "backbone" in task.parameters]
    assert {each["backbone"] for each in trainings} == {"resnet50"}
    assert {each["image_size"] for each in trainings} == {224}
    assert "initial-model-resnet50" not in tasks


def test_an_external_validation_set_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    webvision, imagenet = mini_webvision.write(tmp_path)
    compile_recipe(load(str(shrunk(tmp_path, imagenet))), tmp_path / "compiled.yaml")
    missing = f"ingest_external_validation={tmp_path}/nowhere"
    pipeline = graph.read(tmp_path / "compiled.yaml", [f"dataset={webvision}", missing])

    with pytest.raises(UserError) as raised:
        check_here(pipeline.tasks)

    assert f"ingest: external_validation={tmp_path}/nowhere: no such folder" in str(raised.value)
