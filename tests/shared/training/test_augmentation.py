import random

import numpy as np
import pytest
import torch
from torch import Tensor

from components.shared.training.augmentation import RandAugment, mixed
from components.shared.training.losses import TargetsLoss

# Images 0 … 4, each in a shade and with a class of its own; the odd ones' second target is padding.
SHADES = torch.arange(5.0)
CLASSES = torch.tensor([[image, 5] for image in range(5)])
WEIGHTS = torch.tensor([[1.0, 0.5 * (image % 2 == 0)] for image in range(5)])


def mix(seed: int, mixup: float = 0.0, cutmix: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    pixels = SHADES[:, None, None, None].expand(5, 3, 12, 16).clone()
    return mixed(pixels, CLASSES, WEIGHTS, mixup=mixup, cutmix=cutmix, seed=seed)


def share_of(weights: Tensor) -> float:
    """Return an image's own share, after a check that all targets of all images have theirs."""
    share = weights[0, 0].item()
    expected = torch.cat([share * WEIGHTS, (1 - share) * WEIGHTS.flip(0)], dim=1)
    torch.testing.assert_close(weights, expected)
    return share


@pytest.mark.parametrize("seed", range(5))
def test_mixup_adds_an_image_and_its_partner_by_the_shares_of_their_targets(seed: int) -> None:
    pixels, classes, weights = mix(seed, mixup=0.8)
    share = share_of(weights)
    assert 0 < share < 1
    expected = share * SHADES + (1 - share) * SHADES.flip(0)
    torch.testing.assert_close(pixels, expected[:, None, None, None].expand_as(pixels))
    assert classes.tolist() == [[image, 5, 4 - image, 5] for image in range(5)]


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_pastes_a_box_of_the_share_of_the_partners_targets(seed: int) -> None:
    pixels, _, weights = mix(seed, cutmix=1.0)
    own = pixels[0, 0] == 0
    assert (own | (pixels[0, 0] == 4)).all()
    assert own.float().mean().item() == pytest.approx(share_of(weights))
    rows, columns = (~own).any(dim=1), (~own).any(dim=0)
    assert torch.equal(~own, rows[:, None] & columns)  # a box
    for image in range(5):
        assert torch.equal(pixels[image] == image, own.expand(3, -1, -1) | (image == 2))


def test_with_both_half_of_the_micro_batches_are_pasted() -> None:
    pasted = [bool((mix(seed, 0.8, 1.0)[0] % 1 == 0).all()) for seed in range(200)]
    assert 70 < sum(pasted) < 130


def test_a_mixed_images_loss_is_that_of_both_by_their_shares() -> None:
    logits = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    _, classes, weights = mix(0, mixup=0.8)
    share = share_of(weights)
    own, partners = (
        TargetsLoss()(logits, of, its)
        for of, its in ((CLASSES, WEIGHTS), (CLASSES.flip(0), WEIGHTS.flip(0)))
    )
    expected = share * own + (1 - share) * partners
    torch.testing.assert_close(TargetsLoss()(logits, classes, weights), expected)


def test_mixing_is_a_function_of_the_seed() -> None:
    first = mix(3, 0.8, 1.0)
    random.seed(1)
    np.random.seed(1)
    assert all(map(torch.equal, first, mix(3, 0.8, 1.0)))
    assert not torch.equal(first[2], mix(4, 0.8, 1.0)[2])


def crop() -> Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    return torch.from_numpy(pixels.repeat(7, axis=0).repeat(7, axis=1)).permute(2, 0, 1)


def test_randaugment_is_a_function_of_the_crops_generator() -> None:
    augment, state = RandAugment(9), torch.get_rng_state()
    first = [augment(crop(), np.random.default_rng(seed)) for seed in range(20)]
    random.seed(1)
    np.random.seed(1)
    again = [augment(crop(), np.random.default_rng(seed)) for seed in range(20)]
    assert all(map(torch.equal, first, again))
    assert {(each.dtype, each.shape) for each in first} == {(torch.uint8, (3, 28, 28))}
    assert len({each.numpy().tobytes() for each in first}) > 10
    assert torch.equal(torch.get_rng_state(), state)


def test_a_larger_magnitude_changes_crops_more() -> None:
    def change(magnitude: int) -> float:
        augment = RandAugment(magnitude)
        augmented = [augment(crop(), np.random.default_rng(seed)) for seed in range(300)]
        return float((torch.stack(augmented).float() - crop().float()).abs().mean())

    assert change(1) < change(5) < change(9)
