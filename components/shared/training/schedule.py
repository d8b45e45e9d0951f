"""The schedule of a training: its steps, their micro-batches, their learning rates."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from components.shared.stage.errors import UserError


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Return the optimizer steps of an epoch of about this many images, at least one."""
    return max(1, round(num_images / batch_size))


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """The learning rate: a linear warm-up, then a fall in steps or along half a cosine.

    Attributes:
        fall: "step" divides by 10 every `decay_epochs`; "cosine" goes from the end of the warm-up
            to 0 at the end of the training (Loshchilov and Hutter 2017, without restarts).
        epochs: Epochs of the training.
        steps_per_epoch: Optimizer steps of an epoch.
        learning_rate: The rate after the warm-up.
        warmup_epochs: How long the rate rises.
        decay_epochs: Epochs between two steps; the first period includes the warm-up.
    """

    fall: Literal["step", "cosine"]
    epochs: int
    steps_per_epoch: int
    learning_rate: float
    warmup_epochs: float
    decay_epochs: int

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        warmup_steps = self.warmup_epochs * self.steps_per_epoch
        warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
        return self.learning_rate * warmup * self._left(step, warmup_steps)

    def _left(self, step: int, warmup_steps: float) -> float:
        """Return the share of the rate that a step has left."""
        if self.fall == "step":
            return float(0.1 ** (step // (self.decay_epochs * self.steps_per_epoch)))
        if step <= warmup_steps:
            return 1.0
        steps = self.epochs * self.steps_per_epoch
        return 0.5 + 0.5 * math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))


class Division(NamedTuple):
    """How the ranks divide a batch: micro-batches per rank, and images per micro-batch."""

    micro_batches: int
    size: int

    @classmethod
    def of(cls, batch_size: int, accumulation_steps: int, world_size: int) -> Self:
        """Return the coarsest division with at least `accumulation_steps` micro-batches in all.

        Raises:
            UserError: The ranks cannot divide the batch evenly.
        """
        micro_batches = math.ceil(accumulation_steps / world_size)
        in_all = micro_batches * world_size
        size, rest = divmod(batch_size, in_all)
        if rest or size < 2:
            raise UserError(
                f"batch_size={batch_size}: {world_size} processes divide it into {micro_batches} "
                f"micro-batches each: make it a multiple of {in_all}, and at least {2 * in_all}"
            )
        return cls(micro_batches, size)
