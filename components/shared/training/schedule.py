"""How a training goes: so many steps, each of so many parts, at such a learning rate."""

import math
from typing import NamedTuple, Self

from components.shared.stage.errors import UserError
from components.shared.training.settings import TrainingSettings


def steps_per_epoch(settings: TrainingSettings, num_images: int) -> int:
    """Return the optimizer steps of an epoch; passes go on from one epoch to the next."""
    return max(1, round((settings.epoch_images or num_images) / settings.batch_size))


def learning_rate(step: int, steps_per_epoch: int, settings: TrainingSettings) -> float:
    """Return the learning rate of a step: a linear warm-up, then a tenth every `decay_epochs`."""
    warmup_steps = settings.warmup_epochs * steps_per_epoch
    warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    decays = step // (settings.decay_epochs * steps_per_epoch)
    return settings.learning_rate * warmup * float(0.1**decays)


class Division(NamedTuple):
    """How a batch is divided: a rank takes so many parts of it, each of so many images."""

    parts: int
    size: int

    @classmethod
    def of(cls, settings: TrainingSettings, world: int) -> Self:
        """Return the coarsest division among `world` ranks with enough parts.

        Raises:
            UserError: The batch cannot be divided so.
        """
        parts = math.ceil(settings.accumulation_steps / world)
        size, rest = divmod(settings.batch_size, parts * world)
        if rest or size < 2:
            raise UserError(
                f"batch_size={settings.batch_size}: it is divided among {world} processes into "
                f"{parts} parts each: make it a multiple of {parts * world}, two images a part"
            )
        return cls(parts, size)
