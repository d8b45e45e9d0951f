"""The loss of every training stage."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.shared.data.targets import Targets
from components.shared.training.settings import TargetNorm


class Head(NamedTuple):
    """Outputs with a softmax of their own.

    Attributes:
        size: How many.
        weight: The weight of their loss.
    """

    size: int
    weight: float = 1.0


class TargetsLoss(nn.Module):
    """Cross-entropy with several weighted targets an image (slides 4 and 5 of the talk).

    With the targets t of an image, their weights w_t, W = Σ_t w_t and the logits z:

        L = Σ_t w_t · (-log softmax(z)_t)

    This is the norm "sum", the talk's. With "mean" it is divided by W (Mahajan et al. 2018,
    "Exploring the limits of weakly supervised pretraining"). With one target of weight 1 both are
    the usual cross-entropy.

    Label smoothing spreads a share e of an image's weights evenly over the C classes of a head
    (Szegedy et al. 2016, "Rethinking the inception architecture for computer vision"):

        L = Σ_t (1-e) w_t · (-log softmax(z)_t) + Σ_c e W/C · (-log softmax(z)_c)

    A model of several heads has a softmax for each. Their losses, each normalised by itself, are
    added: L = Σ_h weight_h · L_h.

    Over 35,000 classes it takes two thirds of the time of dense targets, a sixth of that of a
    cross-entropy for each of eight targets (on a CPU core; `tests/benchmarks/loss.py`).
    """

    def __init__(self, norm: Literal["sum", "mean"] = "sum", heads: Sequence[Head] = ()) -> None:
        """Choose between the sum over an image's targets and their mean.

        Args:
            norm: "sum" or "mean".
            heads: The heads that the outputs are divided into, in order; empty means a single one.
        """
        super().__init__()
        self.norm, self.heads = norm, heads

    @classmethod
    def of(cls, norm: TargetNorm, *targets: Targets, weights: Sequence[float] = (1.0,)) -> Self:
        """Return the loss of a model with a head for each of some targets.

        With "scaled", a head's loss is divided by what an image's targets weigh on average. So a
        learning rate means the same for any targets, and an image that says more still counts more.

        Args:
            norm: How an image is weighed.
            targets: The targets.
            weights: The weights of their heads' losses.
        """
        if norm == "scaled":
            parts = zip(weights, targets, strict=True)
            weights = [weight / each.average_weight for weight, each in parts]
        elif len(targets) == 1:
            return cls(norm)
        sizes = (len(each.names) for each in targets)
        heads = [Head(*each) for each in zip(sizes, weights, strict=True)]
        return cls("mean" if norm == "mean" else "sum", heads)

    def forward(
        self,
        logits_BC: Tensor,
        classes_BK: Tensor,
        weights_BK: Tensor,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Return the loss of each image (B,) in fp32; it is 0 for one without targets.

        Args:
            logits_BC: Scores of any float type. They are reduced in fp32: over bf16 logits the
                log-sum-exp is off by up to 0.13.
            classes_BK: The targets' classes, int64, counted over all heads; padded with any class.
            weights_BK: The targets' weights, float32; padded with 0.
            label_smoothing: The share e, for training; what validates is not smoothed.
        """
        if not self.heads:
            return self._of_head(logits_BC, classes_BK, weights_BK, label_smoothing)
        losses_B = torch.zeros_like(weights_BK[:, 0])
        sizes = [head.size for head in self.heads]
        for head, its_BC in zip(self.heads, torch.split(logits_BC, sizes, dim=1), strict=True):
            its_BK = (classes_BK >= 0) & (classes_BK < head.size)
            its_classes_BK, its_weights_BK = classes_BK.where(its_BK, 0), weights_BK * its_BK
            loss_B = self._of_head(its_BC, its_classes_BK, its_weights_BK, label_smoothing)
            losses_B = losses_B + head.weight * loss_B
            classes_BK = classes_BK - head.size
        return losses_B

    def _of_head(
        self, logits_BC: Tensor, classes_BK: Tensor, weights_BK: Tensor, label_smoothing: float
    ) -> Tensor:
        if self.norm == "mean":
            weights_BK = weights_BK / weights_BK.sum(dim=1, keepdim=True).clamp(min=1e-12)
        log_shares_BC = F.log_softmax(logits_BC, dim=1, dtype=torch.float32)
        losses_B = -(weights_BK * log_shares_BC.gather(1, classes_BK)).sum(dim=1)
        if label_smoothing:
            spread_B = -weights_BK.sum(dim=1) * log_shares_BC.mean(dim=1)
            losses_B = (1 - label_smoothing) * losses_B + label_smoothing * spread_B
        return losses_B
