"""The steps of the method: which stage each one runs, and whose values it inherits."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from components.compare.component import compare
from components.ensemble.component import ensemble
from components.finetune.component import finetune
from components.ingest.component import ingest
from components.lw_pretrain.component import lw_pretrain
from components.multitask_pretrain.component import multitask_pretrain
from components.pseudo_label.component import pseudo_label
from components.shared.stage.container import Component
from components.shared.stage.interface import Argument, Value, arguments
from components.tagging.component import tagging
from components.weighting.component import weighting
from components.wt_pretrain.component import wt_pretrain

# Candidates and seeds ask again and again, and the answer lies in docstrings.
_arguments = functools.cache(arguments)


def _text(name: str, help: str, default: str) -> Argument:
    return Argument(name, help, None, str, (), default)


def _number(name: str, help: str, default: int) -> Argument:
    return Argument(name, help, None, int, (), default)


# What each step has besides its stage's parameters. KFP reads resources only as texts.
_RERUN = _text("rerun", "Any text; another one runs the stage again.", "")
_POD = [
    _text("cpu", "CPU cores of the pod.", "4"),
    _text(
        "memory", "Memory that the pod may use, with 16Gi of shared memory for training.", "32Gi"
    ),
    _number("retries", "How often KFP starts the pod again after it has failed.", 2),
    _number("timeout_hours", "After so many hours a try is ended.", 72),
    _text("queue", "Kueue's queue that the pod waits in; or none.", "none"),
]
_DISK = [
    _text("disk", "Size of the pod's disk: two windows and the validation set, or more.", "128Gi"),
    _text("disk_class", "Its storage class; or default.", "default"),
]
_GPUS = _text("gpus", "GPUs of the pod; 0 trains on the CPU.", "1")
_NODES = _text("num_nodes", "Nodes that the stage runs on, each with so many GPUs.", "1")
_EMBEDDING_GPUS = _text("gpus", "GPUs of the pod, 0 or 1, for similarity=embedding.", "0")
# What the pods get; the stages do not know of it.
POD = tuple(argument.name for argument in (*_POD, *_DISK, _GPUS, _NODES))
# Of these, what KFP takes only while compiling: no field of the form.
CONSTANT = ("retries", "timeout_hours", "queue", "disk", "disk_class")
# The candidates say these, not the steps.
OF_CANDIDATES = ("backbone", "backbone_args", "initial_weights", "names")


@dataclass(frozen=True, slots=True)
class Step:
    """A stage in one of its roles in the method.

    Attributes:
        component: The stage; None for a group, which only gives values to those that inherit it.
        inherits: The step whose values hold where the recipe gives this one none.
        defaults: Values that go before inherited ones.
    """

    component: Component | None
    inherits: str | None = None
    defaults: Mapping[str, Value] = field(default_factory=dict)

    def arguments(self) -> dict[str, Argument]:
        """Return the parameters that a recipe may set, by name."""
        if self.component is None:
            found = [argument for argument in _arguments(finetune.stage) if argument.settings]
            found += [*_POD, *_DISK, _GPUS, _NODES]
        else:
            found = [a for a in _arguments(self.component.stage) if a.artifact is None]
            found += [_RERUN, *_POD]
            trains = self.component.target == "train"
            found += _DISK if trains or self.component is ingest else []
            found += [_GPUS] if trains else []
            found += [_NODES] if trains and self.component is not ensemble else []
            found += [_EMBEDDING_GPUS] if self.component is weighting else []
        return {argument.name: argument for argument in found if argument.name not in OF_CANDIDATES}


STEPS = {
    "ingest": Step(ingest),
    "tagging": Step(tagging),
    "weighting": Step(weighting),
    "training": Step(None),
    "wt_pretrain": Step(wt_pretrain, inherits="training"),
    "lw_pretrain": Step(lw_pretrain, inherits="training"),
    "multitask_pretrain": Step(multitask_pretrain, inherits="training"),
    "finetune": Step(finetune, inherits="training"),
    "finetune_large": Step(
        finetune,
        inherits="finetune",
        # A converged classifier goes on learning at a higher resolution (method §1, tricks).
        defaults={"keep_head": True, "continue_learning_rate": True},
    ),
    "pseudo_label": Step(pseudo_label),
    "finetune_again": Step(finetune, inherits="finetune"),
    "finetune_again_large": Step(finetune, inherits="finetune_large"),
    "ensemble": Step(ensemble),
    "compare": Step(compare, defaults={"cpu": "1", "memory": "4Gi"}),
}
# A recipe has these only if it has a section for them.
OPTIONAL = ("finetune_large", "finetune_again", "finetune_again_large", "ensemble")


def field_name(step: str, parameter: str) -> str:
    """Return the name of the pipeline parameter that governs a step's parameter."""
    shared = step == "ingest" and parameter in ("dataset", "dataset_version")
    return parameter if shared else f"{step}_{parameter}"


def split_task(task: str) -> tuple[str, str]:
    """Return the step and the candidate (or backbone, or nothing) in a task's name."""
    for step in sorted(STEPS, key=len, reverse=True):
        prefix = step.replace("_", "-")
        if task == prefix or task.startswith(f"{prefix}-"):
            return step, task[len(prefix) + 1 :]
    return task, ""
