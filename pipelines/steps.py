"""The steps of the method: which stage each one runs, whose values it inherits, how it shows."""

import functools
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple

from components.audit.component import audit
from components.compare.component import compare
from components.ensemble.component import ensemble
from components.finetune.component import finetune
from components.ingest.component import ingest
from components.initial_model.component import initial_model
from components.lw_pretrain.component import lw_pretrain
from components.multitask_pretrain.component import multitask_pretrain
from components.pseudo_label.component import pseudo_label
from components.shared.reports.titles import SCRATCH
from components.shared.stage.container import Component
from components.shared.stage.interface import Argument, Range, Rule, Value, arguments
from components.tagging.component import tagging
from components.weighting.component import weighting
from components.wt_pretrain.component import wt_pretrain
from pipelines import kubernetes_values as kubernetes

# Called for every candidate and seed, and it parses docstrings.
_arguments = functools.cache(arguments)


@dataclass(frozen=True, slots=True)
class PodSetting(Argument):
    """A setting of a task's pod: like a stage's parameter, but it may be a list or a mapping."""

    def _typed(self, value: object) -> Any:
        return value if self.type in (dict, list) else Argument._typed(self, value)


def _setting(name: str, help: str, default: Any, *rules: Rule) -> PodSetting:
    return PodSetting(name, help, None, type(default), (), default, rules=rules)


# What each step has besides its stage's parameters. KFP takes resources only as strings.
_RERUN = _setting("rerun", "Any text; a new one reruns the stage and all that follows.", "")
_COMMON = (
    _setting(
        "retries",
        "How often a stage that fails is retried.",
        2,
        Range(at_least=0, at_most=100),
    ),
    _setting(
        "timeout_hours",
        "Time limit of a pod, in hours.",
        72,
        Range(at_least=1, at_most=8_760),  # a year
    ),
    _setting("queue", "Kueue queue that the pod waits in; or none.", "none", kubernetes.queue),
    _setting(
        "queue_priority",
        "Kueue's priority class of the pod in its queue; or none.",
        "none",
        kubernetes.queue,
    ),
    _setting(
        "pull_secret",
        "Secret with the registry's password; or none.",
        "none",
        kubernetes.object_name,
    ),
    _setting(
        "node_selector",
        "Labels of the nodes that the pod may run on.",
        {},
        kubernetes.node_selector,
    ),
    _setting("tolerations", "Kubernetes tolerations for their taints.", [], kubernetes.tolerations),
)
_DISK_CLASS = _setting(
    "disk_class",
    "Where the disk comes from: node is the node's own, default the cluster's default storage "
    "class; or a class's name.",
    "node",
    kubernetes.object_name,
)
_GPU_TYPE = _setting(
    "gpu_type", "Resource name of the nodes' GPUs.", "nvidia.com/gpu", kubernetes.resource
)
_POD = (
    _setting("cpu", "CPU cores of the pod.", "4", kubernetes.cpu),
    _setting(
        "memory",
        "Memory limit of the pod, for training including 16Gi of shared memory.",
        "32Gi",
        kubernetes.memory,
    ),
    *_COMMON,
)
_DISK_POD = (
    *_POD,
    _setting(
        "disk",
        "Size of the pod's disk: at least two windows and the validation set.",
        "128Gi",
        kubernetes.disk,
    ),
    _DISK_CLASS,
)
_EMBEDDING_POD = (
    *_POD,
    _GPU_TYPE,
    _setting("gpus", "GPUs of the pod, 0 or 1, for similarity=embedding.", "0", kubernetes.count),
)
_GPU_POD = (
    *_DISK_POD,
    _GPU_TYPE,
    _setting(
        "gpus", "GPUs of the pod, one process each; 0 trains on the CPU.", "1", kubernetes.count
    ),
)
_GPU_NODES = (
    *_GPU_POD,
    _setting(
        "num_nodes",
        "Nodes that the stage runs on, each with this many GPUs.",
        "1",
        kubernetes.nodes,
    ),
)
# Settings of the pods, which the stages do not see.
POD = tuple(argument.name for argument in _GPU_NODES)
# Those that KFP needs at compile time: they cannot be fields of the form.
CONSTANT = (
    *("retries", "timeout_hours", "queue", "queue_priority", "pull_secret"),
    *("disk", "disk_class"),
)
# Those that decide what tasks read: they cannot be fields either.
WIRING = ("with_texts",)
# Set by the candidates or the pipeline, not by the steps.
OF_CANDIDATES = ("backbone", "backbone_args", "initial_weights", "names", "silent_weight")


class Pretraining(NamedTuple):
    """A way to pretrain a candidate.

    Attributes:
        name: Its name in recipes and in the names of tasks.
        title: Its display name.
        color: The candidates' colour in plots.
        about: What it is, in a sentence for reports.
    """

    name: str
    title: str
    color: str
    about: str


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A stage in one of its roles in the method.

    Attributes:
        component: The stage; None for a group, which only has values for others to inherit.
        title: Its display name.
        pod: The settings of its pod that a recipe may set.
        settings_of: For a group, the stage whose settings it has, as those that share them do.
        inherits: The step that it inherits values from, where the recipe sets none.
        defaults: Values that take precedence over inherited ones.
        pretraining: The pretraining that it is, if it is one.
        continues: The step whose models it trains further, at a higher resolution.
        color: The ensemble's colour in plots.
        about: What it does, in a sentence for reports.
    """

    component: Component | None
    title: str
    pod: tuple[Argument, ...] = _POD
    _: KW_ONLY
    settings_of: Component | None = None
    inherits: str | None = None
    defaults: Mapping[str, Value] = field(default_factory=dict)
    pretraining: Pretraining | None = None
    continues: str | None = None
    color: str | None = None
    about: str | None = None

    @property
    def trains(self) -> bool:
        """Whether it trains a candidate's backbone."""
        return self.component is not None and any(
            argument.name == "backbone" and argument.settings
            for argument in _arguments(self.component.stage)
        )

    @functools.cache  # noqa: B019, steps live as long as the process
    def arguments(self) -> Mapping[str, Argument]:
        """Return the parameters that a recipe may set, by name."""
        found: list[Argument] = []
        if self.component is not None:
            found = [a for a in _arguments(self.component.stage) if a.artifact is None]
            found.append(_RERUN)
        elif self.settings_of is not None:
            found = [a for a in _arguments(self.settings_of.stage) if a.settings]
        found += self.pod
        return {argument.name: argument for argument in found if argument.name not in OF_CANDIDATES}


