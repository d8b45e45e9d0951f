"""Sampling: which images are trained on, in which order, as a plan known in advance.

A plan goes through *passes* of as many draws as there are images. Each draw picks a class with
probability ∝ n_c^q of its n_c images (q = 0 balanced, ½ square root, 1 natural), then one of its
images (class-aware sampling: Shen et al. 2016, "Relay backpropagation"; with several targets an
image: Wu et al. 2020, "Distribution-balanced loss"). With five keywords an image no order of images
balances the *keywords*: each draw of a rare one brings four others along. Simulated, the largest
keyword is seen 1,383 times as often as the smallest, against 5,973 times without balance.

A draw is equivalently a pair (image, class) picked with probability ∝ n_c^(q-1). The pairs, each as
long as its expected number of draws, are laid end to end, and one point is drawn uniformly in every
unit of length. That needs no index from classes to images and no sorting, in memory or time; it
draws each pair close to its expected number of times; and natural sampling of images with one class
each draws every image exactly once.

All is a function of the seed and the draw's number: any rank or worker can take any share of it,
and training can go on at any step. `tests/benchmarks/plan.py` measures a plan at full size.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.shared.interface import UserError
from components.shared.targets import Targets

_IMAGES_AT_A_TIME = 1 << 18


class Part(NamedTuple):
    """Some consecutive draws of a plan.

    Attributes:
        images: (B,) int64 image numbers.
        first: The first one's number among all draws of the plan, over all passes.
    """

    images: NDArray[np.int64]
    first: int


class Plan:
    """Class-balanced draws over Targets, in windows of shards.

    Attributes:
        num_images: How many images can be drawn, which is also how many draws a pass has.
    """

    def __init__(
        self,
        targets: Targets,
        *,
        balance: float,
        balance_on: Literal["any", "strongest"],
        max_repeats: int,
        seed: int,
        left_out: NDArray[np.int64] | Sequence[int] = (),
        shard_images: Sequence[int] = (),
        window_shards: int = 1 << 30,
    ) -> None:
        """Count the classes' images.

        Args:
            targets: The classes of N images. Those without any are never drawn.
            balance: The exponent q.
            balance_on: Whether an image belongs to each of its classes or to its strongest only.
            max_repeats: No image is drawn more often in a pass; the draws that this takes from an
                image go to images that the pass would have left out, at random.
            seed: Seed of all draws.
            left_out: Image numbers that are never drawn.
            shard_images: Images of each shard; empty if there is one shard.
            window_shards: The order of a pass is random within so many shards at a time, so that
                only they need to be at hand. The shards of a window are random, too.

        Raises:
            UserError: There is no image to draw.
        """
        self._targets, self._balance_on, self._seed = targets, balance_on, seed
        self._max_repeats, self._window_shards = max_repeats, window_shards
        self._shard_ends = np.cumsum(shard_images or [len(targets)])
        assert self._shard_ends[-1] == len(targets)
        self._drawable = np.diff(targets.offsets) > 0
        self._drawable[np.asarray(left_out, np.int64)] = False
        self.num_images = int(self._drawable.sum())
        if not self.num_images:
            raise UserError("no image has a target: there is nothing to train on")
        images_C = np.zeros(len(targets.names), np.int64)
        for _, classes in self._pairs():
            images_C += np.bincount(classes, minlength=len(images_C))
        present = images_C > 0
        # A pair's expected draws in a pass: N p_c / n_c.
        self._expected_C = np.zeros(len(images_C))
        self._expected_C[present] = images_C[present] ** (balance - 1)
        self._expected_C *= self.num_images / (images_C * self._expected_C).sum()
        self._pass, self._order = -1, np.empty(0, np.int32)

    def order(self, number: int) -> NDArray[np.int32]:
        """Return the images of a pass, in the order of its draws: (num_images,) int32."""
        if number != self._pass:
            random = np.random.default_rng((self._seed, number))
            self._order = self._shuffled(self._capped(self._drawn(random), random), random)
            self._pass = number
        return self._order

    def parts(self, size: int, *, rank: int = 0, world: int = 1, skip: int = 0) -> Iterator[Part]:
        """Yield a rank's share of the plan, without end, in parts of `size` draws.

        The plan's parts are dealt to the ranks in turn. A part may reach into the next pass.

        Args:
            size: Draws in a part.
            rank: Which of the ranks, from 0.
            world: How many ranks there are.
            skip: Leave out so many of this rank's parts at the beginning.
        """
        for part in count(skip * world + rank, world):
            number, start = divmod(part * size, self.num_images)
            images = self.order(number)[start : start + size]
            while len(images) < size:
                number += 1
                images = np.concatenate([images, self.order(number)[: size - len(images)]])
            yield Part(images.astype(np.int64), part * size)

    def _pairs(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """Yield image and class of the pairs that can be drawn, in image order, in chunks."""
        for start in range(0, len(self._targets), _IMAGES_AT_A_TIME):
            drawable = self._drawable[start : start + _IMAGES_AT_A_TIME]
            images = np.arange(start, start + len(drawable), dtype=np.int32)
            offsets = self._targets.offsets[start : start + len(drawable) + 1]
            if self._balance_on == "strongest":
                yield images[drawable], self._targets.classes[offsets[:-1][drawable]]
                continue
            classes = self._targets.classes[offsets[0] : offsets[-1]]
            counts = np.diff(offsets)
            kept = np.repeat(drawable, counts)
            yield np.repeat(images, counts)[kept], classes[kept]

    def _drawn(self, random: np.random.Generator) -> NDArray[np.int32]:
        """Return a pass's images in ascending order."""
        points = random.random(self.num_images)
        points += np.arange(self.num_images)
        drawn = np.empty(self.num_images, np.int32)
        begin, length = 0, 0.0
        for images, classes in self._pairs():
            ends = self._expected_C[classes].cumsum()
            if len(ends):
                ends += length
                length = ends[-1]
                end = int(np.searchsorted(points, length))
                pairs = np.searchsorted(ends, points[begin:end], side="right")
                drawn[begin:end] = images[pairs]
                begin, last = end, images[-1]
        drawn[begin:] = last  # where the lengths' sum falls short of N by rounding
        return drawn

    def _capped(self, drawn: NDArray[np.int32], random: np.random.Generator) -> NDArray[np.int32]:
        """Give draws beyond `max_repeats` to images that have none.

        There are always enough: N draws of N images leave out as many as they repeat.
        """
        repeats = self._max_repeats
        excess = repeats + np.flatnonzero(drawn[repeats:] == drawn[:-repeats])
        if len(excess):
            idle = self._drawable.copy()
            idle[drawn] = False
            drawn[excess] = random.choice(np.flatnonzero(idle), len(excess), replace=False)
            drawn.sort()
        return drawn

    def _shuffled(self, drawn: NDArray[np.int32], random: np.random.Generator) -> NDArray[np.int32]:
        """Put ascending images into the order of (window of shards, random)."""
        cuts = np.searchsorted(drawn, np.concatenate([[0], self._shard_ends]))
        shards = random.permutation(len(self._shard_ends))
        order, begin = np.empty_like(drawn), 0
        for first in range(0, len(shards), self._window_shards):
            window = np.concatenate(
                [
                    drawn[cuts[shard] : cuts[shard + 1]]
                    for shard in shards[first : first + self._window_shards]
                ]
            )
            random.shuffle(window)
            order[begin : begin + len(window)] = window
            begin += len(window)
        return order
