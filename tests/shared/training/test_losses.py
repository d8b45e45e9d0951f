import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.nn.functional as F

from components.shared.data.identity import Identity
from components.shared.data.targets import Targets, TargetsWriter
from components.shared.training.losses import Head, TargetsLoss
from components.shared.training.settings import TargetNorm


def example() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Six images, seven classes, up to four targets; the last image has none."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(6, 7, generator=generator, dtype=torch.float64)
    classes = torch.stack([torch.randperm(7, generator=generator)[:4] for _ in range(6)])
    weights = torch.rand(6, 4, generator=generator)
    weights[0, 2:] = weights[5] = 0
    return logits.float().requires_grad_(), classes, weights


def dense(classes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(classes), 7).scatter_add(1, classes, weights)


def test_the_sum_of_two_targets_worked_out_by_hand() -> None:
    # softmax of (ln 2, 0, 0) is (1/2, 1/4, 1/4); the targets are 0 and 2.
    logits = torch.tensor([[math.log(2), 0, 0]])
    loss = TargetsLoss("sum")(logits, torch.tensor([[0, 2]]), torch.ones(1, 2))
    assert loss.tolist() == pytest.approx([math.log(2) + math.log(4)])


def test_weights_multiply_each_targets_cross_entropy() -> None:
    logits = torch.tensor([[math.log(2), 0, 0]])
    weights = torch.tensor([[0.77, 0.45]])
    summed = TargetsLoss("sum")(logits, torch.tensor([[0, 2]]), weights)
    assert summed.item() == pytest.approx(0.77 * math.log(2) + 0.45 * math.log(4))
    mean = TargetsLoss("mean")(logits, torch.tensor([[0, 2]]), weights)
    assert mean.item() == pytest.approx(summed.item() / 1.22)


@pytest.mark.parametrize("norm", ["sum", "mean"])
def test_loss_and_gradient_equal_cross_entropy_with_dense_targets(norm: str) -> None:
    logits, classes, weights = example()
    target = dense(classes, weights)
    if norm == "mean":
        target = target / target.sum(1, keepdim=True).clamp(min=1e-12)
    expected = F.cross_entropy(logits, target, reduction="none")
    loss = TargetsLoss(norm)(logits, classes, weights)  # type: ignore[arg-type]
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), logits, retain_graph=True)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", ["sum", "mean"])
def test_an_image_without_targets_costs_nothing(norm: str) -> None:
    logits, classes, weights = example()
    loss = TargetsLoss(norm)(logits, classes, weights)  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss[5].item() == 0
    assert gradient[5].abs().max() == 0


def targets(folder: Path, num_classes: int, *images: Sequence[float]) -> Targets:
    """Write Targets whose images have these weights, of the classes 0, 1, …"""
    names = [f"{folder.name}-{i}" for i in range(num_classes)]
    with TargetsWriter(folder, names, names, Identity.of(map(str, range(len(images))))) as writer:
        for weights in images:
            writer.append([len(weights)], range(len(weights)), weights)
    return Targets.load(folder)


def test_scaled_the_average_image_counts_as_one_target_of_weight_1(tmp_path: Path) -> None:
    # Of the images that have targets, one weighs 0.5 on average.
    weighted = targets(tmp_path / "weighted", 7, [0.25, 0.25], [], [0.5], [0.1, 0.2, 0.2])
    example_ = example()

    scaled = TargetsLoss.of("scaled", weighted)(*example_)

    torch.testing.assert_close(scaled, 2 * TargetsLoss("sum")(*example_))
    torch.testing.assert_close(
        TargetsLoss.of("sum", weighted)(*example_), TargetsLoss("sum")(*example_)
    )


@pytest.mark.parametrize(("norm", "scale"), [("sum", 1.0), ("scaled", 2.0)])
def test_each_head_is_scaled_by_its_own_targets(
    norm: TargetNorm, scale: float, tmp_path: Path
) -> None:
    keywords = targets(tmp_path / "keywords", 3, [0.5], [0.5])
    concepts = targets(tmp_path / "concepts", 4, [1.0], [0.5, 0.5])
    example_ = example()

    found = TargetsLoss.of(norm, keywords, concepts, weights=(1.0, 0.3))(*example_)

    expected = TargetsLoss("sum", [Head(3, scale), Head(4, 0.3)])(*example_)
    torch.testing.assert_close(found, expected)


