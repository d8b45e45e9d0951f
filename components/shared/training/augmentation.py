"""Augmentation beyond crops: RandAugment of each image, mixup and CutMix of pairs.

timm draws from Python's and NumPy's global generators, on which no other result depends. They are
seeded each time, so that all is a function of the seed and the position in the plan.
"""

import random

import numpy as np
import torch
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from timm.data.constants import IMAGENET_DEFAULT_MEAN
from timm.data.mixup import cutmix_bbox_and_lam
from torch import Tensor


class RandAugment:
    """Two random operations, each applied half the time (Cubuk et al. 2020, as timm has it).

    timm's are PIL's, in 0.15 ms of a core for a crop of 28 pixels and 0.75 ms at 224; those of
    torchvision take 0.37 and 2.2 ms.
    """

    def __init__(self, magnitude: int) -> None:
        """Choose how strong the operations are, 1 … 9.

        At 10, or where chance may add to 9, timm posterizes to 0 bits, which PIL refuses.
        """
        grey = tuple(round(255 * mean) for mean in IMAGENET_DEFAULT_MEAN)
        settings = {"img_mean": grey, "interpolation": Image.Resampling.BILINEAR}
        self._transform = rand_augment_transform(f"rand-m{magnitude}-inc1", settings)

    def __call__(self, crop: Tensor, generator: np.random.Generator) -> Tensor:
        """Return a crop uint8 (3, S, S), augmented."""
        seed = int(generator.integers(2**32))
        random.seed(seed)
        np.random.seed(seed)
        augmented = self._transform(Image.fromarray(crop.permute(1, 2, 0).numpy()))
        return torch.from_numpy(np.array(augmented)).permute(2, 0, 1)


def mixed(
    pixels: Tensor, classes: Tensor, weights: Tensor, *, mixup: float, cutmix: float, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a micro-batch with each image mixed with its partner: the first with the last, ….

    With mixup an image becomes s·x + (1-s)·x', s from Beta(mixup, mixup) (Zhang et al. 2018). With
    CutMix a box of x', of a size from Beta(cutmix, cutmix), replaces that part of x, of which the
    share s is left (Yun et al. 2019). With both, chance chooses one. An image then has the targets
    of both, their weights multiplied by s and 1-s.

    Args:
        pixels: (B, 3, S, S), float.
        classes: (B, K) The targets' classes, padded.
        weights: (B, K) Their weights.
        mixup: 0 for none.
        cutmix: 0 for none; not both.
        seed: The micro-batch's seed, below 2^32.

    Returns:
        Pixels (B, 3, S, S), classes and weights (B, 2K).
    """
    np.random.seed(seed)
    cut = cutmix > 0 and (mixup == 0 or np.random.rand() < 0.5)
    alpha = cutmix if cut else mixup
    share = np.random.beta(alpha, alpha)
    partners = pixels.flip(0)
    if cut:
        (top, bottom, left, right), left_over = cutmix_bbox_and_lam(pixels.shape, share)
        share = float(left_over)
        pixels = pixels.clone()
        pixels[..., top:bottom, left:right] = partners[..., top:bottom, left:right]
    else:
        pixels = share * pixels + (1 - share) * partners
    return (
        pixels,
        torch.cat([classes, classes.flip(0)], dim=1),
        torch.cat([share * weights, (1 - share) * weights.flip(0)], dim=1),
    )
