import math

import numpy as np
import pytest
import torch

from components.shared.training.accuracy import BalancedAccuracy, top_k


def scores_for(predictions: list[int], num_classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(predictions), num_classes).float()


def test_classes_count_equally_however_many_images_they_have() -> None:
    # Confusion, worked by hand: class 0 has 4 images, 3 right; class 1 has 1 image, wrong;
    # class 2 has 2 images, 1 right. Plain accuracy is 4/7; balanced (3/4 + 0 + 1/2) / 3 = 5/12.
    labels = torch.tensor([0, 0, 0, 0, 1, 2, 2])
    predictions = [0, 0, 0, 1, 2, 2, 0]
    accuracy = BalancedAccuracy(3)
    accuracy.update(scores_for(predictions, 3), labels)
    assert accuracy.top1 == pytest.approx(5 / 12)
    np.testing.assert_allclose(accuracy.per_class, [3 / 4, 0, 1 / 2])
    assert accuracy.images == 7


def test_top5_asks_for_the_label_among_the_five_highest() -> None:
    # Scores fall with the class number: the top five are 0 … 4, whatever the image.
    scores = torch.arange(8, 0, -1.0).expand(4, 8)
    accuracy = BalancedAccuracy(8)
    accuracy.update(scores, torch.tensor([0, 4, 5, 7]))
    assert accuracy.top1 == 1 / 4
    assert accuracy.top5 == 2 / 4


def test_classes_without_an_image_are_left_out_and_named() -> None:
    accuracy = BalancedAccuracy(4)
    accuracy.update(scores_for([1, 3, 0], 4), torch.tensor([1, 3, 3]))
    assert accuracy.missing_classes == [0, 2]
    assert accuracy.top1 == (1 + 1 / 2) / 2
    assert math.isnan(accuracy.per_class[0])


def test_batches_add_up() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(64, 7, generator=generator)
    labels = torch.randint(0, 7, (64,), generator=generator)
    whole, parts = BalancedAccuracy(7), BalancedAccuracy(7)
    whole.update(scores, labels)
    for batch in range(0, 64, 10):
        parts.update(scores[batch : batch + 10], labels[batch : batch + 10])
    assert torch.equal(whole.counts, parts.counts)


def test_equal_scores_do_not_favour_the_label() -> None:
    accuracy = BalancedAccuracy(10)
    accuracy.update(torch.zeros(10, 10), torch.arange(10))
    assert accuracy.top1 == pytest.approx(1 / 10)  # chance
    assert accuracy.top5 == pytest.approx(5 / 10)


def test_a_model_of_nan_does_not_score_above_chance() -> None:
    accuracy = BalancedAccuracy(10)
    accuracy.update(torch.full((10, 10), math.nan), torch.arange(10))
    assert accuracy.top1 == pytest.approx(1 / 10)


def test_with_three_classes_the_top_five_are_all_three() -> None:
    accuracy = BalancedAccuracy(3)
    accuracy.update(torch.rand(3, 3), torch.arange(3))
    assert accuracy.top5 == 1.0


def test_accuracy_of_no_image_is_nan() -> None:
    assert math.isnan(BalancedAccuracy(3).top1)


def test_top_k_orders_by_score_then_by_class() -> None:
    values, classes = top_k(torch.tensor([[1.0, 3.0, 3.0, 2.0, 3.0]]), 4)
    assert classes.tolist() == [[1, 2, 4, 3]]
    assert values.tolist() == [[3.0, 3.0, 3.0, 2.0]]


def test_the_highest_scores_do_not_keep_the_others_in_memory() -> None:
    for found in top_k(torch.rand(4, 1000), 5):
        assert found.untyped_storage().nbytes() == 4 * 5 * found.element_size()
