"""Progress of long work: a bar on a terminal, elsewhere an occasional log line.

Whoever watches a stage reads the lines: see `pipelines/run/remaining.py`.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
logger = logging.getLogger(__name__)
# The first line comes soon, for those who watch; the others do not fill logs.
_SECONDS_TO_FIRST_LINE, _SECONDS_BETWEEN_LINES = 2.0, 15.0


def progress(
    iterable: Iterable[T],
    *,
    total: int,
    unit: str,
    what: str,
    units: Callable[[T], int] = lambda item: 1,
) -> Iterator[T]:
    """Yield the items of an iterable, showing the progress and the time left.

    Args:
        iterable: The items.
        total: Units in all items.
        unit: The unit's name.
        what: What is being done.
        units: Units in an item.
    """
    if sys.stderr.isatty() and logger.isEnabledFor(logging.INFO):
        with tqdm(total=total, unit=unit, desc=what, dynamic_ncols=True) as bar:
            for item in iterable:
                yield item
                bar.update(units(item))
        return
    start = last = time.monotonic()
    done, pause = 0, _SECONDS_TO_FIRST_LINE
    for item in iterable:
        yield item
        done += units(item)
        now = time.monotonic()
        if done and now - last >= pause:
            pause = min(2 * pause, _SECONDS_BETWEEN_LINES)
            last, left = now, (now - start) / done * (total - done)
            rate = done / (now - start)
            logger.info(
                "%s: %s of %s %ss, %.4g/s, %.0f s left",
                what,
                f"{done:,}",
                f"{total:,}",
                unit,
                rate,
                left,
            )
