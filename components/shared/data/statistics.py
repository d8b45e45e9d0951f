"""Means over seeds, and their uncertainty: intervals for two sources of chance, and for both.

Another seed gives other weights, draws and crops; other validation images would be another exam.
Each adds a variance to that of a mean, measured by the spread over the seeds, and by the spread
over the images within each class, as the metric is a mean over classes. An interval is Student's t,
with degrees of freedom by Welch and Satterthwaite (Biometrics Bulletin 2, 1946).

Few images often agree by chance, and then show less spread than they have. So a variance is never
smaller than what they can tell apart: the weight of one image.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

LEVEL = 0.95
_QUANTILE = (1 + LEVEL) / 2
_Z = float(stdtrit(math.inf, _QUANTILE))


class Interval(NamedTuple):
    """A 95 % confidence interval; NaN if unknown."""

    low: float
    high: float


class Spread(NamedTuple):
    """The variance of a mean, and the degrees of freedom of its estimate; NaN if not measured."""

    variance: float
    freedom: float


class Estimate(NamedTuple):
    """A mean over seeds.

    Attributes:
        mean: The mean.
        error: Its standard error; NaN for a single seed.
        seeds: Its interval for other seeds.
    """

    mean: float
    error: float
    seeds: Interval

    @classmethod
    def of(cls, values: NDArray[np.float64], weight: float) -> "Estimate":
        """Estimate from one value per seed; `weight` as in `over_seeds`."""
        mean = float(values.mean())
        error = float(standard_error(values)) if len(values) > 1 else math.nan
        return cls(mean, error, interval(mean, over_seeds(values, weight)))


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


def image_weight(labels: NDArray[np.int64]) -> float:
    """Return how much one image counts in a balanced mean.

    Where classes differ in size, it is the quadratic mean over the images, each counted by its
    share of the variance: so those of small classes, which weigh the most, count the most.
    """
    _, counts = np.unique(labels, return_counts=True)
    return math.sqrt((1 / counts**3).sum() / (1 / counts).sum()) / len(counts)


def over_seeds(values: NDArray[np.float64], weight: float) -> Spread:
    """Return the spread of the mean of values (S,), one per seed.

    A value moves in steps of an image's weight. Between two steps, the variance is at most a
    quarter of the step's square, and values that are all the same leave open that it is as much.

    Args:
        values: Balanced means.
        weight: As `image_weight` returns it.
    """
    count = len(values)
    if count < 2:
        return Spread(math.nan, math.nan)
    return Spread(max(float(values.var(ddof=1)), weight**2 / 4) / count, count - 1)


def over_images(values: NDArray[np.float64], labels: NDArray[np.int64]) -> list[Spread]:
    """Return the spreads of the balanced means of D values (D, N) between -1 and 1.

    A class with a single image has no variance that could be measured, so there is no spread.

    To the variance that is measured, z² squared weights of an image are added, as Wilson's interval
    does (JASA 22, 1927). Where all of n images agree, half of an interval is z²/n = 3.8/n, about
    what the others may differ by without any of n having shown it (the rule of three: Hanley and
    Lippman-Hand, JAMA 249, 1983). It vanishes with many images.

    Args:
        values: A value per image, such as the difference of two classifiers' hits.
        labels: (N,) The images' classes.
    """
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        return [Spread(math.nan, math.nan)] * len(values)
    deviations = values - per_class(values, labels)[:, classes]
    variances = per_class(deviations**2, labels) / (counts - 1) / len(counts) ** 2
    # What is added counts as known.
    sums = variances.sum(axis=1) + (_Z * image_weight(labels)) ** 2
    unsure = (variances**2 / (counts - 1)).sum(axis=1)
    freedoms = np.divide(sums**2, unsure, out=np.full_like(sums, np.inf), where=unsure > 0)
    return [Spread(*each) for each in zip(sums.tolist(), freedoms.tolist(), strict=True)]


def interval(mean: float, *spreads: Spread) -> Interval:
    """Return the interval of a mean between -1 and 1 whose variance is the sum of the given.

    It is no narrower than with each of them alone, of which the sum may have more degrees of
    freedom.
    """
    half = _half(*spreads)
    if math.isnan(half):
        return Interval(math.nan, math.nan)
    half = max(half, *map(_half, spreads))
    return Interval(max(-1.0, mean - half), min(1.0, mean + half))


def _half(*spreads: Spread) -> float:
    variance = sum(each.variance for each in spreads)
    unsure = sum(each.variance**2 / each.freedom for each in spreads)
    freedom = variance**2 / unsure if unsure else math.inf
    return float(stdtrit(freedom, _QUANTILE)) * math.sqrt(variance)
