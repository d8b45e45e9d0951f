"""Difference hashes: 128 bits of a picture that survive resizing and recompression.

A picture's centre square is shrunk to 9 × 8 grey pixels, then to 8 × 9. Each of the first eight
rows gives eight bits, whether a pixel is brighter than its left neighbour; the columns of the
second likewise (Krawetz 2013, "Kind of like that"). Rows alone would be 64 bits, too few to tell
millions of photographs apart.
"""

import math
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from components.shared.data.image_set import ImageSet
from components.shared.stage import ranks
from components.shared.stage.progress import progress
from components.shared.storage.resume import Parts
from components.shared.training import transforms
from components.shared.training.views import Crop

BITS = 128
# Pixels of the squares that workers hand over.
_SIDE = 16
_BATCH = 256
_GREY = (0.299, 0.587, 0.114)


def difference_hash(crops: Tensor) -> Tensor:
    """Return the hashes (B, 16) uint8, eight bits a byte, of crops (B, 3, S, S) uint8."""
    weights = torch.tensor(_GREY, device=crops.device).view(1, 3, 1, 1)
    grey = (crops.float() * weights).sum(dim=1, keepdim=True)
    rows = F.interpolate(grey, size=(8, 9), mode="bilinear", antialias=True)
    columns = F.interpolate(grey, size=(9, 8), mode="bilinear", antialias=True)
    bits = torch.cat([rows.diff(dim=3).flatten(1), columns.diff(dim=2).flatten(1)], dim=1) > 0
    powers = 2 ** torch.arange(8, device=crops.device)
    hashes: Tensor = (bits.view(-1, BITS // 8, 8) * powers).sum(dim=2).to(torch.uint8)
    return hashes


@dataclass(frozen=True, slots=True)
class Hashes:
    """Hashes all images of a set, shard by shard; the ranks divide the shards.

    Attributes:
        uri: URI of the parts' folder.
        images: The images.
    """

    uri: str
    images: ImageSet

    def run(self, what: str) -> None:
        """Make the missing parts, all ranks together.

        Args:
            what: What they are, shown with the progress.
        """
        parts = Parts(self.uri)
        share = range(ranks.rank(), len(self.images.shards), ranks.world_size())
        missing = [shard for shard in share if parts.load(shard) is None]
        ends = np.cumsum([0, *(shard.images for shard in self.images.shards)])
        stretches = [range(ends[shard], ends[shard + 1]) for shard in missing]
        stream = transforms.evaluation_batches(self.images, stretches, [Crop(_SIDE)], _BATCH)
        shown = progress(missing, total=len(missing), unit="shard", what=what)
        for shard, numbers in zip(shown, stretches, strict=True):
            batches = islice(stream, math.ceil(len(numbers) / _BATCH))
            found = [difference_hash(crops.to(transforms.device())) for _, (crops,) in batches]
            parts.save(shard, {"hashes": torch.cat(found).cpu().numpy()})
        ranks.barrier()

    def all(self) -> NDArray[np.uint64]:
        """Return the hashes (N, 2), once all parts have been made."""
        parts = Parts(self.uri)
        found = [np.zeros((0, BITS // 8), np.uint8)]
        for shard in range(len(self.images.shards)):
            arrays = parts.load(shard)
            assert arrays is not None
            found.append(arrays["hashes"])
        return np.concatenate(found).view(np.uint64)
