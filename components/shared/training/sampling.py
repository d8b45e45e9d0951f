"""Sampling: which images to train on, in which order, as a plan known in advance.

A plan goes through *passes* of as many draws as there are images. Each draw picks a class with
probability ∝ n_c^q of its n_c images (q = 0 balanced, ½ square root, 1 natural), then one of its
images (class-aware sampling: Shen et al. 2016, "Relay backpropagation"; with several targets an
image: Wu et al. 2020, "Distribution-balanced loss"). With five keywords per image no order of
images balances the *keywords*: each draw of a rare one brings four others along. Simulated, the
largest keyword is seen 1,383 times as often as the smallest, against 5,973 times without balance.

Equivalently, a draw is a pair (image, class) picked with probability ∝ n_c^(q-1). The pairs, each
as long as its expected number of draws, are laid end to end, and one point is drawn uniformly in
every unit of length. That needs no index from classes to images and no sorting; it draws each pair
close to its expected number of times; and natural sampling of images with one class each draws
every image exactly once.

The order of a pass is (window of shards, random): a window fits in the cache, the next one is
fetched meanwhile, and each shard is read once a pass. A window's draws follow from where its shards
lie on the line, so a plan holds one window at a time, whatever the number of images. Everything is
a function of the seed and the draw's number: any rank or worker can take any share of the plan, and
training can resume at any step. `tests/benchmarks/plan.py` measures a plan at full size.
"""

from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.shared.data.targets import Targets
from components.shared.stage.errors import UserError

# Philox generates this many numbers per increment of its counter.
_NUMBERS_A_COUNT = 4


class MicroBatch(NamedTuple):
    """Consecutive draws of a plan, which go through the model together.

    Attributes:
        images: (B,) int64 image numbers.
        first: The first one's number among all draws of the plan, over all passes.
        window: Its window, counted over all passes.
    """

    images: NDArray[np.int64]
    first: int
    window: int


