"""Views of an image, over which a classifier's probabilities are averaged.

    one    the middle, as in validation                             1 forward pass
    flip   it and its mirror image                                  2
    multi  three squares about the middle and their mirror images   6

All have the size that the classifier was trained at, which suits every backbone. An image is
decoded once whatever its views are; each square is resized by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:  # commands tell the choices before they import torch
    from torch import Tensor

Views = Literal["one", "flip", "multi"]
# The customary share of the short side that is evaluated: 224 of 256.
CROP_RATIO = 0.875
# All, that, and less. Training has seen objects as large.
_SHARES = (1.0, CROP_RATIO, 0.75)


class Crop(NamedTuple):
    """A square about the middle of an image.

    Attributes:
        size: Side S that it is resized to, in pixels.
        share: Its side as a share of the image's short side.
    """

    size: int
    share: float = CROP_RATIO


def crops(image_sizes: Sequence[int], views: Views) -> list[Crop]:
    """Return the squares from which views are made, for each image size."""
    shares = _SHARES if views == "multi" else (CROP_RATIO,)
    return [Crop(size, share) for size in image_sizes for share in shares]


def seen(pixels: "Mapping[Crop, Tensor]", image_size: int, views: Views) -> "Iterator[Tensor]":
    """Yield the views (B, 3, S, S) of an image size, each square as it is, then mirrored."""
    for crop in crops([image_size], views):
        yield pixels[crop]
        if views != "one":
            yield pixels[crop].flip(3)
