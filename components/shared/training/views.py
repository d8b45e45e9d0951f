"""Views of an image, over which a classifier's probabilities are averaged.

A parameter names them; `flip` costs twice the forward passes of `one`. Decoding costs the same.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # commands tell the choices before they import torch
    from torch import Tensor

Views = Literal["one", "flip"]


def seen(pixels: "Tensor", views: Views) -> "Iterator[Tensor]":
    """Yield the views of pixels (B, 3, S, S), one at a time: as they are, then mirrored."""
    yield pixels
    if views == "flip":
        yield pixels.flip(3)
