"""Where a run's models lie: at paths that stay the same from one rerun to the next.

    runs/demo/best               the best model
    runs/demo/models/CANDIDATE   each candidate's last one
    runs/demo/suspects           the labels that look wrong, if the run has looked for them

They are links into the artifacts, whose folders are named by cache keys.
"""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from components.shared.stage.errors import UserError
from components.shared.storage import formats
from pipelines.run.record import FILE, RunRecord, TaskRecord
from pipelines.steps import STEPS

_FILES = ("config.json", "model.safetensors", "training.json")  # of a model
BEST, MODELS, SUSPECTS = "best", "models", "suspects"


class External(NamedTuple):
    """What an external validation set says, as in `Best`, and what its images are called."""

    title: str
    accuracy: list[float]
    ensemble: list[float]


@dataclass(frozen=True, slots=True)
class Best:
    """The best model of a run.

    Attributes:
        task: The task that trained it.
        accuracy: Its balanced top-1 accuracy and, if they are known, both ends of its interval.
            Of several seeds, the mean's.
        ensemble: The ensemble's, if it is better.
        members: The ensemble's last models: a pattern of their names among the links.
        halved: Whether they are of the half of the validation images that has chosen nothing.
        external: The accuracies on an external validation set, if there is one.
    """

    task: TaskRecord
    accuracy: list[float]
    ensemble: list[float]
    members: str
    halved: bool = False
    external: External | None = None


def best(run: RunRecord) -> Best | None:
    """Return the best model, by the comparison if the run got that far.

    Else it is the model with the best score at its own validation; None if there are no models.
    """
    models = [task for task in run.tasks if _is_classifier(task)]
    for task in run.tasks:
        if task.step == "compare" and "comparison" in task.outputs:
            found = _compared(Path(task.outputs["comparison"]), models)
            if found:
                return found
    scores = {task.name: _score(Path(task.outputs["model"])) for task in models}
    first = max(models, key=lambda task: scores[task.name], default=None)
    return Best(first, [scores[first.name]], [], "") if first else None


def folder_of(path: Path) -> Path:
    """Return the folder of a model, or of a run's best one.

    Raises:
        UserError: There is no model.
    """
    if not path.exists():
        raise UserError(f"{path}: no such folder")
    if (path / FILE).is_file():
        if not (path / BEST).exists():
            raise UserError(f"{path}: this run has no model yet: finish it with pipelines.local")
        return path / BEST
    missing = [name for name in _FILES if not (path / name).is_file()]
    if missing:
        raise UserError(
            f"{path}: neither a run's folder ({FILE}) nor a whole model's: {', '.join(missing)} "
            "missing"
        )
    return path


def link(run: RunRecord, folder: Path) -> None:
    """Let the links in a run's folder lead to what its record names; remove those of earlier runs.

    Raises:
        UserError: Something else is in a link's place.
    """
    links = {}
    for task in run.tasks:
        if _is_classifier(task):  # a later training of a candidate comes later in the record
            links[folder / MODELS / str(task.candidate)] = task.outputs["model"]
        elif task.step == "audit" and SUSPECTS in task.outputs:
            links[folder / SUSPECTS] = task.outputs[SUSPECTS]
    if found := best(run):
        links[folder / BEST] = found.task.outputs["model"]
    for path in [folder / BEST, folder / SUSPECTS, *(folder / MODELS).glob("*")]:
        if path.is_symlink() and path not in links:
            path.unlink()
    for path, target in links.items():
        _link(path, Path(target))


def _link(path: Path, target: Path) -> None:
    """Make a link, or redirect it at once: whoever follows it meanwhile finds a model."""
    if path.exists() and not path.is_symlink():
        raise UserError(f"{path}: the run keeps a link to a result there: move what is there")
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(target, path.parent))
    temporary.replace(path)


def _is_classifier(task: TaskRecord) -> bool:
    """Return whether a task has made a candidate's model; pretraining makes what it begins with."""
    step = STEPS.get(task.step)
    is_candidates = step is not None and step.trains and step.pretraining is None
    return is_candidates and "model" in task.outputs


def _compared(comparison: Path, models: list[TaskRecord]) -> Best | None:
    from components.compare.outputs import read_comparison  # imports scipy

    found = read_comparison(comparison)
    tasks = {(task.step, str(task.candidate)): task for task in models}
    named = {what: (each["step"], each["candidate"]) for what, each in found["best"].items()}
    if named.get("model") not in tasks:  # made by an earlier version, which names none
        return None
    task = tasks[named["model"]]
    model = task.step, str(replace(task.candidate, seed=None))
    step, seed = named.get("ensemble", ("", ""))
    members = (f"*-{seed}" if seed else "*") if step else ""
    accuracies = (_accuracy(found, *model), _accuracy(found, step))
    external = None
    if outside := found["external"]:
        figures = _accuracy(outside, *model), _accuracy(outside, step)
        external = External(outside["title"], *figures)
    return Best(task, *accuracies, members, bool(found["chosen"]), external)


def _accuracy(found: dict[str, Any], step: str, candidate: str = "") -> list[float]:
    """Return a top-1 accuracy and both ends of its interval, as far as they are known."""
    for row in found["accuracy"]:
        if (row["step"], row["candidate"]) == (step, candidate):
            return [row["top1"]["mean"], *row["top1"].get("interval", [])]
    return []


def _score(model: Path) -> float:
    # What reads the whole record imports torch.
    path = model / "training.json"
    with formats.guarded(path):
        return float(json.loads(path.read_bytes())["score"])
