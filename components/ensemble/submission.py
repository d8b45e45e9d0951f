"""The challenge's submission: a zip with one line per test image."""

import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from components.shared.storage import filesystem

# The same predictions make the same bytes, whenever they are made.
_DATE = (1980, 1, 1, 0, 0, 0)


def write_submission(path: Path, ids: Sequence[str], classes: NDArray[np.int32]) -> None:
    """Write the zip with its `predictions.txt`.

    Each line is an image's file name, a tab, and its classes (N, K) separated by blanks, the most
    probable first; the lines are in the order of the names.
    """
    names = (PurePosixPath(id).name for id in ids)
    lines = sorted(
        f"{name}\t{' '.join(map(str, row))}\n"
        for name, row in zip(names, classes.tolist(), strict=True)
    )
    entry = zipfile.ZipInfo("predictions.txt", _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    with filesystem.complete(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(entry, "".join(lines))
