"""From encoded images to crops in batches: decoded as uint8, normalised on the device.

torchvision's decoder and torch's uint8 resize take half of PIL's time: a crop at 224 of a JPEG of
256 × 366 pixels 0.51 ms against 0.97 ms, at 32 of 32 × 46 pixels 0.06 against 0.10 ms. (TorchCodec,
which is to replace that decoder, is as fast but adds 23 MB.) PIL reads everything but JPEGs.
"""

import functools
import io
import itertools
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode

from components.shared.data.image_set import ImageSet
from components.shared.stage import ranks, standard_error
from components.shared.stage.errors import TransientError, UserError
from components.shared.stage.parallel import cores, leave_signals_to_parent
from components.shared.storage import shard_cache
from components.shared.training.views import CROP_RATIO, Crop

logger = logging.getLogger(__name__)

_ASPECT_RATIOS = (3 / 4, 4 / 3)
_ATTEMPTS = 10
_MOST_COMPLAINTS = 20  # of a process; damaged images come again in each epoch
_complaints = itertools.count()


def device() -> torch.device:
    """Return this process's device: its GPU if it has one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def normalized(batch: Tensor, device: torch.device) -> Tensor:
    """Move a uint8 batch (B, 3, S, S) to the device, normalised with ImageNet's statistics."""
    mean, deviation = _statistics(device)
    batch = batch.to(device, non_blocking=True)
    if device.type == "cuda":
        # A model inherits its input's memory format, and channels last does not suit every one.
        batch = batch.contiguous()
    return (batch - mean) / deviation


