"""Shards: each holds the images at consecutive positions, and a part next to it lists its content.

Any process can make any shard from the plan. The part is written last: a shard that has one is
finished, and a killed ingest resumes with the others, on any node. All content is a function of the
plan, so processes that make the same shard do not disturb each other.
"""

import hashlib
import io
import logging
import math
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.ingest import source_images
from components.ingest.dataset import IMAGE_SETS, Files, Reject, commonest
from components.ingest.encoding import InvalidImageError, stored
from components.ingest.text_parts import TextParts
from components.shared.data import image_set, texts
from components.shared.stage.errors import UserError
from components.shared.stage.parallel import ordered
from components.shared.stage.progress import progress
from components.shared.storage import arrays, filesystem
from components.shared.storage.formats import FormatError

logger = logging.getLogger(__name__)

# A part's columns besides the text; `kind` and `detail` are a reject's, else empty.
_SCHEMA = pa.schema(
    [
        *texts.SCHEMA,
        pa.field("label", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("length", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)
# A set that would fit in a few shards gets more and smaller ones, to keep all cores busy and for
# readers to share; but no shard has fewer images than this.
_MIN_SHARDS, _MIN_IMAGES = 64, 256
_NUM_SAMPLES = 100


@dataclass(frozen=True, slots=True)
class ShardRange:
    """The positions that a shard holds, from `start` to before `end`, all of one split."""

    name: str
    split: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Shards:
    """Makes the shards, and reads their parts.

    Attributes:
        text_parts: The texts, and with them the plan.
        files: The source of the images.
        folder: The folder for copies of the parts.
        prefix: Where the shards go, local or s3://, and the parts until all are made.
        ranges: The positions in each.
        image_side: Longer short sides are reduced to it.
    """

    text_parts: TextParts
    files: Files
    folder: Path
    prefix: str
    ranges: Sequence[ShardRange]
    image_side: int

    def make_all(self) -> None:
        """Make the missing shards, on all cores."""
        finished = self._finished()
        if finished:
            logger.info("%d of %d shards are done", len(finished), len(self.ranges))
        made = ordered(partial(self._make, finished), range(len(self.ranges)))
        for _ in progress(made, total=len(self.ranges), unit="shard", what="images"):
            pass

    def tidy(self) -> None:
        """Remove everything but the shards that have images."""
        for number, shard in enumerate(self.ranges):
            if not self.shard(number).images:
                filesystem.remove(self._uri(shard))
        filesystem.remove_folder(f"{self.prefix}/parts")

    def of_split(self, split: str) -> list[int]:
        """Return the numbers of a split's shards."""
        return [number for number, shard in enumerate(self.ranges) if shard.split == split]

    def part(self, number: int, columns: list[str]) -> pa.Table:
        """Return the rows of all of a shard's images, including rejects."""
        return pq.read_table(self._part(self.ranges[number]), columns=columns)

    def kept(self, number: int, columns: list[str]) -> pa.Table:
        """Return the rows of the images that are in a shard."""
        part = self.part(number, [*columns, "kind"])
        return part.filter(pc.equal(part["kind"], "")).select(columns)

    def shard(self, number: int) -> image_set.Shard:
        """Return a shard's entry in the image set's manifest."""
        metadata = pq.read_schema(self._part(self.ranges[number])).metadata
        return image_set.Shard(
            uri=self._uri(self.ranges[number]),
            bytes=int(metadata[b"bytes"]),
            images=int(metadata[b"images"]),
            sha256=metadata[b"sha256"].decode(),
        )

    def _finished(self) -> dict[str, int]:
        """Return the bytes of finished shards by name, after removing those that never will be."""
        filesystem.abandon_uploads(self.prefix)
        if not filesystem.is_s3(self.prefix):
            for path in filter(Path.is_file, Path(self.prefix).glob("**/.*.part")):
                path.unlink()
        there = {entry.name: entry.bytes for entry in filesystem.listed(self.prefix)}
        names = (shard.name for shard in self.ranges)
        return {
            name: there[f"{name}.tar"]
            for name in names
            if {f"{name}.tar", f"parts/{name}.parquet"} <= there.keys()
        }

    def _make(self, finished: Mapping[str, int], number: int) -> None:
        shard = self.ranges[number]
        copy = self._part(shard)
        if shard.name in finished:
            try:
                if not copy.is_file():
                    filesystem.fetch(self._part_uri(shard), copy)
                arrays.table(copy, _SCHEMA)
                if self.shard(number).bytes == finished[shard.name]:
                    return
                logger.warning("%s is cut; making it again", self._uri(shard))
            except FileNotFoundError:
                pass  # removed by another ingest of the same, which has ended meanwhile
            except FormatError as error:
                logger.warning("%s; making it again", error)
        self._write(shard)
        filesystem.put(copy, self._part_uri(shard))

    def _part(self, shard: ShardRange) -> Path:
        return self.folder / f"{shard.name}.parquet"

    def _part_uri(self, shard: ShardRange) -> str:
        return f"{self.prefix}/parts/{shard.name}.parquet"

    def _uri(self, shard: ShardRange) -> str:
        return f"{self.prefix}/{shard.name}.tar"

    def _write(self, shard: ShardRange) -> None:
        """Write a shard, and the copy of its part."""
        rows = self.text_parts.between(shard.start, shard.end)
        numbers = self.text_parts.plan.files[shard.start : shard.end].tolist()
        reads = source_images.readers(self.files, numbers, rows["id"].to_pylist())
        with filesystem.uploading(self._uri(shard)) as path:
            with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
                added = [self._add(tar, shard.start + i, read) for i, read in enumerate(reads)]
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = path.stat().st_size
        offsets, lengths, kinds, details = zip(*added, strict=True)
        labels = self.text_parts.plan.labels[shard.start : shard.end]
        metadata = {"bytes": str(size), "sha256": sha256, "images": str(kinds.count(""))}
        part = pa.table(
            [*rows.columns, labels, offsets, lengths, kinds, details],
            schema=_SCHEMA.with_metadata(metadata),
        )
        with filesystem.complete(self._part(shard)) as temporary:
            arrays.write(temporary, part, compression="zstd")

    def _add(
        self, tar: tarfile.TarFile, position: int, read: Callable[[], bytes]
    ) -> tuple[int, int, str, str]:
        """Add an image to a shard; return its offset and length, or kind and detail of a reject."""
        try:
            content = stored(read(), self.image_side)
        except InvalidImageError as error:
            return 0, 0, error.kind, error.detail
        member = tarfile.TarInfo(f"{position:09d}.jpg")
        member.size = len(content)
        offset = tar.offset + tarfile.BLOCKSIZE
        tar.addfile(member, io.BytesIO(content))
        return offset, len(content), "", ""


def plan_shards(
    text_parts: TextParts, files: Files, shard_bytes: int, image_side: int
) -> list[ShardRange]:
    """Divide the positions into shards of about this many bytes, judging by the first images.

    Raises:
        UserError: None of the first training images is readable.
    """
    plan = text_parts.plan
    ids = text_parts.between(0, min(_NUM_SAMPLES, plan.ends[0]))["id"].to_pylist()
    sizes, rejects = [], []
    reads = source_images.readers(files, plan.files[: len(ids)].tolist(), ids)
    for id, read in zip(ids, reads, strict=True):
        try:
            content = stored(read(), image_side)
            sizes.append(len(content) + 1.5 * tarfile.BLOCKSIZE)  # a header, and half a block lost
        except InvalidImageError as invalid:
            rejects.append(Reject("train", invalid.kind, "", id, invalid.detail))
    if not sizes:
        raise UserError(
            f"none of {len(ids)} training images, drawn at random, is readable: "
            f"{commonest(rejects)}"
        )
    most = max(1, int(shard_bytes / float(np.mean(sizes))))
    found = []
    for split, start, end in zip(IMAGE_SETS, (0, *plan.ends), plan.ends, strict=False):
        size = min(most, max(_MIN_IMAGES, math.ceil((end - start) / _MIN_SHARDS)))
        for number, first in enumerate(range(start, end, size)):
            name = f"{split}-{number:05d}"
            found.append(ShardRange(name, split, first, min(first + size, end)))
    return found