def _pretraining(component: Component, name: str, title: str, color: str, about: str) -> Step:
    way = Pretraining(name, title, color, about)
    return Step(component, f"{title} pretrain", _GPU_NODES, inherits="training", pretraining=way)


STEPS = {
    # What all tasks have in common, those on GPUs, and those without.
    "pods": Step(None, "all pods", (*_COMMON, _DISK_CLASS)),
    "gpu_pods": Step(None, "pods with GPUs", (*_COMMON, _DISK_CLASS, _GPU_TYPE), inherits="pods"),
    "cpu_pods": Step(None, "other pods", (*_COMMON, _DISK_CLASS), inherits="pods"),
    "ingest": Step(ingest, "ingest", _DISK_POD),
    "tagging": Step(tagging, "tagging"),
    "weighting": Step(weighting, "weighting", _EMBEDDING_POD),
    "initial_model": Step(initial_model, "initial model", defaults={"cpu": "2", "memory": "8Gi"}),
    "training": Step(None, "training", _GPU_NODES, settings_of=finetune),
    "wt_pretrain": _pretraining(
        wt_pretrain,
        "wt",
        "WT",
        "#0b7285",
        "WT was pretrained to find the keywords of the texts around the images.",
    ),
    "lw_pretrain": _pretraining(
        lw_pretrain,
        "lw",
        "LW",
        "#e8890c",
        "LW was pretrained on the classes that these texts resemble, each with a weight.",
    ),
    "multitask_pretrain": _pretraining(
        multitask_pretrain,
        "multitask",
        "multi-task",
        "#862e9c",
        "Multi-task was pretrained on keywords and classes at once.",
    ),
    "finetune": Step(
        finetune,
        "finetune",
        _GPU_NODES,
        inherits="training",
        about="Finetune trains on the given labels.",
    ),
    "finetune_large": Step(
        finetune,
        "large",
        _GPU_NODES,
        inherits="finetune",
        # A converged classifier is trained further at a higher resolution (method §1, tricks).
        defaults={"keep_head": True, "continue_learning_rate": True},
        continues="finetune",
        about="Large continues at a higher resolution.",
    ),
    "audit": Step(audit, "audit", _GPU_NODES, inherits="finetune"),
    "pseudo_label": Step(pseudo_label, "pseudo label", _GPU_NODES),
    "finetune_again": Step(
        finetune,
        "again",
        _GPU_NODES,
        inherits="finetune",
        about="Again trains anew, on labels that the best models of the first round gave.",
    ),
    "finetune_again_large": Step(
        finetune,
        "again, large",
        _GPU_NODES,
        inherits="finetune_large",
        continues="finetune_again",
    ),
    "ensemble": Step(
        ensemble,
        "ensemble",
        _GPU_POD,
        color="#862e9c",
        about="The ensemble averages what the models of all rounds and resolutions say.",
    ),
    "compare": Step(compare, "compare", defaults={"cpu": "1", "memory": "4Gi"}),
}
_WAYS = [step.pretraining for step in STEPS.values() if step.pretraining]
# By name, in the order of legends.
_SCRATCH = Pretraining(SCRATCH, "scratch", "#868e96", "Scratch was not pretrained here.")
PRETRAININGS = {way.name: way for way in [*_WAYS, _SCRATCH]}
# Those without a pretraining that start from given weights.
PLAIN = Pretraining(
    SCRATCH, "plain", "#868e96", "Plain starts from the given weights, without a pretraining here."
)
PRETRAINING_TITLES = {way.name: way.title for way in PRETRAININGS.values()}


def field_name(step: str, parameter: str) -> str:
    """Return the name of the form's field that sets a step's parameter.

    Kubeflow's form is sorted by name and shows nothing else: so the fields of a kind stand
    together, and so do a step's parameters.
    """
    if step == "ingest" and parameter in ("dataset", "dataset_version"):
        return parameter
    if step in ("cpu_pods", "gpu_pods"):
        return f"{step.removesuffix('pods')}{parameter.removeprefix('gpu_')}"
    if parameter in (*POD, _RERUN.name):
        return f"{parameter}_{step}"
    return f"{step}_{parameter}"


def renamed(field: str) -> str | None:
    """Return the new name of a field that had its step in front, such as `finetune_rerun`."""
    old = {f"{step}_{argument.name}": name for name, (step, argument) in form_fields().items()}
    return old.get(field)


@functools.cache
def form_fields() -> Mapping[str, tuple[str, Argument]]:
    """Return what a form may show: by the field's name, the step and its parameter."""
    return {
        field_name(step, name): (step, argument)
        for step in STEPS
        for name, argument in STEPS[step].arguments().items()
    }
