"""Means over seeds, and their uncertainty: two kinds of interval, for two sources of chance.

Another seed gives other weights, draws and crops; other validation images would be another exam.
The first is measured by the spread over seeds (Student's t), the second by resampling the images
(Efron's bootstrap, within each class, as the metric is a mean over classes).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95


class Interval(NamedTuple):
    """A 95 % confidence interval; NaN if unknown."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A mean over seeds.

    Attributes:
        mean: The mean.
        error: Its standard error; NaN for a single seed.
        seeds: Its interval, by Student's t over the seeds.
    """

    mean: float
    error: float
    seeds: Interval

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Estimate":
        """Estimate from one value per seed."""
        mean, count = float(values.mean()), len(values)
        if count < 2:
            return cls(mean, math.nan, Interval(math.nan, math.nan))
        error = float(standard_error(values))
        half = error * float(stats.t.ppf((1 + LEVEL) / 2, count - 1))
        return cls(mean, error, Interval(mean - half, mean + half))


def standard_error(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard errors (…) of the means over several seeds, of values (S, …)."""
    errors: NDArray[np.float64] = values.std(axis=0, ddof=1) / math.sqrt(len(values))
    return errors


def per_class(values: NDArray[np.generic], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the means (…, C) of values (…, N) over the images of each class that has any."""
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(values[..., order].astype(np.float64), starts, axis=-1)
    means: NDArray[np.float64] = sums / counts
    return means


def balanced(values: NDArray[np.generic], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the means (…) over the classes of the means over their images, of values (…, N)."""
    means: NDArray[np.float64] = per_class(values, labels).mean(axis=-1)
    return means


def over_images(
    values: NDArray[np.float64], labels: NDArray[np.int64], resamples: int
) -> list[Interval]:
    """Return the bootstrap's intervals of the balanced means of D values (D, N).

    All of them use the same resamples. The intervals are percentile intervals.

    Args:
        values: A value per image, such as the difference of two classifiers' hits.
        labels: (N,) The images' classes.
        resamples: The number of resamples.
    """
    random = np.random.default_rng(0)
    classes = np.unique(labels)
    means = np.zeros((resamples, len(values)))
    for label in classes.tolist():
        images = np.flatnonzero(labels == label)
        count = len(images)
        drawn = random.integers(count, size=(resamples, count))
        # How often each image was drawn in each resample; then one product serves all values.
        drawn += count * np.arange(resamples)[:, None]
        often = np.bincount(drawn.ravel(), minlength=resamples * count).reshape(resamples, count)
        means += often @ values[:, images].T / count
    means /= len(classes)
    tails = 50 * (1 - LEVEL), 50 * (1 + LEVEL)
    return [Interval(*row) for row in np.percentile(means, tails, axis=0).T.tolist()]
