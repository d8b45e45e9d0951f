"""Model folders for tests: networks of a few thousand weights, saved as a training stage does."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray

from components.shared.data.halves import CHOOSING
from components.shared.data.image_set import ImageSet
from components.shared.data.predictions import Training
from components.shared.training import models
from components.shared.training.models import Record
from components.shared.training.transforms import decoded, evaluation_crop, normalized
from components.shared.training.views import CROP_RATIO


def save(
    folder: Path,
    names: Sequence[str],
    *,
    seed: int = 0,
    image_size: int = 32,
    score: float = 0.5,
    choosing: float | None = None,
    chosen: Sequence[str] = (),
    lineage: Sequence[str] = ("finetune 32 px",),
    probabilities: Sequence[float] = (),
) -> Path:
    """Save a random network; with `probabilities`, one that gives these to every image.

    Its accuracy on the half of the validation images that may choose is the score, unless given.
    """
    torch.manual_seed(seed)
    model = timm.create_model(
        "resnet10t",
        num_classes=len(names),
        layers=(1, 1, 1, 1),
        channels=(8, 8, 16, 24),
        stem_width=8,
    )
    with torch.no_grad():
        model.fc.weight *= 30  # untrained networks are unsure of everything
        if probabilities:
            model.fc.weight.zero_()
            model.fc.bias.copy_(torch.tensor(probabilities).log())
    record = Record(
        stage="finetune",
        backbone="resnet10t",
        image_size=image_size,
        names=list(names),
        titles=[f"a {name}" for name in names],
        score=score,
        metrics={"top1": score, CHOOSING: score if choosing is None else choosing},
        last_learning_rate=0.01,
        curve=[{"epoch": 1, "images": 1234, "loss": 1.0}],
        settings={},
        lineage=[Training(what, 1234, 5.6) for what in lineage],
        chosen=tuple(chosen),
    )
    models.save(folder, model, record)
    return folder


def naive_probabilities(
    images: ImageSet,
    folders: Sequence[Path],
    *,
    mirrored: bool = False,
    share: float = CROP_RATIO,
) -> NDArray[np.float64]:
    """Return the models' mean probabilities (N, C), an image and a model at a time."""
    loaded = [(models.load(folder), models.read_record(folder).image_size) for folder in folders]
    rows = []
    for number in range(len(images)):
        probabilities = []
        for model, size in loaded:
            crop = evaluation_crop(decoded(images.read(number)), size, share)
            crop = crop.flip(2) if mirrored else crop
            with torch.no_grad():
                logits = model(normalized(crop[None], torch.device("cpu")))[0].double().numpy()
            probabilities.append(np.exp(logits) / np.exp(logits).sum())
        rows.append(np.mean(probabilities, axis=0))
    return np.array(rows)
