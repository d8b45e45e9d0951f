"""A memo of values for numbered items, computed on first use."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

_UNKNOWN = np.iinfo(np.int32).min


class Memo:
    """An integer for each item, numbered from 0, memoised."""

    def __init__(self, function: Callable[[list[int]], ArrayLike]) -> None:
        """Memoise a function of lists of numbers."""
        self._function = function
        self.forget()

    def forget(self) -> None:
        """Forget everything."""
        self._known = np.full(1_024, _UNKNOWN, np.int32)

    def __getitem__(self, numbers: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the function's values, calling it only for new numbers."""
        if (size := numbers.max(initial=0)) >= len(self._known):
            more = np.full(max(len(self._known), size), _UNKNOWN, np.int32)
            self._known = np.concatenate([self._known, more])
        found: NDArray[np.int32] = self._known[numbers]
        if len(new := np.unique(numbers[found == _UNKNOWN])):
            self._known[new] = self._function(new.tolist())
            found = self._known[numbers]
        return found
