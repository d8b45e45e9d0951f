"""What several classifiers say of the same images, each image decoded once for all of them.

Shapes: M classifiers, B images of a batch, C classes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.shared import models, pictures
from components.shared.evaluation import top_k
from components.shared.images import ImageSet
from components.shared.interface import UserError
from components.shared.models import Record
from components.shared.progress import progress


@dataclass(frozen=True, slots=True)
class Classifier:
    """A trained model in evaluation mode on the device, and what is known of it."""

    model: nn.Module
    record: Record

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Open a model folder."""
        return cls(models.load(folder), models.read_record(folder))


def read_records(folders: Sequence[Path], names: Sequence[str]) -> list[Record]:
    """Return the records of models whose outputs are the classes `names`, in that order.

    Raises:
        UserError: A model knows other classes: its probabilities could not be averaged.
    """
    records = [models.read_record(folder) for folder in folders]
    for folder, record in zip(folders, records, strict=True):
        if record.names != list(names):
            raise UserError(
                f"{folder}: {record.title} knows {_excerpt(record.names)}, but the classes here "
                f"are {_excerpt(names)}: use classifiers of the same concepts"
            )
    return records


def _excerpt(names: Sequence[str]) -> str:
    shown = ", ".join([*names[:3], "…"] if len(names) > 3 else names)
    return f"{len(names):,} classes ({shown})"


@torch.inference_mode()
def probabilities(
    images: ImageSet,
    numbers: NDArray[np.int64],
    classifiers: Sequence[Classifier],
    *,
    batch_size: int,
    what: str,
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Yield image numbers (B,) and each classifier's probabilities (M, B, C), batch by batch.

    The batches follow the order of `numbers`. The probabilities are fp32, on the device. Each
    classifier sees the images at the size that it was trained at.

    Args:
        images: Where the images are.
        numbers: Which of them.
        classifiers: Models with the same classes.
        batch_size: Images at a time.
        what: What this is for, shown with the progress.
    """
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size}: at least 1 is needed")
    sizes = sorted({classifier.record.image_size for classifier in classifiers})
    device = pictures.device()
    batches = pictures.evaluation_batches(images, numbers, sizes, batch_size)
    total = math.ceil(len(numbers) / batch_size)
    for batch, crops in progress(batches, total=total, unit="batch", what=what):
        pixels = {
            size: pictures.normalized(crop, device) for size, crop in zip(sizes, crops, strict=True)
        }
        scored = [softmax(each.model, pixels[each.record.image_size]) for each in classifiers]
        yield batch, torch.stack(scored)


def softmax(model: nn.Module, pixels: Tensor) -> Tensor:
    """Return a model's probabilities (B, C) in fp32, of normalised pixels (B, 3, S, S)."""
    with models.autocast():
        logits: Tensor = model(pixels)
    return logits.float().softmax(dim=1)


def most_probable(probabilities: Tensor, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the classes with the highest mean over the classifiers, and that mean.

    Args:
        probabilities: (M, B, C).
        k: How many classes of each image.

    Returns:
        Classes and mean probabilities, both (B, min(k, C)), the most probable first.
    """
    means, classes = top_k(probabilities.mean(dim=0), k)
    return classes.cpu().numpy(), means.cpu().numpy()
