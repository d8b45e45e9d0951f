"""Shards: each holds the images of consecutive places, and a part beside it says what is in it.

Any process can make any shard from the plan. The part is written last: a shard that has one is
finished, and an ingest that was killed goes on with the others.
"""

import hashlib
import io
import math
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.ingest import archives
from components.ingest.dataset import SPLITS, Files
from components.ingest.text_parts import TextParts
from components.ingest.validation import InvalidImageError, stored
from components.shared import images, storage, texts
from components.shared.interface import UserError
from components.shared.parallel import ordered
from components.shared.progress import progress

# What a part holds of each image besides its text; `kind` and `detail` of a reject, else empty.
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
# A set that would fit in a few shards gets more and smaller ones, for all cores to work on and for
# readers to share; but none of fewer images than this.
_MIN_SHARDS, _MIN_IMAGES = 64, 256
_NUM_SAMPLES = 100


@dataclass(frozen=True, slots=True)
class ShardRange:
    """The places that a shard holds, from `start` to before `end`, all of one split."""

    name: str
    split: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Shards:
    """Makes the shards, and reads their parts.

    Attributes:
        text_parts: The texts, and with them the plan.
        files: Where the images come from.
        folder: Where the parts are.
        prefix: Where the shards are, local or s3://.
        ranges: What each holds.
        image_side: Longer short sides are reduced to it.
    """

    text_parts: TextParts
    files: Files
    folder: Path
    prefix: str
    ranges: Sequence[ShardRange]
    image_side: int

    def make_all(self) -> None:
        """Make the shards that are not there yet, on all cores."""
        for folder in (self.folder, Path(self.prefix)):
            for path in folder.glob(".*.part"):  # of an ingest that was killed
                path.unlink()
        made = ordered(self._make, range(len(self.ranges)))
        for _ in progress(made, total=len(self.ranges), unit="shard", what="images"):
            pass

    def of_split(self, split: str) -> list[int]:
        """Return the numbers of a split's shards."""
        return [number for number, shard in enumerate(self.ranges) if shard.split == split]

    def part(self, number: int, columns: list[str]) -> pa.Table:
        """Return what is known of a shard's images, those that were left out among them."""
        return pq.read_table(self._part(self.ranges[number]), columns=columns)

    def kept(self, number: int, columns: list[str]) -> pa.Table:
        """Return what is known of the images that are in a shard."""
        part = self.part(number, [*columns, "kind"])
        return part.filter(pc.equal(part["kind"], "")).select(columns)

    def shard(self, number: int) -> images.Shard:
        """Return what an image set's manifest says of a shard."""
        metadata = pq.read_schema(self._part(self.ranges[number])).metadata
        return images.Shard(
            uri=self._uri(self.ranges[number]),
            bytes=int(metadata[b"bytes"]),
            images=int(metadata[b"images"]),
            sha256=metadata[b"sha256"].decode(),
        )

    def _make(self, number: int) -> None:
        shard = self.ranges[number]
        if not (self._part(shard).is_file() and storage.exists(self._uri(shard))):
            self._write(shard)

    def _part(self, shard: ShardRange) -> Path:
        return self.folder / f"{shard.name}.parquet"

    def _uri(self, shard: ShardRange) -> str:
        return f"{self.prefix}/{shard.name}.tar"

    def _write(self, shard: ShardRange) -> None:
        rows = self.text_parts.between(shard.start, shard.end)
        places = range(shard.start, shard.end)
        with storage.uploading(self._uri(shard)) as path:
            with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
                added = [
                    self._add(tar, place, id)
                    for place, id in zip(places, rows["id"].to_pylist(), strict=True)
                ]
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
        with storage.complete(self._part(shard)) as temporary:
            pq.write_table(part, temporary, compression="zstd")

    def _add(self, tar: tarfile.TarFile, place: int, id: str) -> tuple[int, int, str, str]:
        """Add an image to a shard; return its offset and length, or kind and detail of a reject."""
        try:
            content = stored(
                encoded(self.files, int(self.text_parts.plan.files[place]), id), self.image_side
            )
        except InvalidImageError as error:
            return 0, 0, error.kind, error.detail
        member = tarfile.TarInfo(f"{place:09d}.jpg")
        member.size = len(content)
        offset = tar.offset + tarfile.BLOCKSIZE
        tar.addfile(member, io.BytesIO(content))
        return offset, len(content), "", ""


def encoded(files: Files, number: int, id: str) -> bytes:
    """Return an image's bytes as they are in the data set.

    Raises:
        InvalidImageError: It is a file of its own that cannot be opened.
    """
    columns = files.columns()
    container = files.containers[columns["container"][number]]
    if block := int(columns["block"][number]):
        return archives.read(container, tarfile.BLOCKSIZE * block, int(columns["length"][number]))
    try:
        return Path(container, id.rpartition("/")[2]).read_bytes()
    except OSError as error:
        raise InvalidImageError("unreadable file", str(error)) from None


def plan_shards(
    text_parts: TextParts, files: Files, shard_bytes: int, image_side: int
) -> list[ShardRange]:
    """Return what each shard holds: about so many bytes, as the first images suggest.

    Raises:
        UserError: There are no training images, or none of the first is an image.
    """
    plan = text_parts.plan
    if plan.ends[0] == 0:
        raise UserError(
            f"no training images: {len(plan.places):,} rows are listed, of which {plan.ends[-1]:,} "
            "are held out or another split's, and the others have no file or cannot be read"
        )
    ids = text_parts.between(0, min(_NUM_SAMPLES, plan.ends[0]))["id"].to_pylist()
    sizes, error = [], ""
    for place, id in enumerate(ids):
        try:
            content = stored(encoded(files, int(plan.files[place]), id), image_side)
            sizes.append(len(content) + 1.5 * tarfile.BLOCKSIZE)  # a header, and half a block lost
        except InvalidImageError as invalid:
            error = f"; {id}: {invalid.kind}, {invalid.detail}"
    if not sizes:
        raise UserError(f"none of the first {len(ids)} training images can be read{error}")
    most = max(1, int(shard_bytes / float(np.mean(sizes))))
    found = []
    for split, start, end in zip(SPLITS, (0, *plan.ends), plan.ends, strict=False):
        size = min(most, max(_MIN_IMAGES, math.ceil((end - start) / _MIN_SHARDS)))
        for number, first in enumerate(range(start, end, size)):
            name = f"{split}-{number:05d}"
            found.append(ShardRange(name, split, first, min(first + size, end)))
    return found