@functools.cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the mean and deviation of a byte's value in ImageNet, both (3, 1, 1).

    Cached: copying even a small tensor to a GPU waits for all work queued before it.
    """
    mean = torch.tensor(IMAGENET_DEFAULT_MEAN, device=device).view(3, 1, 1) * 255
    deviation = torch.tensor(IMAGENET_DEFAULT_STD, device=device).view(3, 1, 1) * 255
    return mean, deviation


def picture(images: ImageSet, number: int) -> Tensor:
    """Return the pixels of an image of a set as uint8 (3, H, W).

    What the decoder complains of is logged with the image's id.

    Raises:
        UserError: The image cannot be decoded, or not be read.
    """
    encoded = images.read(number)
    try:
        with standard_error.captured() as complaints:
            pixels = decoded(encoded)
    except Exception as error:  # decoders raise whatever they come upon
        raise images.undecodable(number, error) from None
    if complaints and next(_complaints) < _MOST_COMPLAINTS:
        logger.warning("%s: %s", images.name(number), "; ".join(complaints))
    return pixels


def decoded(encoded: memoryview) -> Tensor:
    """Return the pixels of an encoded image as uint8 (3, H, W)."""
    if bytes(encoded[:2]) == b"\xff\xd8":
        # A copy, because torch refuses read-only memory; it takes microseconds.
        data = torch.frombuffer(bytearray(encoded), dtype=torch.uint8)
        # What torchvision's function calls, after 40 µs in which it warns that it is deprecated.
        pixels: Tensor = torch.ops.image.decode_jpeg(data, ImageReadMode.RGB.value, False)
        return pixels
    with Image.open(io.BytesIO(encoded)) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def training_crop(
    image: Tensor, size: int, smallest_area: float, random: np.random.Generator
) -> Tensor:
    """Return a random crop of an image, resized to uint8 (3, size, size), flipped half the time.

    Args:
        image: uint8 (3, H, W).
        size: Side of the crop, in pixels.
        smallest_area: See `random_box`.
        random: The crop's random generator.
    """
    top, left, height, width = random_box(image.shape[1], image.shape[2], smallest_area, random)
    crop = _resized(image[:, top : top + height, left : left + width], size)
    return crop.flip(2) if random.random() < 0.5 else crop


def random_box(
    height: int, width: int, smallest_area: float, random: np.random.Generator
) -> tuple[int, int, int, int]:
    """Return top, left, height and width of a random crop.

    Its share of the area is uniform in `smallest_area` … 1, its aspect ratio log-uniform in
    3/4 … 4/3; boxes that stick out are redrawn (Szegedy et al. 2015, "Going deeper with
    convolutions", as in torchvision's RandomResizedCrop).
    """
    shares, shapes = random.random((2, _ATTEMPTS)).tolist()
    low, high = map(math.log, _ASPECT_RATIOS)
    for share, shape in zip(shares, shapes, strict=True):
        area = height * width * (smallest_area + (1 - smallest_area) * share)
        ratio = math.exp(low + (high - low) * shape)
        box_height, box_width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < box_height <= height and 0 < box_width <= width:
            break
    else:
        box_height = min(height, round(width / _ASPECT_RATIOS[0]))
        box_width = min(width, round(height * _ASPECT_RATIOS[1]))
    down, right = random.random(2).tolist()
    top, left = int(down * (height - box_height + 1)), int(right * (width - box_width + 1))
    return top, left, box_height, box_width


def evaluation_crop(image: Tensor, size: int, share: float = CROP_RATIO) -> Tensor:
    """Return the centre square of an image, a share of its short side, as uint8 (3, size, size).

    It is enlarged where it is smaller, as training's crops are: a network that has seen objects
    larger than it is shown them is worse at it (Touvron et al. 2019, "Fixing the train-test
    resolution discrepancy").
    """
    height, width = image.shape[1:]
    side = max(1, round(share * min(height, width)))
    top, left = (height - side) // 2, (width - side) // 2
    return _resized(image[:, top : top + side, left : left + side], size)


def empty_batch(num_images: int, size: int) -> Tensor:
    """Return an empty batch, uint8 (B, 3, S, S), in channels-last format, as decoders leave them.

    Converting them would take a core another 0.05 ms for a crop of 224 pixels.
    """
    shape = (num_images, 3, size, size)
    return torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)


def _resized(image: Tensor, size: int) -> Tensor:
    if image.shape[1:] == (size, size):
        return image
    # In a plain batch of one torch does not recognise the decoders' channels-last format: it would
    # convert the image, and convert it back.
    batch = image.permute(1, 2, 0)[None].permute(0, 3, 1, 2)
    return F.interpolate(batch, size=(size, size), mode="bilinear", antialias=True)[0]


def num_workers() -> int:
    """Return how many processes decode: none on the CPU, where training takes all cores."""
    if device().type == "cpu":
        return 0
    return max(1, min(16, cores() // ranks.local_world_size()))


def batches(dataset: Dataset[Any], order: Iterable[Any]) -> Iterator[Any]:
    """Yield the dataset's items, which are whole batches, in order; workers prepare them ahead.

    Args:
        dataset: Makes a batch from its item of `order`.
        order: Which batches; iterated in this process.
    """
    workers = num_workers()
    loader = DataLoader(
        _Caught(dataset),
        batch_size=None,
        sampler=order,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        # Workers share this process's memory-mapped arrays; Python 3.14 would pickle them.
        multiprocessing_context="fork" if workers else None,
        pin_memory=device().type == "cuda",
        worker_init_fn=lambda worker: leave_signals_to_parent(),
        # Else the workers' seeds, unused here, would be drawn from dropout's generator.
        generator=torch.Generator(),
    )
    for batch in loader:
        if isinstance(batch, Exception):
            raise batch
        yield batch


class _Caught(Dataset[Any]):
    """Passes errors on as items: torch would wrap a worker's exception in a traceback."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset

    def __getitem__(self, item: Any) -> Any:
        try:
            return self._dataset[item]
        except (UserError, TransientError, OSError) as error:
            return error


def evaluation_batches(
    images: ImageSet,
    stretches: Sequence[Sequence[int] | NDArray[np.int64]],
    crops: Sequence[Crop],
    batch_size: int,
) -> Iterator[tuple[NDArray[np.int64], list[Tensor]]]:
    """Yield the evaluation crops of images in batches; each image is decoded once.

    Shards on S3 are fetched ahead, in the order in which the images ask for them.

    Args:
        images: Where the images are.
        stretches: Image numbers, in any order; a batch ends where its stretch ends.
        crops: Which crops of each image.
        batch_size: Largest number of images in a batch.

    Yields:
        The numbers (B,) and, for each of the crops, those of the images as uint8 (B, 3, S, S).
    """

    def parts() -> Iterator[NDArray[np.int64]]:
        for stretch in stretches:
            for start in range(0, len(stretch), batch_size):
                yield np.asarray(stretch[start : start + batch_size])

    def groups() -> Iterator[tuple[list[int], Iterator[NDArray[np.int64]]]]:
        """Yield sets of shards, each with the consecutive parts that lie in just these."""
        return groupby(parts(), lambda part: np.unique(images.index["shard"][part]).tolist())

    def announced(begin_next: Callable[[], None]) -> Iterator[NDArray[np.int64]]:
        for number, (_, group) in enumerate(groups()):
            if number > 0:
                begin_next()
            yield from group

    shards = ([images.shards[shard] for shard in group] for group, _ in groups())
    with shard_cache.ahead(shards) as begin_next:
        found = batches(_EvaluationBatches(images, crops), announced(begin_next))
        yield from zip(parts(), found, strict=True)


class _EvaluationBatches(Dataset[list[Tensor]]):
    def __init__(self, images: ImageSet, crops: Sequence[Crop]) -> None:
        self._images, self._crops = images, crops

    def __getitem__(self, numbers: NDArray[np.int64]) -> list[Tensor]:
        found = [empty_batch(len(numbers), crop.size) for crop in self._crops]
        for row, number in enumerate(numbers.tolist()):
            image = picture(self._images, number)
            for crop, batch in zip(self._crops, found, strict=True):
                batch[row] = evaluation_crop(image, *crop)
        return found
