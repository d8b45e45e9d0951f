"""Inference with several classifiers on the same images, each image decoded once for all of them.

Shapes: M classifiers, N images of a shard, B of a batch, C classes, the K most probable of them.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.shared.data.image_set import ImageSet
from components.shared.stage import ranks
from components.shared.stage.errors import StorageError, UserError
from components.shared.stage.progress import progress
from components.shared.storage.resume import Parts
from components.shared.training import models, transforms
from components.shared.training.accuracy import top_k
from components.shared.training.models import Record
from components.shared.training.views import Crop, Views, crops, seen

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Classifier:
    """A trained model in evaluation mode on the device, and its record."""

    model: nn.Module
    record: Record

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Open a model folder."""
        return cls(models.load(folder), models.read_record(folder))


def read_records(folders: Sequence[Path], names: Sequence[str]) -> list[Record]:
    """Return the records of models whose outputs are the classes `names`, in that order.

    Raises:
        UserError: A model has other classes: its probabilities could not be averaged.
    """
    records = [models.read_record(folder) for folder in folders]
    for folder, record in zip(folders, records, strict=True):
        if record.names != list(names):
            raise UserError(
                f"{folder}: {record.title} has {_excerpt(record.names)}, but the classes here "
                f"are {_excerpt(names)}: use classifiers of the same concepts"
            )
    return records


def _excerpt(names: Sequence[str]) -> str:
    shown = ", ".join([*names[:3], "…"] if len(names) > 3 else names)
    return f"{len(names):,} classes ({shown})"


@torch.inference_mode()
def probabilities(
    images: ImageSet,
    stretches: Sequence[Sequence[int] | NDArray[np.int64]],
    classifiers: Sequence[Classifier],
    batch_size: int,
    views: Views = "one",
) -> Iterator[Tensor]:
    """Yield each classifier's probabilities (M, B, C) in fp32, on the device, batch by batch.

    Each classifier sees the images at the size that it was trained at.

    Args:
        images: Where the images are.
        stretches: Image numbers; a batch ends where its stretch ends.
        classifiers: Models with the same classes.
        batch_size: Images at a time.
        views: Whose probabilities are averaged.
    """
    wanted = crops(sorted({each.record.image_size for each in classifiers}), views)
    for _, found in transforms.evaluation_batches(images, stretches, wanted, batch_size):
        yield scored(classifiers, dict(zip(wanted, found, strict=True)), views)


def scored(classifiers: Sequence[Classifier], found: Mapping[Crop, Tensor], views: Views) -> Tensor:
    """Return each classifier's probabilities (M, B, C) in fp32, on the device.

    Args:
        classifiers: Models with the same classes.
        found: The images' crops, uint8 (B, 3, S, S), from which the views are made.
        views: Whose probabilities are averaged.
    """
    device = transforms.device()
    pixels = {crop: transforms.normalized(batch, device) for crop, batch in found.items()}
    return torch.stack(
        [
            torch.stack(
                [softmax(each.model, view) for view in seen(pixels, each.record.image_size, views)]
            ).mean(dim=0)
            for each in classifiers
        ]
    )


def softmax(model: nn.Module, pixels: Tensor) -> Tensor:
    """Return a model's probabilities (B, C) in fp32, of normalised pixels (B, 3, S, S)."""
    with models.autocast():
        logits: Tensor = model(pixels)
    return logits.float().softmax(dim=1)


def most_probable(
    probabilities: Tensor, k: int, *, each: bool = False, shares: Sequence[float] | None = None
) -> tuple[Tensor, Tensor]:
    """Return the classes with the highest mean over the classifiers, and that mean.

    Args:
        probabilities: (M, B, C).
        k: How many classes of each image.
        each: Also return each classifier's own, before the mean's.
        shares: See `mean`.

    Returns:
        Classes int64 and probabilities, both (1, B, min(k, C)) or, with `each`, (M+1, …), the
        most probable first.
    """
    together = mean(probabilities, shares)[None]
    asked = torch.cat([probabilities, together]) if each else together
    scores, classes = top_k(asked.flatten(0, 1), k)
    shape = (*asked.shape[:2], -1)
    return classes.view(shape), scores.view(shape)


def mean(probabilities: Tensor, shares: Sequence[float] | None = None) -> Tensor:
    """Return the mean (B, C) of probabilities (M, B, C) by shares that sum to 1; None: equal."""
    if shares is None:
        return probabilities.mean(dim=0)
    return torch.stack([s * p for s, p in zip(shares, probabilities, strict=True)]).sum(dim=0)


