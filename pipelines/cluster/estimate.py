"""An estimate of what a pipeline takes if nothing is cached: GPU hours and gigabytes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pipelines.run.graph import Graph, Task


class _Backbone(NamedTuple):
    """What is known of a backbone.

    Attributes:
        images_per_second: Training throughput at 224 pixels in mixed precision, for a GPU of the
            A100's class: twice that of an RTX 3090 in timm's benchmark of 2022; for ResNeSts, which
            are slow in its memory format, estimated from their multiply-adds.
        parameters: Number of parameters, without the head.
    """

    images_per_second: float
    parameters: float


_BACKBONES = {
    "efficientnet_b4": _Backbone(1450, 18e6),
    "resnest101e": _Backbone(1000, 46e6),
    "resnest200e": _Backbone(580, 68e6),
    "resnest50d": _Backbone(1900, 25e6),
    "resnet18": _Backbone(7000, 11e6),
    "resnet50": _Backbone(2400, 24e6),
    "resnet101": _Backbone(1500, 43e6),
    "resnext101_32x8d": _Backbone(630, 87e6),
}
_OTHER = _Backbone(1000, 50e6)
_SIDE = 224
_FEATURES = 2048  # of the last layer, for the head of the keywords
_INFERENCE = 3.0  # times as fast as training
_BYTES_OF_AN_IMAGE = 39_000  # a photograph, stored at 256 pixels


@dataclass(slots=True)
class Estimate:
    """What a pipeline takes.

    Attributes:
        gpu_hours: By step.
        rates: Assumed images per second on a GPU at 224 pixels, by backbone.
        shards: Gigabytes of images in the store; 0 if their number is unknown.
        models: Gigabytes of all models.
        checkpoints: Gigabytes of two checkpoints of each training, while it runs.
        unknown: Steps that pass over the whole data set, whose size is unknown.
    """

    gpu_hours: dict[str, float] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    shards: float = 0.0
    models: float = 0.0
    checkpoints: float = 0.0
    unknown: dict[str, None] = field(default_factory=dict)


def estimate(graph: Graph, images: int = 0, images_per_second: float = 0.0) -> Estimate:
    """Return what a pipeline takes.

    Args:
        graph: The pipeline with the values of its form.
        images: Number of training images; 0 if unknown.
        images_per_second: Training throughput of a GPU at 224 pixels, for any backbone; 0 for the
            assumed ones.
    """
    found = Estimate()
    tasks = {task.name: task for task in graph.tasks}
    vocabulary = max((int(t.parameters.get("vocabulary_size", 0)) for t in graph.tasks), default=0)
    for task in graph.tasks:
        step = task.step
        if "image_side" in task.parameters:
            area = (task.parameters["image_side"] / 256) ** 2
            found.shards = images * _BYTES_OF_AN_IMAGE * area / 1e9
        if "backbone" in task.parameters:
            backbone = task.parameters["backbone"]
            known = _BACKBONES.get(backbone, _OTHER)
            found.rates[backbone] = images_per_second or known.images_per_second
            head = _FEATURES * vocabulary if "keywords" in task.inputs else 0
            found.models += 4 * (known.parameters + head) / 1e9
            if "epochs" in task.parameters:
                # With the momentum.
                found.checkpoints += 2 * 8 * (known.parameters + head) / 1e9
        seconds = sum(_seconds(task, tasks, images, images_per_second))
        if seconds:
            found.gpu_hours[step] = found.gpu_hours.get(step, 0.0) + seconds / 3600
        elif "num_teachers" in task.parameters or "epochs" in task.parameters:
            found.unknown[step] = None
    return found


def _seconds(
    task: Task, tasks: Mapping[str, Task], images: int, images_per_second: float
) -> Iterator[float]:
    """Yield seconds on one GPU."""

    def rate(training: Task) -> float:
        known = _BACKBONES.get(training.parameters["backbone"], _OTHER).images_per_second
        side = float(training.parameters["image_size"])
        return (images_per_second or known) * (_SIDE / side) ** 2

    if "epochs" in task.parameters:
        # An audit trains a model for each fold, on the images of all others.
        folds = task.parameters.get("folds", 1)
        epoch = task.parameters["epoch_images"] or images * (1 - 1 / folds if folds > 1 else 1)
        yield folds * task.parameters["epochs"] * epoch / rate(task)
    if "num_teachers" in task.parameters:
        models = [tasks[source.task] for name, source in task.inputs.items() if "model" in name]
        # It is not known yet which will be best: assume the slowest.
        teachers = sorted(map(rate, models))[: task.parameters["num_teachers"]]
        yield from (images / (_INFERENCE * each) for each in teachers)
