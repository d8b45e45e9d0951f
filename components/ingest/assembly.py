"""The outputs, joined from finished parts in the order of positions, one part at a time."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.dataset import (
    EXTERNAL,
    REJECTS,
    DataSet,
    Reject,
    commonest,
    table,
)
from components.ingest.plan import Plan
from components.ingest.shards import Shards
from components.ingest.text_parts import TextParts
from components.shared.data import texts
from components.shared.data.identity import Identity
from components.shared.data.image_set import INDEX, ImageSet
from components.shared.data.targets import TargetsWriter
from components.shared.stage.errors import UserError
from components.shared.storage import arrays, filesystem

NONE_LEFT = {  # what is said of a split that must have images, but has none
    "train": "no training images are left",
    "validation": "no validation images are left: add some, or let validation_share hold some out "
    "of classes that have two images or more",
    EXTERNAL: "no images of the external validation set are left",
}


def write_images(folder: Path, shards: Shards, split: str) -> Identity:
    """Write the image set of a split, and return its identity."""
    made = [(number, shards.shard(number)) for number in shards.of_split(split)]
    made = [(number, shard) for number, shard in made if shard.images]
    index, ids, start = np.zeros(sum(shard.images for _, shard in made), INDEX), [], 0
    for position, (number, shard) in enumerate(made):
        part = shards.kept(number, ["id", "offset", "length"])
        rows = index[start : start + shard.images]
        rows["shard"] = position
        rows["offset"], rows["length"] = part["offset"].to_numpy(), part["length"].to_numpy()
        ids += part["id"].chunks
        start += shard.images
    return ImageSet.save(
        folder,
        [shard for _, shard in made],
        index,
        pa.chunked_array(ids, pa.string()),
        image_side=shards.image_side,
        counts={"images": len(index)},
    )


def write_texts(path: Path, shards: Shards, split: str, identity: Identity) -> None:
    """Write the texts of a split."""
    columns = texts.SCHEMA.names
    texts.write(path, identity, (shards.kept(number, columns) for number in shards.of_split(split)))


def write_labels(
    folder: Path,
    shards: Shards,
    split: str,
    identity: Identity,
    names: Sequence[str],
    titles: Sequence[str],
) -> None:
    """Write the given labels of a split, each of weight 1."""
    with TargetsWriter(folder, names, titles, identity) as writer:
        for number in shards.of_split(split):
            labels = shards.kept(number, ["label"])["label"].to_numpy()
            ones = np.ones(len(labels))
            writer.append(ones, labels, ones)


def write_rejects(path: Path, data: DataSet, shards: Shards) -> Counter[str]:
    """Write what was left out or is missing, and why; return the counts by kind."""
    counts: Counter[str] = Counter()
    with (
        filesystem.complete(path) as temporary,
        arrays.writer(temporary, REJECTS, compression="zstd") as writer,
    ):
        for rejects in _rejects(data, shards):
            counts.update(rejects["kind"].to_pylist())
            writer.write_table(rejects)
    return counts


def check_lists(data: DataSet, text_parts: TextParts) -> None:
    """Refuse a data set whose lists and files leave no images where there must be some.

    Raises:
        UserError: It says what became of them.
    """
    _check(data, text_parts.plan.counts, _of_lists(data, text_parts))


def check_images(data: DataSet, shards: Shards) -> None:
    """Refuse a data set that has none left now that all images have been read, as `check_lists`."""
    images = {
        split: sum(shards.shard(number).images for number in shards.of_split(split))
        for split in NONE_LEFT
    }
    _check(data, images, _rejects(data, shards))


def counts(splits: Mapping[str, int], kinds: Mapping[str, int]) -> dict[str, int]:
    """Return how many images each split has, and how many rejects there are of each kind."""
    images = {f"{split}_images": count for split, count in splits.items()}
    return images | {kind.replace(" ", "_"): count for kind, count in sorted(kinds.items())}


def _check(data: DataSet, images: Mapping[str, int], rejects: Iterable[pa.Table]) -> None:
    for split, problem in NONE_LEFT.items():
        if not images[split] and (split != EXTERNAL or data.external):
            rows = (Reject(**row) for each in rejects for row in each.to_pylist())
            why = commonest(row for row in rows if row.split in (split, ""))
            raise UserError("; ".join(filter(None, (problem, why))))


def _rejects(data: DataSet, shards: Shards) -> Iterator[pa.Table]:
    yield from _of_lists(data, shards.text_parts)
    for number, shard in enumerate(shards.ranges):
        part = shards.part(number, REJECTS.names[1:])
        part = part.filter(pc.not_equal(part["kind"], ""))
        split = pa.array([shard.split] * len(part), pa.string())
        yield part.add_column(0, REJECTS.field("split"), split).cast(REJECTS)


def _of_lists(data: DataSet, text_parts: TextParts) -> Iterator[pa.Table]:
    """Yield what was wrong before any image was read."""
    yield table(data.rejects)
    yield from _unlisted(data, text_parts.plan)
    for number in range(len(text_parts.blocks)):
        yield text_parts.rejects(number)


def _unlisted(data: DataSet, plan: Plan) -> Iterator[pa.Table]:
    """Yield the images that are in no list, reading their names again from the archives."""
    bounds = pairwise([0, *data.files.ends])
    for container, (start, end) in zip(data.files.containers, bounds, strict=True):
        unlisted = plan.unlisted[start:end]
        if unlisted.any():
            name, detail = container.rpartition("/")[2], "in no list, or there twice"
            ids = compress(data.ids(container), unlisted.tolist())
            yield table([Reject("", "unlisted image", name, id, detail) for id in ids])
