"""The loss of every training stage."""

from typing import Literal

import torch
from torch import Tensor, nn


class TargetsLoss(nn.Module):
    """Cross-entropy with several weighted targets an image (slides 4 and 5 of the talk).

    With the targets t of an image, their weights w_t, W = Σ_t w_t and the logits z:

        L = Σ_t w_t · (-log softmax(z)_t) = W · logsumexp(z) - Σ_t w_t z_t

    This is the norm "sum", the talk's. With "mean" it is divided by W (Mahajan et al. 2018,
    "Exploring the limits of weakly supervised pretraining"). With one target of weight 1 both are
    the usual cross-entropy. Over 35,000 classes the second form never makes a dense target, and
    takes half the time.
    """

    def __init__(self, norm: Literal["sum", "mean"] = "sum") -> None:
        """Choose between the sum over an image's targets and their mean."""
        super().__init__()
        self.norm = norm

    def forward(self, logits_BC: Tensor, classes_BK: Tensor, weights_BK: Tensor) -> Tensor:
        """Return the loss of each image (B,) in fp32; it is 0 for one without targets.

        Args:
            logits_BC: Scores of any float type. They are reduced in fp32: over bf16 logits the
                log-sum-exp is off by up to 0.13.
            classes_BK: The targets' classes, int64; padded with any class.
            weights_BK: The targets' weights, float32; padded with 0.
        """
        logits_BC = logits_BC.float()
        if self.norm == "mean":
            weights_BK = weights_BK / weights_BK.sum(dim=1, keepdim=True).clamp(min=1e-12)
        on_targets = (weights_BK * logits_BC.gather(1, classes_BK)).sum(dim=1)
        return weights_BK.sum(dim=1) * torch.logsumexp(logits_BC, dim=1) - on_targets