@dataclass(frozen=True, slots=True)
class ShardPredictions:
    """The predictions for the images of a shard.

    Attributes:
        numbers: (N,) The images.
        classes: (1, N, K) int32 The classes with the highest mean probability, highest first; if
            each classifier's own are kept too, (M+1, N, K), the mean's last.
        probabilities: Theirs, float32.
        asked: (N, A) float32 The mean probabilities of the classes that were asked for; None if
            none were.
    """

    numbers: NDArray[np.int64]
    classes: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    asked: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Inference:
    """Runs classifiers on all images of a set, and keeps the most probable classes in parts.

    A part holds a shard's predictions, written when the shard is done. The ranks divide the shards
    among them, skipping those that already have a part.

    Attributes:
        uri: URI of the parts' folder. It must tell apart all that changes what parts hold: images,
            classifiers and each of the settings below.
        images: The images.
        folders: The classifiers' folders.
        top_k: How many classes of an image to keep.
        batch_size: Images at a time; a batch ends with its shard, so that neither the number of
            ranks nor a restart changes what is computed together.
        each: Whether to keep each classifier's own classes as well.
        chosen: The images, in ascending order; None for all of the set.
        asked: Given image numbers (N,), returns classes (N, A) whose mean probabilities to keep as
            well, whether they are among the most probable or not.
        views: Whose probabilities are averaged.
        shares: The classifiers' shares of the mean; None if they are equal.
    """

    uri: str
    images: ImageSet
    folders: Sequence[Path]
    top_k: int
    batch_size: int
    each: bool = False
    chosen: NDArray[np.int64] | None = None
    asked: Callable[[NDArray[np.int64]], NDArray[np.int64]] | None = None
    views: Views = "one"
    shares: Sequence[float] | None = None

    def run(self, what: str) -> None:
        """Make the missing parts, all ranks together.

        Args:
            what: What they are, shown with the progress.

        Raises:
            UserError: A batch does not fit in the GPU's memory.
        """
        missing = self._missing()
        try:
            if missing:
                self._run(missing, what)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"batch_size={self.batch_size}: a batch does not fit in the GPU's memory: "
                f"try batch_size={max(1, self.batch_size // 2)}"
            ) from error
        ranks.barrier()

    def __iter__(self) -> Iterator[ShardPredictions]:
        """Yield the parts in the order of the shards, once all have been made.

        Raises:
            StorageError: One is damaged.
        """
        parts = Parts(self.uri)
        for shard in self._shards():
            arrays = parts.load(shard)
            if arrays is None:
                raise StorageError(
                    f"{self.uri}: part {shard} was damaged or removed after it was written: "
                    "run the stage again to recreate it"
                )
            yield ShardPredictions(numbers=np.array(self._numbers(shard)), **arrays)

    def _missing(self) -> list[int]:
        """Return this rank's shards that have no part, or a damaged one."""
        share = self._shards()[ranks.rank() :: ranks.world_size()]
        parts = Parts(self.uri)
        missing = [shard for shard in share if parts.load(shard) is None]
        if len(missing) < len(share):
            done = len(share) - len(missing)
            logger.info("%s: %d of %d shards are already done", self.uri, done, len(share))
        return missing

    def _run(self, shards: Sequence[int], what: str) -> None:
        parts, classifiers = Parts(self.uri), [Classifier.load(each) for each in self.folders]
        stretches = [self._numbers(shard) for shard in shards]
        # One stream for all shards: its workers are forked once, and read ahead across them.
        stream = probabilities(self.images, stretches, classifiers, self.batch_size, self.views)
        shown = progress(shards, total=len(shards), unit="shard", what=what)
        for shard, numbers in zip(shown, stretches, strict=True):
            asked, starts = self._asked(numbers), range(0, len(numbers), self.batch_size)
            # Results stay on the device until the shard is done: no GPU synchronisation per batch.
            found = [
                (
                    *most_probable(each, self.top_k, each=self.each, shares=self.shares),
                    mean(each, self.shares).gather(1, asked[start : start + self.batch_size]),
                )
                for start, each in zip(starts, islice(stream, len(starts)), strict=True)
            ]
            classes, shares, others = zip(*found, strict=True)
            arrays = {
                "classes": torch.cat(classes, dim=1).int(),
                "probabilities": torch.cat(shares, dim=1),
            }
            if self.asked is not None:
                arrays["asked"] = torch.cat(others)
            parts.save(shard, {name: tensor.cpu().numpy() for name, tensor in arrays.items()})

    def _asked(self, numbers: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """Return the classes (N, A) of images to keep the probabilities of, on the device."""
        if self.asked is None:
            return torch.zeros(len(numbers), 0, dtype=torch.int64, device=transforms.device())
        return torch.from_numpy(self.asked(np.array(numbers))).to(transforms.device())

    def _shards(self) -> list[int]:
        """Return the shards that hold any of the images."""
        return [shard for shard in range(len(self.images.shards)) if len(self._numbers(shard)) > 0]

    def _numbers(self, shard: int) -> Sequence[int] | NDArray[np.int64]:
        first = sum(each.images for each in self.images.shards[:shard])
        end = first + self.images.shards[shard].images
        if self.chosen is None:
            return range(first, end)
        return self.chosen[slice(*np.searchsorted(self.chosen, (first, end)))]
