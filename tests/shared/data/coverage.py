"""How often intervals hold the truth, in N settings: `python -m tests.shared.data.coverage N`.

Draws small validation sets and classifiers of known accuracies. Each setting has its own classes,
images a class, accuracies, and images that are hard for both of two classifiers.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from components.shared.data.statistics import (
    Interval,
    Spread,
    image_weight,
    interval,
    over_images,
    over_seeds,
)

TRIALS = 1500


class Setting(NamedTuple):
    """Two classifiers on a validation set.

    Attributes:
        labels: (N,) The images' classes.
        accuracies: (2, N) Each classifier's in the class of each image.
        together: How often the two are right or wrong for a common reason.
        certainty: From 0, where each image is as hard as its class, to 1, where whoever is right of
            it once is so always.
        seeds: How many of each classifier.
    """

    labels: NDArray[np.int64]
    accuracies: NDArray[np.float64]
    together: float
    certainty: float
    seeds: int

    @classmethod
    def draw(cls, random: Generator) -> "Setting":
        """Draw one: classes of equal size or not, of equal accuracies or not."""
        classes, most = random.choice([1, 2, 3, 5, 8, 20]), random.integers(2, 31)
        few = random.random(classes) < 0.3
        counts = random.choice(
            [
                np.full(classes, most),
                random.integers(2, 31, classes),
                np.where(few, random.integers(2, 4, classes), 30),
            ]
        )
        accuracies = random.uniform(0.05, 0.95, (2, classes))
        if random.random() < 0.5:
            accuracies[:] = accuracies[:, :1]
        labels = np.repeat(np.arange(classes), counts)
        together, certainty = random.choice([0, 0.5, 0.9, 1], size=2)
        seeds = int(random.choice([2, 3, 5]))
        return cls(labels, accuracies[:, labels], float(together), float(certainty), seeds)

    def hard(self, random: Generator, trials: int) -> NDArray[np.float64]:
        """Draw how hard images are (T, 2, N): uniform, and in part the same for both."""
        own = random.random((trials, 2, len(self.labels)))
        common = random.random((trials, 1, len(self.labels)))
        return np.where(random.random(common.shape) < self.together, common, own)

    def differences(
        self, random: Generator, hard: NDArray[np.float64], seeds: int
    ) -> NDArray[np.float64]:
        """Draw the differences in hits (S, T, N) of so many seeds, given how hard images are."""
        luck = np.stack([self.hard(random, TRIALS) for _ in range(seeds)])
        chance = np.where(random.random(luck.shape) < self.certainty, hard, luck)
        hits = (chance < self.accuracies).astype(float)
        return hits[:, :, 0] - hits[:, :, 1]

    def balanced(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the balanced means of values (…, N)."""
        counts = np.bincount(self.labels)
        means: NDArray[np.float64] = values @ (1 / counts[self.labels] / len(counts))
        return means


def of_images(setting: Setting, random: Generator) -> float:
    """Return how often the interval for other images holds the truth, with one seed."""
    (drawn,) = setting.differences(random, setting.hard(random, TRIALS), 1)
    truth = setting.balanced(np.subtract(*setting.accuracies))
    spreads = ([spread] for spread in over_images(drawn, setting.labels))
    return share(setting.balanced(drawn), spreads, truth)


def of_seeds(setting: Setting, random: Generator) -> float:
    """Return how often the interval for other seeds holds the truth for the same images."""
    hard = np.repeat(setting.hard(random, 1), TRIALS, axis=0)
    values = setting.balanced(setting.differences(random, hard, setting.seeds))
    right = np.where(hard[0] < setting.accuracies, 1.0, 0.0)
    expected = setting.certainty * right + (1 - setting.certainty) * setting.accuracies
    truth = setting.balanced(np.subtract(*expected))
    weight = image_weight(setting.labels)
    spreads = ([over_seeds(each, weight)] for each in values.T)
    return share(values.mean(axis=0), spreads, truth)


def of_both(setting: Setting, random: Generator) -> float:
    """Return how often the interval for other seeds and images holds the truth."""
    drawn = setting.differences(random, setting.hard(random, TRIALS), setting.seeds)
    values, weight = setting.balanced(drawn), image_weight(setting.labels)
    by_images = over_images(drawn.mean(axis=0), setting.labels)
    spreads = (
        [spread, over_seeds(each, weight)] for spread, each in zip(by_images, values.T, strict=True)
    )
    truth = setting.balanced(np.subtract(*setting.accuracies))
    return share(values.mean(axis=0), spreads, truth)


def share(
    means: NDArray[np.float64], spreads: Iterator[Sequence[Spread]], truth: NDArray[np.float64]
) -> float:
    """Return the share of intervals that hold the truth."""
    intervals: list[Interval] = [
        interval(mean, *each) for mean, each in zip(means.tolist(), spreads, strict=True)
    ]
    low, high = np.array(intervals).T
    return float(((low <= truth + 1e-9) & (truth <= high + 1e-9)).mean())


Measure = Callable[[Setting, Generator], float]


def shares(measure: Measure, settings: int) -> list[float]:
    """Return how often the intervals of one kind hold the truth, for each of so many settings."""
    random = np.random.default_rng(0)
    return [measure(Setting.draw(random), random) for _ in range(settings)]


def main(settings: int) -> None:
    """Print, for each kind of interval, in how many settings it holds the truth how often."""
    for measure in (of_images, of_seeds, of_both):
        found = shares(measure, settings)
        below = sum(each < 0.93 for each in found)
        print(
            f"{measure.__name__:9}: {np.mean(found):.1%} on average, {min(found):.1%} at least, "
            f"below 93 % in {below} of {settings:,} settings"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]))
