"""The loss of several weighted targets an image, next to two that need no code of our own.

    python -m tests.benchmarks.loss

A loop over the targets with `F.cross_entropy`, and `F.cross_entropy` with dense targets (B, C).
Forward and backward, on the GPU if there is one, else on one core; logits in bf16 are reduced in
fp32 by all three. Memory is the most that tensors take at a time, beside logits and targets.
"""

import argparse
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from components.shared.training.losses import TargetsLoss
from components.shared.training.transforms import device
from tests.benchmarks.rounds import (
    interleaved,
    machine,
    on_one_core,
    peak_bytes,
    print_table,
    ratio,
)

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def loop(logits_BC: Tensor, classes_BK: Tensor, weights_BK: Tensor) -> Tensor:
    """Return the images' losses (B,): a cross-entropy for each column of targets."""
    logits_BC, losses_B = logits_BC.float(), torch.zeros_like(weights_BK[:, 0])
    for classes_B, weights_B in zip(classes_BK.T, weights_BK.T, strict=True):
        losses_B = losses_B + weights_B * F.cross_entropy(logits_BC, classes_B, reduction="none")
    return losses_B


def dense(logits_BC: Tensor, classes_BK: Tensor, weights_BK: Tensor) -> Tensor:
    """Return the images' losses (B,): the cross-entropy with a row of weights."""
    targets_BC = torch.zeros_like(logits_BC, dtype=torch.float32, requires_grad=False)
    targets_BC.scatter_add_(1, classes_BK, weights_BK)
    return F.cross_entropy(logits_BC.float(), targets_BC, reduction="none")


def example(
    batch_size: int, num_classes: int, most_targets: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Return random logits (B, C), classes and weights (B, K); images have 1 … K targets."""
    torch.manual_seed(0)
    logits_BC = 4 * torch.randn(batch_size, num_classes)
    classes_BK = torch.rand(batch_size, num_classes).topk(most_targets).indices
    there_BK = torch.arange(most_targets) < torch.randint(1, most_targets + 1, (batch_size, 1))
    weights_BK = torch.rand(batch_size, most_targets) * there_BK
    where = device()
    return (
        logits_BC.to(where, dtype).requires_grad_(),
        (classes_BK * there_BK).to(where),
        weights_BK.to(where),
    )


def steps(example: tuple[Tensor, Tensor, Tensor]) -> Mapping[str, Callable[[], Tensor]]:
    """Return what is measured; each gives the gradient of the logits."""
    logits_BC = example[0]

    def step(loss: Loss) -> Tensor:
        (gradient_BC,) = torch.autograd.grad(loss(*example).mean(), logits_BC)
        if gradient_BC.is_cuda:
            torch.cuda.synchronize()
        return gradient_BC

    losses: dict[str, Loss] = {"TargetsLoss": TargetsLoss(), "loop": loop, "dense": dense}
    return {name: lambda loss=loss: step(loss) for name, loss in losses.items()}  # type: ignore


def main() -> None:
    """Print a table for fp32 and bf16."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--classes", type=int, default=35_000)
    parser.add_argument("--targets", type=int, default=8, help="of an image, at most")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    shape = arguments.batch_size, arguments.classes, arguments.targets
    on_one_core()
    print("{} images, {:,} classes, up to {} targets; on".format(*shape), machine(), "\n")
    rows = []
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        contestants = steps(example(*shape, dtype))
        expected = contestants["TargetsLoss"]()
        for run in contestants.values():
            torch.testing.assert_close(run(), expected)
        seconds = interleaved(contestants, arguments.rounds)
        for contestant, run in contestants.items():
            each = 1e3 * sum(seconds[contestant]) / arguments.rounds
            times = ratio(seconds, "TargetsLoss", contestant)
            memory = peak_bytes(run) / 2**20
            rows.append([f"{contestant}, {name}", f"{each:.1f}", f"{times:.2f}", f"{memory:.0f}"])
    print_table(["", "ms", "times ours takes", "MiB"], rows)


if __name__ == "__main__":
    main()
