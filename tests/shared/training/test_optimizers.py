from typing import Any

import pytest
import torch
from torch import nn

from components.shared.training.optimizers import create

NAMES: tuple[Any, ...] = ("sgd", "adamw", "lamb", "nadamw")


def stepped(name: Any, gradient: float, weight_decay: float = 0.0) -> nn.Module:
    """Return a layer of weights 2 and biases 2 after a step at a learning rate of 0.1."""
    layer = nn.Linear(3, 2)
    optimizer = create(name, layer, weight_decay)
    for parameter in layer.parameters():
        nn.init.constant_(parameter, 2.0)
        parameter.grad = torch.full_like(parameter, gradient)
    optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 0.1
    optimizer.step()
    return layer


@pytest.mark.parametrize("name", NAMES)
def test_only_weights_of_several_dimensions_decay(name: str) -> None:
    layer = stepped(name, gradient=0.0, weight_decay=0.5)
    # LAMB scales a step to the weights' own norm: here it is the whole decay.
    decayed = 2 - 0.1 * 2 if name == "lamb" else 2 - 0.1 * 0.5 * 2
    assert layer.weight.flatten().tolist() == pytest.approx([decayed] * 6)
    assert layer.bias.tolist() == [2.0] * 2


@pytest.mark.parametrize("name", NAMES)
def test_the_first_step_of_all_but_sgd_is_as_long_whatever_the_gradient(name: str) -> None:
    lengths = [2 - stepped(name, gradient).bias[0].item() for gradient in (0.5, 50.0)]
    if name == "sgd":
        assert lengths == pytest.approx([0.05, 5.0])
    else:
        # NAdamW's Nesterov momentum looks a step ahead: (β + 1) times as far.
        expected = 0.1 * (1.9 if name == "nadamw" else 1)
        assert lengths == pytest.approx([expected] * 2, rel=1e-4)
