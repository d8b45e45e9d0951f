"""Continuing from an initial model: its learning rate, its head."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from components.shared.stage.errors import UserError
from components.shared.training.models import read_record
from components.shared.training.settings import LEARNING_RATE_ENDED, TrainingSettings

logger = logging.getLogger(__name__)


def continued(settings: TrainingSettings, initial_model: Path | None) -> TrainingSettings:
    """Return the settings with a model's final learning rate, and no warm-up.

    From there it falls as the settings say, counted from the new start.

    Raises:
        UserError: There is no such rate, or it is next to 0.
    """
    if initial_model is None:
        raise UserError("continue_learning_rate=true needs an initial model")
    record = read_record(initial_model)
    if record.settings.get("schedule") == "cosine":
        raise UserError(LEARNING_RATE_ENDED)
    rate = record.last_learning_rate
    if not rate:
        raise UserError("continue_learning_rate=true needs a model that this pipeline has trained")
    logger.info(
        "continuing at a learning rate of %.3g, instead of %.3g after a warm-up of %.3g epochs",
        rate,
        settings.learning_rate,
        settings.warmup_epochs,
    )
    return replace(settings, learning_rate=rate, warmup_epochs=0.0)


def check_head(initial_model: Path, names: Sequence[str]) -> None:
    """Refuse to keep a head over other classes, or in another order.

    Raises:
        UserError: The initial model's classes are not these.
    """
    if read_record(initial_model).names != list(names):
        raise UserError(
            f"{initial_model}: its classes are not those of the targets: set keep_head=false"
        )
