"""The state of a training, as it is saved in a checkpoint."""

import logging
from collections.abc import Iterator, Mapping

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim import Optimizer

from components.shared.stage import ranks
from components.shared.stage.errors import StorageError
from components.shared.storage.checkpoints import Checkpoint, Checkpoints

logger = logging.getLogger(__name__)


class TrainingState:
    """The model with its optimizer, and how far they have come.

    Attributes:
        step: Steps taken.
        losses: Sum of the images' losses in this epoch so far.
        seconds: Duration of the steps.
        curve: As `train` returns it, for the epochs validated so far.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, ema: float = 0.0) -> None:
        """Start with a model that is already on its device.

        Args:
            model: The model.
            optimizer: Its optimizer.
            ema: Decay of the moving average; 0 means none. After t steps it is 1 - t^(-2/3) at
                most, so that a short training forgets its start, too.
        """
        self._model, self._optimizer = model, optimizer
        self._average = ModelEmaV3(model, decay=ema, use_warmup=True) if ema else None
        self.step, self.seconds = 0, 0.0
        self.losses = torch.zeros((), device=next(model.parameters()).device)
        self.curve: list[dict[str, float]] = []

    @property
    def averaged(self) -> nn.Module:
        """The model to evaluate: the moving average, or if there is none the model itself.

        Batch norm's running statistics are averaged as the weights are.
        """
        return self._average.module if self._average else self._model

    def take_step(self, rate: float, clip_norm: float) -> None:
        """Take an optimizer step."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        nn.utils.clip_grad_norm_(self._model.parameters(), clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.step += 1
        if self._average:
            self._average.update(self._model, self.step)
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
        return Checkpoint(
            self.step,
            {name: value.cpu().contiguous() for name, value in self._tensors()},
            {"seconds": self.seconds, "curve": self.curve},
        )

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield "losses", self.losses
        for name, value in self._model.state_dict().items():
            yield f"model.{name}", value
        if self._average:
            for name, value in self._average.module.state_dict().items():
                yield f"average.{name}", value
        for name, parameter in self._model.named_parameters():
            # A parameter that has had no gradient yet has nothing here.
            for slot, value in self._optimizer.state[parameter].items():
                if isinstance(value, Tensor):
                    yield f"optimizer.{name}.{slot}", value
        for number, group in enumerate(self._optimizer.param_groups):
            for slot, value in group.items():
                if isinstance(value, Tensor):  # LAMB counts its steps here
                    yield f"group.{number}.{slot}", value

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
        self._model.load_state_dict(_under("model.", found.tensors))
        if self._average:
            self._average.module.load_state_dict(_under("average.", found.tensors))
        parameters = dict(self._model.named_parameters())
        for name, value in _under("optimizer.", found.tensors).items():
            owner, _, slot = name.rpartition(".")
            parameter = parameters[owner]
            if slot != "step":  # which stays on the CPU; all else is laid out as the parameter is
                value = torch.empty_like(parameter, requires_grad=False).copy_(value)
            self._optimizer.state[parameter][slot] = value
        for name, value in _under("group.", found.tensors).items():
            number, _, slot = name.partition(".")
            self._optimizer.param_groups[int(number)][slot] = value
        self.losses.copy_(found.tensors["losses"])
        self.step, self.seconds = found.step, found.values["seconds"]
        self.curve = found.values["curve"]
        logger.info("resuming after step %d", self.step)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, by the rest of their names."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
