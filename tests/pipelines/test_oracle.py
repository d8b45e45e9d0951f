"""The local engine against kfp's own, on the same compiled file."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from kfp import components, local
from kfp.local import status, subprocess_task_handler
from toy.pipelines import TOTAL, compiled, counting

from pipelines.compile import compile_recipe
from pipelines.demo import webvision
from pipelines.demo.settings import DataSettings
from pipelines.engine.execution import execute
from pipelines.recipe import load
from pipelines.run.record import RunRecord
from tests.untimed import untimed


class HostHandler(subprocess_task_handler.SubprocessTaskHandler):
    """Runs container components on the host, which kfp.local refuses."""

    def validate_image(self, image: str) -> None:
        pass

    def validate_not_container_component(self, full_command: list[str]) -> None:
        pass

    def validate_not_containerized_python_component(self, full_command: list[str]) -> None:
        pass

    def run(self) -> status.Status:
        assert self.full_command[0] == "python"
        ended = subprocess.run([sys.executable, *self.full_command[1:]])
        return status.Status.FAILURE if ended.returncode else status.Status.SUCCESS


def every_kind(first: int = 2, label: str = 'a "quoted" {label}', factor: float = 1.5) -> None:
    """Each kind of parameter, a list of eleven models, an optional input given and left out."""
    parts = [
        counting(f"count-{i}", start=first if i else i, label=label, twice=i % 2 == 0)
        for i in range(11)
    ]
    models = [part.outputs["numbers"] for part in parts]
    TOTAL.task("total", image="toy:1", rerun="", parts=models, factor=factor)
    TOTAL.task(
        "total-bonus", image="toy:1", rerun="", parts=models[1:3], bonus=models[0], factor=2.0
    )


def kfp_local(
    pipeline: Path, root: Path, monkeypatch: pytest.MonkeyPatch, **arguments: str
) -> dict[str, bytes]:
    """Run a compiled file by kfp.local; return the contents of its outputs by path."""
    monkeypatch.setattr(subprocess_task_handler, "SubprocessTaskHandler", HostHandler)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root))
    components.load_component_from_file(str(pipeline))(**arguments)
    (run,) = root.iterdir()
    return {
        file.relative_to(run).as_posix(): file.read_bytes()
        for file in run.rglob("*")
        if file.is_file() and not file.name.endswith(("executor_output.json", "metadata.json"))
    }


def made(run: RunRecord) -> dict[str, bytes]:
    """Return the contents of the outputs of our run by the same paths."""
    return {
        (Path(task.name, output) / file.relative_to(folder)).as_posix(): file.read_bytes()
        for task in run.tasks
        for output, folder in task.outputs.items()
        for file in (Path(folder), *Path(folder).rglob("*"))
        if file.is_file()
    }


@pytest.mark.slow
def test_both_engines_make_the_same_outputs_of_one_compiled_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = compiled(every_kind, tmp_path / "pipeline.yaml")

    theirs = kfp_local(pipeline, tmp_path / "kfp", monkeypatch)
    run = execute(pipeline, tmp_path / "ours", [], jobs=2)

    ours = made(run)
    assert ours == theirs
    assert json.loads(ours["total-bonus/total"])[1] == 2.0 * (9 + 18 + 6)


RECIPE = """
name: webly-tiny
form: [tagging_tagger]
candidates:
  - backbone: resnet10t
    backbone_args: {layers: [1, 1, 1, 1], channels: [16, 16, 16, 16], stem_width: 8}
    pretraining: [wt]
ingest: {image_side: 32}
tagging: {vocabulary_size: 50, min_images: 2, max_share: 0.9}
training: {image_size: 32, epochs: 1, epoch_images: 64, batch_size: 32, accumulation_steps: 1}
ensemble: {}
"""


@pytest.mark.slow
def test_both_engines_train_the_same_models_by_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # The image sets name their shards: the same ones.
    monkeypatch.setenv("WEBLY_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("WEBLY_CHECKPOINTS", str(tmp_path / "checkpoints"))
    data = tmp_path / "data"
    webvision.write(data, DataSettings(train_images=240, validation_images=40, test_images=20))
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    pipeline = tmp_path / "pipeline.yaml"
    compile_recipe(load(str(tmp_path / "tiny.yaml")), pipeline)
    form = {"dataset": str(data), "tagging_tagger": str(data / "tagger")}

    theirs = kfp_local(pipeline, tmp_path / "kfp", monkeypatch, **form)
    overrides = [f"{name}={value}" for name, value in form.items()]
    ours = made(execute(pipeline, tmp_path / "ours", overrides, jobs=2))

    assert set(ours) == set(theirs)
    # Reports, metrics and the models' records tell how long it took, as others do in part.
    timed = re.compile("/(report|metrics)$|training.json$")
    differing = {
        name
        for name in ours
        if not timed.search(name)
        and untimed(Path(name).name, ours[name]) != untimed(Path(name).name, theirs[name])
    }
    assert not differing
    assert "finetune-resnet10t-wt/model/model.safetensors" in ours