class _Pass(NamedTuple):
    """How a pass is laid out.

    Attributes:
        number: Which pass.
        windows: The shards of each window.
        ends: Draws up to the end of each window.
        points: The number of the first point in each shard, and at last that of all points.
    """

    number: int
    windows: list[NDArray[np.int64]]
    ends: NDArray[np.int64]
    points: NDArray[np.int64]


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
            max_repeats: Most draws of an image in a pass; those in excess go, at random, to the
                images of its window that were drawn least.
            seed: Seed of all draws.
            left_out: Image numbers that are never drawn.
            shard_images: Images of each shard; empty if there is one shard.
            window_shards: The order of a pass is random within this many shards at a time, so that
                only these need to be cached. The shards of a window are random, too.

        Raises:
            UserError: There is no image to draw.
        """
        self._targets, self._balance_on, self._seed = targets, balance_on, seed
        self._max_repeats, self._window_shards = max_repeats, window_shards
        self._left_out = np.sort(np.asarray(left_out, np.int64))
        self._ends = np.cumsum(shard_images or [len(targets)])
        assert self._ends[-1] == len(targets)
        shards = range(len(self._ends))
        images_C = np.zeros(len(targets.names), np.int64)
        for shard in shards:
            images_C += np.bincount(self._pairs(shard)[1], minlength=len(images_C))
        self.num_images = sum(len(self._drawable(shard)) for shard in shards)
        if not self.num_images:
            raise UserError("no image has a target: nothing to train on")
        present = images_C > 0
        # A pair's expected draws in a pass: N p_c / n_c.
        self._expected_C = np.zeros(len(images_C))
        self._expected_C[present] = images_C[present] ** (balance - 1)
        self._expected_C *= self.num_images / (images_C * self._expected_C).sum()
        lengths = [self._expected_C[self._pairs(shard)[1]].sum() for shard in shards]
        # Where each shard begins on the line, and at last its end; whole there, whatever rounding.
        self._starts = np.concatenate([[0.0], np.cumsum(lengths)])
        self._starts[-1] = self.num_images
        self._pass: _Pass | None = None
        self._order: tuple[tuple[int, int], NDArray[np.int32]] | None = None

    def order(self, number: int) -> NDArray[np.int32]:
        """Return the images of a pass, in the order of its draws: (num_images,) int32."""
        windows = range(len(self._laid_out(number).windows))
        return np.concatenate([self._window(number, window) for window in windows])

    def micro_batches(
        self, size: int, *, rank: int = 0, world_size: int = 1, skip: int = 0
    ) -> Iterator[MicroBatch]:
        """Yield a rank's share of the plan, endlessly.

        The ranks take turns. A micro-batch may reach into the next window.

        Args:
            size: Draws of a micro-batch.
            rank: Which of the ranks, from 0.
            world_size: How many ranks there are.
            skip: How many of this rank's first micro-batches to skip.
        """
        for number in count(skip * world_size + rank, world_size):
            first = draw = number * size
            pass_number, window, _ = self._where(first)
            window += pass_number * len(self._laid_out(pass_number).windows)
            pieces = list[NDArray[np.int32]]()
            while draw < first + size:
                *where, begin = self._where(draw)
                pieces.append(self._window(*where)[begin : begin + first + size - draw])
                draw += len(pieces[-1])
            yield MicroBatch(np.concatenate(pieces).astype(np.int64), first, window)

    def windows(self, draw: int) -> Iterator[NDArray[np.int64]]:
        """Yield the shards of each window, endlessly, from the one that a draw is in."""
        first, skip, _ = self._where(draw)
        for number in count(first):
            yield from islice(self._laid_out(number).windows, skip, None)
            skip = 0

    def _where(self, draw: int) -> tuple[int, int, int]:
        """Return the pass and window of a draw, and its position in that window."""
        number, position = divmod(draw, self.num_images)
        ends = self._laid_out(number).ends
        window = int(np.searchsorted(ends, position, side="right"))
        return number, window, position - (int(ends[window - 1]) if window else 0)

    def _laid_out(self, number: int) -> _Pass:
        if self._pass is None or self._pass.number != number:
            shards = len(self._ends)
            points = self._starts.astype(np.int64)  # the unit that a shard begins in
            for shard in range(1, shards):
                if points[shard] < self.num_images:
                    (within,) = self._uniform(number, points[shard], points[shard] + 1)
                    points[shard] += points[shard] + within < self._starts[shard]
            order = np.random.default_rng((self._seed, number)).permutation(shards)
            starts = range(0, shards, self._window_shards)
            windows = [np.sort(order[start : start + self._window_shards]) for start in starts]
            ends = np.cumsum([(points[window + 1] - points[window]).sum() for window in windows])
            self._pass = _Pass(number, windows, ends, points)
        return self._pass

    def _window(self, number: int, window: int) -> NDArray[np.int32]:
        """Return the images of a window in the order of its draws."""
        if self._order is None or self._order[0] != (number, window):
            layout = self._laid_out(number)
            shards = layout.windows[window]
            drawn = np.concatenate([self._drawn(layout, shard) for shard in shards.tolist()])
            random = np.random.default_rng((self._seed, number, window))
            self._cap(drawn, shards, random)
            random.shuffle(drawn)
            self._order = (number, window), drawn
        return self._order[1]

    def _drawn(self, layout: _Pass, shard: int) -> NDArray[np.int32]:
        """Return the images drawn of a shard, in ascending order."""
        images, classes = self._pairs(shard)
        first, end = layout.points[shard], layout.points[shard + 1]
        points = np.arange(first, end) + self._uniform(layout.number, first, end)
        ends = self._starts[shard] + self._expected_C[classes].cumsum()
        pairs = np.searchsorted(ends, points, side="right")
        return images[np.minimum(pairs, len(ends) - 1)]  # beyond them only by rounding

    def _cap(
        self, drawn: NDArray[np.int32], shards: NDArray[np.int64], random: np.random.Generator
    ) -> None:
        """Give a window's draws beyond `max_repeats` to the images that were drawn least."""
        repeats = self._max_repeats
        excess = repeats + np.flatnonzero(drawn[repeats:] == drawn[:-repeats])
        if not len(excess):
            return
        images = np.concatenate([self._drawable(shard) for shard in shards.tolist()])
        counts = np.searchsorted(drawn, images, "right") - np.searchsorted(drawn, images)
        while len(excess):
            least = np.flatnonzero(counts == counts.min())
            taken = random.permutation(least)[: len(excess)]
            drawn[excess[: len(taken)]] = images[taken]
            counts[taken] += 1
            excess = excess[len(taken) :]

    def _uniform(self, number: int, start: int, end: int) -> NDArray[np.float64]:
        """Return where in their units a pass's points lie, from `start` to before `end`."""
        bits = np.random.Philox(np.random.SeedSequence((self._seed, number)))
        bits.advance(int(start) // _NUMBERS_A_COUNT)
        over = int(start) % _NUMBERS_A_COUNT
        return np.random.Generator(bits).random(over + int(end - start))[over:]

    def _drawable(self, shard: int) -> NDArray[np.int32]:
        """Return the images of a shard that can be drawn, in ascending order."""
        start, end = self._range(shard)
        drawable = np.diff(self._targets.offsets[start : end + 1]) > 0
        first, last = np.searchsorted(self._left_out, (start, end))
        drawable[self._left_out[first:last] - start] = False
        return (start + np.flatnonzero(drawable)).astype(np.int32)

    def _pairs(self, shard: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return image and class of a shard's pairs that can be drawn, in image order."""
        images = self._drawable(shard)
        starts = self._targets.offsets[images]
        if self._balance_on == "strongest":
            return images, self._targets.classes[starts]
        counts = self._targets.offsets[images + 1] - starts
        # Each image's pairs follow each other; what is left out makes gaps between images.
        pairs = np.arange(counts.sum()) + np.repeat(starts - (counts.cumsum() - counts), counts)
        return np.repeat(images, counts), self._targets.classes[pairs]

    def _range(self, shard: int) -> tuple[int, int]:
        return int(self._ends[shard - 1]) if shard else 0, int(self._ends[shard])
