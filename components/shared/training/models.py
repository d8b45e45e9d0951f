"""Models: any timm backbone with a classification head, in a folder that timm can load.

    config.json         architecture, its arguments, class names: written by timm
    model.safetensors   the weights
    training.json       what it was trained on, and how: a `Record`

`timm.create_model("local-dir:FOLDER", pretrained=True)` gives the model back. Without
`pretrained=True` its weights are random, silently.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import resolve_model_input_args, save_for_hf
from torch import nn

from components.shared.data.halves import REPORTED
from components.shared.data.predictions import Training
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem, formats
from components.shared.training import initial_weights
from components.shared.training.settings import TrainingSettings
from components.shared.training.transforms import device
from components.shared.training.views import CROP_RATIO

RECORD = "training.json"
FORMAT = 1  # of it
_TIMMS_ERRORS = (RuntimeError, TypeError, ValueError)
_DAMAGED_FILES = (SafetensorError, UnpicklingError, EOFError, FileNotFoundError)
# Backbones, by the beginning of their names, that train faster on a GPU with channels last. timm's
# benchmark on an RTX 3090, images/s with channels first / last: resnext101_32x8d 276 / 313,
# efficientnet_b4 293 / 355, but resnest101e 254 / 96 and resnest200e 83 / 30.
# On a CPU core no family was found that is slower: resnet10t with four narrow layers at 32 px
# 1,640 / 2,140, efficientnet_b0 34 / 58 and resnest14d 17 / 22 at 96 px, resnet18 equal.
_CHANNELS_LAST_ON_GPU = ("resnext", "efficientnet", "tf_efficientnet")


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What a model was trained on, how, and how good it is.

    Attributes:
        stage: The stage that made it.
        backbone: The timm model.
        image_size: Side of its training crops, in pixels.
        names: Its classes' names, in the order of its outputs.
        titles: Their display names.
        score: Balanced top-1 accuracy on the validation set; of WT models, recall@5 on the
            held-out training images.
        metrics: The stage's final metrics.
        last_learning_rate: Of the last optimizer step.
        curve: One entry per epoch: epoch, images (drawn so far), learning_rate, loss, and the
            validation's metrics.
        settings: The stage's training settings.
        lineage: Its trainings, the last one last.
        chosen: What validation images have chosen of what it was trained on, as in its `History`.
    """

    stage: str
    backbone: str
    image_size: int
    names: list[str]
    titles: list[str]
    score: float
    metrics: dict[str, float]
    last_learning_rate: float
    curve: list[dict[str, float]]
    settings: dict[str, int | float | str | bool]
    lineage: list[Training]
    chosen: tuple[str, ...] = ()

    def metadata(self) -> dict[str, float | str]:
        """Return what people look for among many models."""
        accuracies = ["top1", "top5", "recall5", "external_top1", "external_top5"]
        accuracies += [REPORTED] if self.chosen else []
        shown: dict[str, float | str] = {
            f"{name}_percent": 100 * self.metrics[name]
            for name in accuracies
            if name in self.metrics
        }
        shown |= {"backbone": self.backbone, "image_size": self.image_size}
        shown |= {
            "classes": len(self.names),
            "training": ", ".join(each.what for each in self.lineage),
        }
        return shown | {name: self.metrics[name] for name in ("images_seen", "seconds")}

    @property
    def title(self) -> str:
        """The model's name in tables: on a cluster, its folder's name means nothing."""
        return f"{self.backbone}: {', '.join(each.what for each in self.lineage)}"


def create(
    settings: TrainingSettings,
    num_classes: int,
    *,
    initial_model: Path | None = None,
    keep_head: bool = False,
) -> nn.Module:
    """Return a model in training mode, on the CPU.

    All weights except the head's come from `initial_model`, else they are random, seeded by
    `settings.seed`.

    Args:
        settings: Names the backbone, its arguments and the image size.
        num_classes: Outputs of the head.
        initial_model: The folder of a model to start from.
        keep_head: Keep its head, too.

    Raises:
        UserError: timm does not know the backbone or its arguments, it does not take crops of this
            size, or the initial weights are another architecture's, damaged or not finite.
    """
    try_crops(settings.backbone, settings.backbone_args, settings.image_size)
    torch.manual_seed(settings.seed)
    if initial_model is None:
        if keep_head:
            raise UserError("keep_head=true needs an initial model")
        return _build(settings, settings.backbone, num_classes, pretrained=False)
    initial_weights.check(str(initial_model), settings.backbone)
    own = _config(initial_model).get("num_classes", 0)
    if keep_head and own != num_classes:
        raise UserError(
            f"{initial_model} has a head of {own:,} classes, not {num_classes:,}: set "
            "keep_head=false"
        )
    model = _build(settings, f"local-dir:{initial_model}", num_classes, pretrained=True)
    check_finite(model, f"{initial_model}: ")
    if not keep_head:
        model.reset_classifier(num_classes)  # type: ignore[operator]
    return model


