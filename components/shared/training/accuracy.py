"""The challenge's metric: accuracy per class, averaged over the classes.

With every class present and equally frequent it equals the official script's figure.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k highest scores of each row and their classes, both (B, min(k, C)).

    Ties are broken by class number, on every device: `torch.topk` leaves that open, and a metric
    that asks "is any score above the label's?" would reward a constant model.
    """
    ordered, classes = scores.sort(dim=1, descending=True, stable=True)
    # Copies: as views they would keep all scores in memory.
    return ordered[:, :k].clone(), classes[:, :k].clone()


class BalancedAccuracy:
    """Top-1 and top-5 accuracy, per class and then averaged over the classes that have images.

    With fewer than five classes the top five are all of them.

    Attributes:
        counts: (3, C) int64: images, top-1 hits and top-5 hits per class. They add up over ranks.
    """

    def __init__(self, num_classes: int) -> None:
        """Start with no images."""
        self.counts = torch.zeros(3, num_classes, dtype=torch.int64)

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Add a batch: scores (B, C), logits or probabilities, and labels (B,) int64."""
        self.update_ranked(top_k(scores, 5)[1], labels)

    def update_ranked(self, classes: Tensor, labels: Tensor) -> None:
        """Add a batch: its classes (B, min(5, C)) of the highest scores, and labels (B,) int64."""
        hits = classes == labels[:, None]
        num_classes = self.counts.shape[1]
        for row, counted in enumerate((labels, labels[hits[:, 0]], labels[hits.any(dim=1)])):
            self.counts[row] += torch.bincount(counted, minlength=num_classes).cpu()

    @property
    def images(self) -> int:
        """How many images were counted."""
        return int(self.counts[0].sum())

    @property
    def top1(self) -> float:
        """Balanced top-1 accuracy, 0 … 1; NaN before any image."""
        return self._balanced(1)

    @property
    def top5(self) -> float:
        """Balanced top-5 accuracy, 0 … 1; NaN before any image."""
        return self._balanced(2)

    @property
    def per_class(self) -> NDArray[np.float64]:
        """Top-1 accuracy of each class (C,); NaN for classes without an image."""
        images, hits = self.counts[0].double(), self.counts[1].double()
        accuracy: NDArray[np.float64] = (hits / images).numpy()
        return accuracy

    @property
    def missing_classes(self) -> list[int]:
        """Classes without an image, which the averages leave out."""
        missing: list[int] = (self.counts[0] == 0).nonzero().flatten().tolist()
        return missing

    def _balanced(self, row: int) -> float:
        present = self.counts[0] > 0
        return float((self.counts[row, present] / self.counts[0, present].double()).mean())
