"""The local engine against kfp's own, on the same compiled file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kfp import components, local
from kfp.local import status, subprocess_task_handler
from toy.pipelines import TOTAL, compiled, counting

from pipelines.local import execute


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


def kfp_local(pipeline: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Run a compiled file by kfp.local; return the contents of its outputs by path."""
    monkeypatch.setattr(subprocess_task_handler, "SubprocessTaskHandler", HostHandler)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root))
    components.load_component_from_file(str(pipeline))()
    (run,) = root.iterdir()
    return contents(run)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the contents of all outputs, by task and path."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name not in ("executor_output.json", "entry.json")
    }


def test_both_engines_make_the_same_outputs_of_one_compiled_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = compiled(every_kind, tmp_path / "pipeline.yaml")

    theirs = kfp_local(pipeline, tmp_path / "kfp", monkeypatch)
    run = execute(pipeline, tmp_path / "ours", [], jobs=2)

    ours = {
        f"{task.name}/{output}{path and '/' + path}": content
        for task in run.tasks
        for output, place in task.outputs.items()
        for path, content in (
            contents(Path(place)).items()
            if Path(place).is_dir()
            else [("", Path(place).read_bytes())]
        )
    }
    assert ours == theirs
    assert json.loads(ours["total-bonus/total"])[1] == 2.0 * (9 + 18 + 6)
