"""Two halves of the validation images: one may choose, so that the other measures honestly.

Teachers of pseudo labels and members of ensembles are chosen by the one. What it has chosen is
named in all data that depend on it, from pseudo labels over models to predictions: their `chosen`.
Where there is any, `compare` measures on the other half.

An image's half depends on its id alone: every stage, run and seed divides the same images alike.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

# A classifier's metrics on each half: balanced top-1 accuracy.
CHOOSING, REPORTED = "choosing_top1", "reported_top1"
_SALT = "half:"  # whatever else goes by a digest of ids is independent of this


def unchosen(chosen: Sequence[str]) -> str:
    """Return in words which half of the validation images measures what the other has chosen."""
    return f"the half of the validation images that has not chosen {' and '.join(chosen)}"


def choosing(ids: Iterable[str]) -> NDArray[np.bool_]:
    """Return for each image (N,) whether it is of the half that chooses."""
    return np.array(
        [hashlib.sha256(f"{_SALT}{id}".encode()).digest()[0] % 2 == 0 for id in ids], np.bool_
    )
