"""What is known of weights that are given: their own record, or a minimal one."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from components.initial_model.sources import Found
from components.shared.data.predictions import Training
from components.shared.stage.errors import UserError
from components.shared.training.models import RECORD, Record, read_record

logger = logging.getLogger(__name__)
_STATISTICS = (tuple(IMAGENET_DEFAULT_MEAN), tuple(IMAGENET_DEFAULT_STD))


def described(found: Found, weights: str, backbone: str, network: nn.Module) -> Record:
    """Return the record of an initial model; its settings say where the weights are from.

    Weights of a model of this pipeline keep theirs, so that its trainings are counted. Others have
    one training of no images in their lineage, whose name says what they are.

    Raises:
        UserError: The network does not take images of three channels.
    """
    origin: dict[str, int | float | str | bool] = {
        "weights": weights,
        "source": found.source,
        "commit": found.commit,
    }
    if (found.folder / RECORD).is_file():
        record = read_record(found.folder)
        return replace(record, settings=record.settings | origin)
    config: Mapping[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    channels, *_, side = config["input_size"]
    if channels != 3:
        raise UserError(f"weights={weights}: for images of {channels} channels, not of 3")
    statistics = (tuple(config["mean"]), tuple(config["std"]))
    if statistics != _STATISTICS:
        logger.warning(
            "%s saw images normalised with a mean of %s and a deviation of %s, and sees them with "
            "ImageNet's from now on (%s, %s): training adapts it, in the first steps",
            *(found.source, *statistics, *_STATISTICS),
        )
    return Record(
        stage="initial_model",
        backbone=backbone,
        image_size=side,
        names=[],
        titles=[],
        score=0.0,
        metrics={},
        last_learning_rate=0.0,
        curve=[],
        settings=origin,
        lineage=[Training(found.what, 0, 0.0)],
    )
