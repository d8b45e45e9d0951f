"""The state of a training, as it is saved in a checkpoint."""

import logging
from collections.abc import Iterator

import torch
from torch import nn

from components.shared.stage import ranks
from components.shared.stage.errors import StorageError
from components.shared.storage.checkpoints import Checkpoint, Checkpoints

logger = logging.getLogger(__name__)
_MOMENTUM = 0.9


class TrainingState:
    """The model with its optimizer, and how far they have come.

    Attributes:
        step: Steps taken.
        losses: Sum of the images' losses in this epoch so far.
        seconds: Duration of the steps.
        curve: As `train` returns it, for the epochs validated so far.
    """

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        """Start with a model that is already on its device."""
        self._model = model
        groups = _parameter_groups(model, weight_decay)
        self._optimizer = torch.optim.SGD(groups, momentum=_MOMENTUM)
        self.step, self.seconds = 0, 0.0
        self.losses = torch.zeros((), device=next(model.parameters()).device)
        self.curve: list[dict[str, float]] = []

    def take_step(self, rate: float, clip_norm: float) -> None:
        """Take an optimizer step."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        nn.utils.clip_grad_norm_(self._model.parameters(), clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.step += 1
        logger.debug("step %d", self.step)

    def add_to_curve(self, images: int, rate: float, measures: dict[str, float]) -> None:
        """Begin another epoch; the last one had this many images."""
        entry = {
            "epoch": len(self.curve) + 1,
            "images": (len(self.curve) + 1) * images,
            "seconds": self.seconds,
            "learning_rate": rate,
            "loss": self.losses.item() / images,
        }
        self.curve.append(entry | measures)
        self.losses.zero_()

    def checkpoint(self) -> Checkpoint:
        """Return the state."""
        tensors = {f"model.{name}": value for name, value in self._model.state_dict().items()}
        for name, parameter in self._model.named_parameters():
            momentum = self._optimizer.state[parameter].get("momentum_buffer")
            if momentum is not None:  # a parameter that has had no gradient yet has none
                tensors[f"momentum.{name}"] = momentum
        return Checkpoint(
            self.step,
            {name: value.cpu().contiguous() for name, value in tensors.items()}
            | {"losses": self.losses.cpu()},
            {"seconds": self.seconds, "curve": self.curve},
        )

    def restore(self, checkpoints: Checkpoints) -> None:
        """Load the newest checkpoint, if there is one."""
        if ranks.rank() > 0:  # the first one removes what is damaged
            ranks.barrier()
        found = checkpoints.newest()
        if ranks.rank() == 0:
            ranks.barrier()
        step = torch.tensor(found.step if found else 0)
        if ranks.all_reduce(step) != ranks.world_size() * step:
            raise StorageError("the processes have read different checkpoints: run the stage again")
        if found is None:
            return
        weights = {
            name.removeprefix("model."): value
            for name, value in found.tensors.items()
            if name.startswith("model.")
        }
        self._model.load_state_dict(weights)
        for name, parameter in self._model.named_parameters():
            if f"momentum.{name}" in found.tensors:
                momentum = torch.empty_like(parameter, requires_grad=False)
                momentum.copy_(found.tensors[f"momentum.{name}"])
                self._optimizer.state[parameter]["momentum_buffer"] = momentum
        self.losses.copy_(found.tensors["losses"])
        self.step, self.seconds = found.step, found.values["seconds"]
        self.curve = found.values["curve"]
        logger.info("resuming after step %d", self.step)


def _parameter_groups(model: nn.Module, weight_decay: float) -> Iterator[dict[str, object]]:
    """Yield the optimizer's parameter groups: norms and biases have no weight decay."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    yield {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay}
    yield {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}