def shapes(backbone: str, backbone_args: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's tensors by name, without any memory for them.

    Raises:
        UserError: timm does not know the backbone or its arguments.
    """
    settings = TrainingSettings(backbone=backbone, backbone_args=backbone_args)
    with torch.device("meta"):
        model = _build(settings, backbone, num_classes=2, pretrained=False)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def as_given(folder: Path) -> nn.Module:
    """Return the model of a folder that timm can load as it is, with its head, on the CPU.

    Raises:
        UserError: timm does not load it, or it has values that are not finite.
    """
    model = _loaded(folder)
    check_finite(model)
    return model


def check_finite(model: nn.Module, where: str = "") -> None:
    """Refuse weights that are not finite; the message begins with `where` they are from."""
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise UserError(f"{where}{name} has values that are not finite: train from others")


def try_crops(backbone: str, backbone_args: str, image_size: int) -> None:
    """Refuse crops of a size that a backbone does not take, by a trial without any memory.

    Raises:
        UserError: It does not take them, or timm does not know the backbone or its arguments.
    """
    settings = TrainingSettings(
        backbone=backbone, backbone_args=backbone_args, image_size=image_size
    )
    with torch.device("meta"):
        model = _build(settings, backbone, num_classes=2, pretrained=False)
        try:
            model(torch.zeros(2, 3, image_size, image_size))
        except (*_TIMMS_ERRORS, AssertionError) as error:
            raise UserError(
                f"backbone={backbone} does not take image_size={image_size}: timm says: "
                f"{str(error).splitlines()[0]}"
            ) from error


def save(folder: Path, model: nn.Module, record: Record) -> None:
    """Write a model's folder, complete or not at all."""
    side = record.image_size
    with filesystem.complete(folder) as temporary:
        save_for_hf(
            # safetensors stores contiguous tensors only.
            copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format),
            temporary,
            safe_serialization=True,
            model_config={
                "label_names": record.names,
                "label_descriptions": dict(zip(record.names, record.titles, strict=True)),
            },
            data_config={
                "input_size": (3, side, side),
                "mean": IMAGENET_DEFAULT_MEAN,
                "std": IMAGENET_DEFAULT_STD,
                "interpolation": "bilinear",
                "crop_pct": CROP_RATIO,
            },
        )
        content = {"format": FORMAT, **asdict(record)}
        (temporary / RECORD).write_text(json.dumps(content, indent=1))


def load(folder: Path) -> nn.Module:
    """Load a model from its folder, in evaluation mode on this process's device.

    Raises:
        UserError: It is damaged.
    """
    _config(folder)
    return to_device(_loaded(folder, f"{folder}: "), read_record(folder).backbone).eval()


def _loaded(folder: Path, where: str = "") -> nn.Module:
    try:
        model: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    except (*_TIMMS_ERRORS, *_DAMAGED_FILES) as error:
        raise UserError(
            f"{where}timm does not load these weights: {formats.in_a_line(error)}"
        ) from error
    return model


def read_record(folder: Path) -> Record:
    """Return the training record of a folder's model."""
    path = folder / RECORD
    if not path.is_file():
        raise UserError(
            f"{folder}: not a model of this pipeline (training.json is missing); `python -m "
            "components.initial_model` makes one of weights that timm loads"
        )
    with formats.reading_file(path, FORMAT) as content:
        lineage = [Training(*each) for each in content["lineage"]]
        return formats.fill(Record, content | {"lineage": lineage})


def to_device(model: nn.Module, backbone: str) -> nn.Module:
    """Return a model moved to this process's device, in the memory format that suits it there."""
    where = device()
    channels_last = where.type == "cpu" or backbone.startswith(_CHANNELS_LAST_ON_GPU)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return model.to(where).to(memory_format=memory_format)


def autocast() -> torch.autocast:
    """Return the autocast context: bf16 where the GPU supports it, else fp32."""
    where = device().type
    has_bf16 = where == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(where, torch.bfloat16, enabled=has_bf16)


def _build(
    settings: TrainingSettings, source: str, num_classes: int, *, pretrained: bool
) -> nn.Module:
    arguments = json.loads(settings.backbone_args)
    try:
        resolved = resolve_model_input_args(
            source, {"img_size": settings.image_size}, num_classes=num_classes, **arguments
        )
        model: nn.Module = timm.create_model(**resolved, pretrained=pretrained)
    except (*_TIMMS_ERRORS, *_DAMAGED_FILES) as error:
        raise UserError(
            f"backbone={settings.backbone} backbone_args={settings.backbone_args}: timm says: "
            f"{formats.in_a_line(error)}"
        ) from error
    return model.train()


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    return initial_weights.parsed(str(folder), path.read_bytes() if path.is_file() else b"")