def test_label_smoothing_of_weights_that_sum_to_one_is_torchs() -> None:
    logits, classes, weights = (part[:5] for part in example())  # the sixth has no targets
    target = dense(classes, weights)
    sums = target.sum(1)
    expected = F.cross_entropy(
        logits, target / sums[:, None], reduction="none", label_smoothing=0.1
    )
    mean = TargetsLoss("mean")(logits, classes, weights, 0.1)
    torch.testing.assert_close(mean, expected, rtol=1e-5, atol=1e-6)
    # A sum of weights is smoothed as a whole.
    summed = TargetsLoss("sum")(logits, classes, weights, 0.1)
    torch.testing.assert_close(summed, sums * expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", ["sum", "mean"])
def test_an_image_without_targets_costs_nothing_smoothed(norm: Literal["sum", "mean"]) -> None:
    assert TargetsLoss(norm)(*example(), 0.1)[5].item() == 0


def test_labels_are_smoothed_within_each_head() -> None:
    logits, classes, weights = two_heads()
    target = dense(classes, weights)
    expected = torch.zeros(6)
    for part in (slice(0, 3), slice(3, 7)):
        of_head = target[:, part]
        smooth = 0.9 * of_head + 0.1 * of_head.mean(1, keepdim=True)
        expected = expected + F.cross_entropy(logits[:, part], smooth, reduction="none")
    loss = TargetsLoss("sum", [Head(3), Head(4)])(logits, classes, weights, 0.1)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


def test_low_precision_logits_are_reduced_in_fp32() -> None:
    logits = torch.randn(8, 35_000, generator=torch.Generator().manual_seed(0)).bfloat16()
    classes, weights = torch.zeros(8, 1, dtype=torch.int64), torch.ones(8, 1)
    loss = TargetsLoss()(logits, classes, weights)
    expected = F.cross_entropy(logits.double(), classes[:, 0], reduction="none")
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=0, atol=1e-5)


def test_huge_logits_do_not_overflow() -> None:
    loss = TargetsLoss()(torch.tensor([[1e4, -1e4]]), torch.tensor([[1]]), torch.ones(1, 1))
    assert loss.item() == 2e4


def two_heads() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The example with its seven outputs as heads of three and four, and their padding mixed in."""
    logits, classes, weights = example()
    weights[1, classes[1] < 3] = 0  # nothing in the first head
    weights[2, classes[2] >= 3] = 0  # nothing in the second
    return logits, classes, weights


@pytest.mark.parametrize("norm", ["sum", "mean"])
def test_two_heads_are_two_losses_weighted(norm: Literal["sum", "mean"]) -> None:
    logits, classes, weights = two_heads()
    target = dense(classes, weights)
    expected = torch.zeros(6)
    for part, factor in ((slice(0, 3), 1.0), (slice(3, 7), 2.5)):
        of_head = target[:, part]
        if norm == "mean":
            of_head = of_head / of_head.sum(1, keepdim=True).clamp(min=1e-12)
        oracle = F.cross_entropy(logits[:, part], of_head, reduction="none")
        every_class = torch.arange(of_head.shape[1]).expand(6, -1)
        alone = TargetsLoss(norm)(logits[:, part], every_class, target[:, part])
        torch.testing.assert_close(alone, oracle, rtol=1e-5, atol=1e-6)
        expected = expected + factor * oracle
    loss = TargetsLoss(norm, [Head(3), Head(4, 2.5)])(logits, classes, weights)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-6)
    assert loss[5].item() == 0


@pytest.mark.parametrize("norm", ["sum", "mean"])
def test_one_head_is_the_same_named_or_not(norm: Literal["sum", "mean"]) -> None:
    named = TargetsLoss(norm, [Head(7)])(*example())
    assert torch.equal(named, TargetsLoss(norm)(*example()))


def test_low_precision_logits_of_two_heads_are_reduced_in_fp32() -> None:
    logits = torch.randn(8, 40_000, generator=torch.Generator().manual_seed(0)).bfloat16()
    classes = torch.tensor([[0, 35_000]]).expand(8, -1)
    loss = TargetsLoss(heads=[Head(35_000), Head(5_000)])(logits, classes, torch.ones(8, 2))
    expected = F.cross_entropy(logits[:, :35_000].double(), classes[:, 0], reduction="none")
    expected += F.cross_entropy(logits[:, 35_000:].double(), classes[:, 0], reduction="none")
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=0, atol=2e-5)
