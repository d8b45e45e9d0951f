"""What is known of numbered things, found when first asked for."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

_UNKNOWN = np.iinfo(np.int32).min


class Memo:
    """An integer for each of things numbered from 0, remembered."""

    def __init__(self, function: Callable[[list[int]], ArrayLike]) -> None:
        """Prepare to remember what a function gives for lists of numbers."""
        self._function = function
        self.forget()

    def forget(self) -> None:
        """Forget everything."""
        self._known = np.full(1_024, _UNKNOWN, np.int32)

    def __getitem__(self, numbers: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return what the function gives, asking it only for what is new."""
        if (size := numbers.max(initial=0)) >= len(self._known):
            more = np.full(max(len(self._known), size), _UNKNOWN, np.int32)
            self._known = np.concatenate([self._known, more])
        found: NDArray[np.int32] = self._known[numbers]
        if len(new := np.unique(numbers[found == _UNKNOWN])):
            self._known[new] = self._function(new.tolist())
            found = self._known[numbers]
        return found
