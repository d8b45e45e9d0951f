"""Pictures: the files to look at, and their crops in batches, made by several processes.

A picture is seen as training has seen it after ingest: whole, upright, white where transparent. Of
plain JPEGs torchvision's decoder alone makes the same in less than half of the time that ingest's
checks take, so those have only to tell them apart.
"""

import io
import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from components.ingest.encoding import MAX_BYTES, InvalidImageError, stored
from components.ingest.listing import Listing
from components.shared.stage import standard_error
from components.shared.stage.errors import UserError
from components.shared.stage.parallel import leave_signals_to_parent
from components.shared.storage import filesystem
from components.shared.training import transforms
from components.shared.training.views import Crop

BATCH = 64
_ORIENTATION = 0x0112  # EXIF
# From this many times the side that is needed, ingest's decoder is faster: it reads large JPEGs at
# a half to an eighth of their resolution.
_LARGE = 4


class Batch(NamedTuple):
    """Some pictures in a row.

    Attributes:
        found: For each crop, those of the readable pictures, uint8 (B, 3, S, S).
        errors: For each picture what is wrong with it; empty if it is readable.
    """

    found: list[Tensor]
    errors: list[str]


def find(paths: Sequence[Path]) -> list[Path]:
    """Return the given files, and the images in the given folders and below, in order.

    Which files of a folder are images is told as ingest does: by their suffix or first bytes.

    Raises:
        UserError: There is no such file, or no image in a folder.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            with tempfile.TemporaryDirectory() as scratch:
                listing = Listing(str(path), Path(scratch, "list"))
                listing.check()
                found += (path / each.name for each in listing if each.is_image)
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file or folder")
    return found


def batches(files: Sequence[Path], crops: Sequence[Crop], workers: int) -> Iterator[Batch]:
    """Return the pictures in batches of `BATCH`, in order; workers are forked at once.

    Args:
        files: The pictures.
        crops: Which crops of each.
        workers: How many processes decode; this one with 0.
    """
    parts = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    workers = 0 if len(parts) == 1 else min(workers, len(parts))
    loader = DataLoader(
        _Batches(crops),
        batch_size=None,
        sampler=parts,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
        pin_memory=transforms.device().type == "cuda",
        worker_init_fn=lambda worker: leave_signals_to_parent(),
    )
    return iter(loader)


class _Batches(Dataset[Batch]):
    def __init__(self, crops: Sequence[Crop]) -> None:
        self._crops = crops
        self._side = max(math.ceil(size / share) for size, share in crops)

    def __getitem__(self, files: Sequence[Path]) -> Batch:
        found = [transforms.empty_batch(len(files), crop.size) for crop in self._crops]
        errors: list[str] = []
        for file in files:
            try:
                pixels = decoded(filesystem.read(str(file), 0, MAX_BYTES + 1), self._side)
            except (InvalidImageError, OSError) as error:
                errors.append(_told(error))
                continue
            row = len(errors) - sum(map(bool, errors))
            errors.append("")
            for crop, batch in zip(self._crops, found, strict=True):
                batch[row] = transforms.evaluation_crop(pixels, *crop)
        readable = errors.count("")
        return Batch([batch[:readable] for batch in found], errors)


def decoded(encoded: bytes, side: int) -> Tensor:
    """Return a picture's pixels as uint8 (3, H, W).

    Args:
        encoded: The file's content.
        side: The short side that is needed, in pixels; a large picture is reduced to it.

    Raises:
        InvalidImageError: It is no picture, or not a whole one.
    """
    if _is_plain(encoded, _LARGE * side):
        with standard_error.captured() as complaints:
            try:
                pixels = transforms.decoded(memoryview(encoded))
            except RuntimeError as error:
                complaints.append(str(error))
        if not complaints:
            return pixels
    with standard_error.captured():
        return transforms.decoded(memoryview(stored(encoded, side)))


def _is_plain(encoded: bytes, large: int) -> bool:
    """Return whether a file seems to be an upright JPEG of three colours or grey, and not large."""
    try:
        with warnings.catch_warnings(action="ignore"), _opened(encoded) as image:
            is_upright = image.getexif().get(_ORIENTATION, 1) == 1
            return (
                image.format == "JPEG"
                and is_upright
                and image.mode in ("RGB", "L")
                and min(image.size) < large
                and max(image.size) < _LARGE * large
            )
    except Exception:  # PIL's readers raise whatever they come upon; ingest's checks say what it is
        return False


def _opened(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded), formats=["JPEG"])


def _told(error: InvalidImageError | OSError) -> str:
    if isinstance(error, InvalidImageError):
        return f"{error.kind}: {error.detail}"
    return os.strerror(error.errno) if error.errno else str(error)
