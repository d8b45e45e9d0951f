"""Two halves of the validation images: one may choose, so that the other measures honestly.

An image's half depends on its id alone: every stage, run and seed divides the same images alike.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_SALT = "half:"  # whatever else goes by a digest of ids is independent of this


def choosing(ids: Iterable[str]) -> NDArray[np.bool_]:
    """Return for each image (N,) whether it is of the half that chooses."""
    return np.array(
        [hashlib.sha256(f"{_SALT}{id}".encode()).digest()[0] % 2 == 0 for id in ids], np.bool_
    )
