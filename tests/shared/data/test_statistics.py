import math

import numpy as np
import pytest
from numpy.typing import NDArray

from components.shared.data.statistics import image_weight, interval, over_images, over_seeds
from tests.shared.data import coverage


@pytest.mark.slow
@pytest.mark.parametrize("measure", [coverage.of_images, coverage.of_seeds, coverage.of_both])
def test_an_interval_holds_the_truth_however_small_the_validation_set(
    measure: coverage.Measure,
) -> None:
    assert min(coverage.shares(measure, settings=40)) >= 0.93


def over(values: NDArray[np.float64], labels: NDArray[np.int64]) -> list[float]:
    (spread,) = over_images(values[None], labels)
    return list(interval(float(values.mean()), spread))


def test_of_many_images_the_interval_is_that_of_the_measured_variance() -> None:
    labels = np.arange(6000) % 3
    values = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], size=6000)
    half = 1.96 * values.std() / 6000**0.5
    assert over(values, labels) == pytest.approx([values.mean() - half, values.mean() + half], 0.02)


def test_images_that_all_agree_leave_open_what_the_rule_of_three_leaves() -> None:
    labels = np.arange(100) % 2
    assert over(np.zeros(100), labels) == pytest.approx([-3.84 / 100, 3.84 / 100], 1e-3)


def test_a_class_with_a_single_image_leaves_the_spread_over_images_unknown() -> None:
    (spread,) = over_images(np.array([[0.0, 1.0, 1.0]]), np.array([0, 1, 1]))
    assert all(map(math.isnan, interval(0.5, spread)))


def test_the_interval_of_a_single_seed_is_unknown() -> None:
    assert all(map(math.isnan, interval(0.5, over_seeds(np.array([0.5]), 0.1))))


def test_seeds_that_agree_leave_open_half_an_images_weight() -> None:
    weight = image_weight(np.arange(14) % 2)
    low, high = interval(-0.125, over_seeds(np.full(3, -0.125), weight))
    half = 4.302653 * weight / 2 / 3**0.5  # Student's t of two degrees of freedom
    assert (low, high) == pytest.approx((-0.125 - half, -0.125 + half))


def test_an_image_weighs_its_share_and_more_where_classes_are_small() -> None:
    assert image_weight(np.arange(14) % 2) == pytest.approx(1 / 14)
    assert 1 / 32 < image_weight(np.repeat([0, 1], [2, 30])) < 1 / 4


def test_an_interval_of_a_difference_ends_where_differences_do() -> None:
    assert over(np.ones(4), np.arange(4) % 2)[1] == 1
