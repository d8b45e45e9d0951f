"""When to retry a request that a server could not answer."""

import random
import time
from collections.abc import Iterator

# Not `random`'s global state, which others may have seeded.
_random = random.SystemRandom()


def pauses(patience: float, *, first: float, longest: float) -> Iterator[float]:
    """Yield how long to wait after each failure, in seconds.

    Pauses double; each is shortened by up to half, at random, lest all clients return at once.

    Args:
        patience: Seconds from the first failure, when the first pause is asked for, to the last
            request.
        first: The first pause, without the randomness.
        longest: The longest one.
    """
    end, pause = time.monotonic() + patience, first
    while (left := end - time.monotonic()) > 0:
        yield min(left, pause * _random.uniform(0.5, 1.0))
        pause = min(longest, 2 * pause)
