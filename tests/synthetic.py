"""Small data sets for tests: pictures in a real ImageSet, and Targets beside them."""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from components.shared.data.evaluation import LABELS, TEST, VALIDATION
from components.shared.data.identity import Identity
from components.shared.data.image_set import INDEX, ImageSet
from components.shared.data.targets import Targets, TargetsWriter
from components.shared.storage import filesystem
from components.shared.storage.shard_cache import Shard
from components.shared.training.settings import TrainingSettings

COLOURS = ["red", "green", "blue"]
TRAINING = TrainingSettings(
    backbone="resnet10t",
    backbone_args=json.dumps({"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 24], "stem_width": 8}),
    image_size=24,
    smallest_crop=0.5,
    epochs=2,
    epoch_images=96,
    decay_epochs=1,
    learning_rate=0.02,
    batch_size=8,
    accumulation_steps=2,
    warmup_epochs=0.2,
)


def image_set(
    folder: Path,
    pictures: Sequence[Image.Image],
    ids: Sequence[str] | None = None,
    *,
    image_side: int = 64,
    images_per_shard: int = 100,
    at: Path | None = None,
) -> ImageSet:
    """Write pictures as JPEGs into shards in `folder`, and their ImageSet, by default below it."""
    at = at or folder / "images"
    ids = [f"picture{i:06d}.jpg" for i in range(len(pictures))] if ids is None else ids
    index = np.zeros(len(pictures), INDEX)
    shards = []
    folder.mkdir(parents=True, exist_ok=True)
    for shard, start in enumerate(range(0, len(pictures), images_per_shard)):
        path = folder / f"shard-{shard:06d}.tar"
        numbers = range(start, min(start + images_per_shard, len(pictures)))
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for number in numbers:
                buffer = io.BytesIO()
                pictures[number].save(buffer, "JPEG", quality=95)
                member = tarfile.TarInfo(f"{number:09d}.jpg")
                member.size = buffer.tell()
                index[number] = (shard, member.size, tar.offset + tarfile.BLOCKSIZE)
                tar.addfile(member, io.BytesIO(buffer.getvalue()))
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        shards.append(Shard(uri=str(path), bytes=len(content), images=len(numbers), sha256=digest))
    chunked = pa.chunked_array([pa.array(ids, pa.string())])
    ImageSet.save(at, shards, index, chunked, image_side=image_side, counts={})
    return ImageSet.load(at)


def targets(
    folder: Path,
    identity: Identity,
    pairs: Sequence[Sequence[tuple[int, float]]],
    names: Sequence[str],
    chosen: Sequence[str] = (),
) -> Targets:
    """Write Targets to `folder`: for each image, its (class, weight) pairs, strongest first."""
    with TargetsWriter(folder, names, names, identity, chosen) as writer:
        flat = [pair for image in pairs for pair in image]
        writer.append([len(image) for image in pairs], [c for c, _ in flat], [w for _, w in flat])
    return Targets.load(folder)


def coloured_squares(count: int, side: int, seed: int) -> tuple[list[Image.Image], list[int]]:
    """Draw noise with a red, green or blue square in it; return the pictures and their colours."""
    random = np.random.default_rng(seed)
    pictures, labels = [], []
    for number in range(count):
        colour = number % 3
        pixels = random.integers(0, 120, (side, side, 3), np.uint8)
        top, left = random.integers(0, side // 2, 2)
        pixels[top : top + side // 2, left : left + side // 2, colour] += 130
        pictures.append(Image.fromarray(pixels))
        labels.append(colour)
    return pictures, labels


@dataclass(frozen=True)
class ColouredSquares:
    """Folders of what the training stages take, made of pictures of coloured squares."""

    images: Path
    labels: Path
    keywords: Path
    weights: Path
    evaluation: Path

    @classmethod
    def write(cls, folder: Path, images_per_shard: int = 100) -> "ColouredSquares":
        """Draw 60 pictures for training and 30 for validation, 32 pixels wide."""
        for split, count, seed in (("train", 60, 0), ("validation", 30, 1)):
            pictures, labels = coloured_squares(count, 32, seed)
            ids = [f"{split}/{number}.jpg" for number in range(count)]
            names = {"train": ("images", "labels"), "validation": (VALIDATION, LABELS)}
            at, labelled = (folder / split / name for name in names[split])
            images = image_set(
                folder / split,
                pictures,
                ids,
                image_side=32,
                images_per_shard=images_per_shard,
                at=at,
            )
            given = [[(label, 1.0)] for label in labels]
            targets(labelled, images.identity, given, COLOURS)
            if split == "train":
                # An image's colour and whether it is a warm one; every tenth says nothing.
                keywords = [
                    [] if number % 10 == 9 else [(label, 1.0), (3 + (label > 0), 1.0)]
                    for number, label in enumerate(labels)
                ]
                temperatures = [*COLOURS, "warm", "cold"]
                targets(folder / split / "keywords", images.identity, keywords, temperatures)
                weights = [[(label, 0.77), ((label + 1) % 3, 0.11)] for label in labels]
                targets(folder / split / "weights", images.identity, weights, COLOURS)
        train, evaluation = folder / "train", folder / "validation"
        image_set(evaluation, [], image_side=32, at=evaluation / TEST)
        return cls(
            images=train / "images",
            labels=train / "labels",
            keywords=train / "keywords",
            weights=train / "weights",
            evaluation=evaluation,
        )

    def put_in_store(self, store: str) -> None:
        """Move the shards of the images for training to what WEBLY_STORE will be."""
        manifest = self.images / "manifest.json"
        for number, shard in enumerate(ImageSet.load(self.images).shards):
            filesystem.put(Path(shard.uri), f"{store}/{number}.tar")
            manifest.write_text(manifest.read_text().replace(f'"{shard.uri}"', f'"{number}.tar"'))
            Path(shard.uri).unlink()
