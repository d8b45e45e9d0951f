"""Optimizers, by their names among the settings."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

import timm.optim
import torch
from torch import nn
from torch.optim import Optimizer

_OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = {
    "sgd": partial(torch.optim.SGD, momentum=0.9),
    "adamw": torch.optim.AdamW,
    # The loop has clipped the gradients by then.
    "lamb": partial(timm.optim.Lamb, max_grad_norm=None),
    "nadamw": timm.optim.NAdamW,
}


def create(
    name: Literal["sgd", "adamw", "lamb", "nadamw"], model: nn.Module, weight_decay: float
) -> Optimizer:
    """Return an optimizer of a model that is on its device; each step sets the learning rate.

    Args:
        name: SGD with momentum, AdamW (Loshchilov and Hutter 2019), LAMB (You et al. 2020) or
            AdamW with Nesterov momentum, as timm has it.
        model: Whose parameters.
        weight_decay: Of all but norms and biases; decoupled from the gradients in AdamW and NAdamW.
    """
    return _OPTIMIZERS[name](_parameter_groups(model, weight_decay))


def _parameter_groups(model: nn.Module, weight_decay: float) -> Iterator[dict[str, Any]]:
    """Yield the optimizer's parameter groups: norms and biases have no weight decay."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    yield {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay}
    yield {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}
