"""Sequences of words, looked for in many texts at once.

Legend: N tokens, W distinct words of the sequences.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Found(NamedTuple):
    """The sequences of one length that were found among N tokens.

    Attributes:
        starts: Where they begin.
        length: Of how many words they are.
        numbers: Which ones.
    """

    starts: NDArray[np.intp]
    length: int
    numbers: NDArray[np.int64]


class Sequences:
    """Finds sequences of words.

    Attributes:
        words: The W distinct words in them, by number.
    """

    def __init__(self, sequences: Collection[Sequence[str]]) -> None:
        """Prepare to find sequences; they are numbered in their order."""
        every = sorted({word for sequence in sequences for word in sequence})
        self.words = {word: number for number, word in enumerate(every)}
        self._longest = max(map(len, sequences), default=0)
        # A sequence is a path: from the node that is its first word's number, by each next word.
        path: dict[int, int] = {}
        ends: dict[int, int] = {}
        for number, sequence in enumerate(sequences):
            node, *rest = (self.words[word] for word in sequence)
            for word in rest:
                node = path.setdefault(node * len(every) + word, len(every) + len(path))
            ends.setdefault(node, number)  # equal sequences: the first stays
        self._steps = np.array(sorted(path), np.int64)
        self._nodes = np.array([path[step] for step in self._steps.tolist()], np.int64)
        self._ends = np.full(len(every) + len(path), -1, np.int64)
        self._ends[list(ends)] = list(ends.values())

    def find(self, words: NDArray[np.integer]) -> Iterator[Found]:
        """Yield the sequences among tokens, the shortest first.

        Args:
            words: (N,) the tokens' numbers in `words`, -1 for others.
        """
        starts = np.flatnonzero(words >= 0)
        words = np.append(words.astype(np.int64), np.full(self._longest, -1))
        nodes = words[starts]
        for length in range(1, 1 + self._longest):
            numbers = self._ends[nodes]
            yield Found(starts[numbers >= 0], length, numbers[numbers >= 0])
            following = words[starts + length]
            steps = nodes * len(self.words) + following
            position = np.searchsorted(self._steps, steps)
            known = (following >= 0) & (np.append(self._steps, -1)[position] == steps)
            starts, nodes = starts[known], self._nodes[position[known]]
