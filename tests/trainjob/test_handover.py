import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.shared.stage import container
from components.shared.stage.errors import StorageError, UserError
from components.shared.stage.interface import (
    InputDataset,
    InputModel,
    InputModels,
    OutputHTML,
    OutputMetrics,
    OutputModel,
)
from components.shared.storage import filesystem
from components.trainjob.handover import Handover


def join(
    texts: InputDataset,
    models: InputModels,
    model: OutputModel,
    report: OutputHTML,
    metrics: OutputMetrics,
    start: InputModel | None = None,
    *,
    size: int = 1,
) -> None:
    """Join.

    Args:
        texts: A folder.
        models: Files.
        model: A folder.
        report: A page.
        metrics: A number.
        start: A file.
        size: A number.
    """
    (model / "deep").mkdir(parents=True, exist_ok=True)
    (model / "names").write_text((texts / "part" / "names").read_text())
    (model / "deep" / "weights").write_text(",".join(path.read_text() for path in models))
    report.write_text(f"<p>{start}</p>")
    metrics.write_text(json.dumps({"size": size}))


def artifact(path: Path, **other: Any) -> dict[str, Any]:
    return {"artifacts": [{"name": path.name, "uri": str(path), "metadata": {}, **other}]}


@pytest.fixture
def executor_input(tmp_path: Path) -> dict[str, Any]:
    """What KFP's launcher writes, with eleven models, one of them with a path of its own."""
    given = tmp_path / "given"
    (given / "texts" / "part").mkdir(parents=True)
    (given / "texts" / "part" / "names").write_text("Größe")
    for number in range(11):
        (given / f"model-{number}").write_text(str(number))
    models = {f"models_{number}": artifact(given / f"model-{number}") for number in range(10)}
    custom = artifact(given / "elsewhere", customPath=str(given / "model-10"))
    made = {name: artifact(tmp_path / "made" / name) for name in ("model", "report", "metrics")}
    made["metrics"]["artifacts"][0]["metadata"] = {"display_name": "metrics"}
    return {
        "inputs": {
            "artifacts": {"texts": artifact(given / "texts"), **models, "models_10": custom},
            "parameterValues": {"size": 7, "num_nodes": "2"},
        },
        "outputs": {
            # KFP adds the last one, which no stage makes.
            "artifacts": made | {"executor-logs": artifact(tmp_path / "made" / "executor-logs")},
            "outputFile": str(tmp_path / "made" / "output" / "executor_output.json"),
        },
    }


def run(handover: Handover, folder: Path) -> None:
    """Do what a node does."""
    request = handover.take(folder)
    container.run(join, request)
    handover.give_back(request)


def test_a_stage_elsewhere_leaves_what_it_would_leave_here(
    location: str, tmp_path: Path, executor_input: dict[str, Any]
) -> None:
    handover = Handover(f"{location}/trainjobs/job")
    handover.give(executor_input)
    assert not handover.take_back(executor_input)
    run(handover, tmp_path / "node")
    assert handover.take_back(executor_input)

    made = tmp_path / "made"
    assert (made / "model" / "names").read_text() == "Größe"
    assert (made / "model" / "deep" / "weights").read_text() == ",".join(map(str, range(11)))
    assert (made / "report").read_text() == "<p>None</p>"
    there = {path.relative_to(made) for path in made.rglob("*")}
    output = made / "output" / "executor_output.json"
    written = json.loads(output.read_text())
    container.run(join, executor_input)
    assert written == json.loads(output.read_text())
    assert there == {path.relative_to(made) for path in made.rglob("*")}
    assert written["artifacts"]["metrics"]["artifacts"] == [
        {
            "name": "metrics",
            "uri": str(made / "metrics"),
            "metadata": {"display_name": "metrics", "size": 7},
        }
    ]


def test_outputs_are_given_back_with_the_last_of_them(
    location: str, tmp_path: Path, executor_input: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    handover = Handover(location)
    handover.give(executor_input)

    def failing(path: Path, uri: str) -> None:
        if uri.endswith("outputs/metrics"):
            raise StorageError("no answer")
        put(path, uri)

    put = filesystem.put
    with monkeypatch.context() as broken, pytest.raises(StorageError):
        broken.setattr(filesystem, "put", failing)
        run(handover, tmp_path / "first")
    assert not handover.is_given_back() and not handover.take_back(executor_input)
    run(handover, tmp_path / "second")
    assert handover.is_given_back() and handover.take_back(executor_input)


@pytest.mark.parametrize("removed", ["metrics", "model/names"])
def test_outputs_that_were_removed_while_they_were_given_back_are_made_again(
    location: str, tmp_path: Path, executor_input: dict[str, Any], removed: str
) -> None:
    handover = Handover(location)
    handover.give(executor_input)
    run(handover, tmp_path / "first")
    filesystem.remove(f"{location}/outputs/{removed}")

    assert not handover.take_back(executor_input)
    handover.give(executor_input)
    assert not handover.is_given_back(), "new nodes would end at once"
    run(handover, tmp_path / "second")
    assert handover.take_back(executor_input)


def test_a_node_without_a_handover_says_so(location: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{location}: no handover there"):
        Handover(location).take(tmp_path / "node")


def test_each_heartbeat_differs_from_the_last(location: str) -> None:
    handover = Handover(location)
    assert handover.last_heartbeat() is None
    handover.beat()
    first = handover.last_heartbeat()
    handover.beat()
    assert None is not first != handover.last_heartbeat() is not None


def test_a_removed_hand_over_leaves_nothing(location: str, executor_input: dict[str, Any]) -> None:
    handover = Handover(f"{location}/job")
    handover.give(executor_input)
    handover.beat()
    handover.remove()
    assert list(filesystem.listed(location)) == []


def test_the_launchers_image_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; import components.trainjob.handover; "
        "print({'torch', 'numpy', 'boto3'} & sys.modules.keys())"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"
