"""ImageSet: numbered images in plain tar shards, found by an index.

A folder, small enough to be a KFP artifact; the shards themselves stay in the store:

    manifest.json   {"format", "images", "digest", "preprocessing": {"image_side"},
                     "shards": [{"uri", "bytes", "images", "sha256"}], "counts": {…}}
    index.npy       shard int32, length int32, offset int64, per image
    ids.parquet     id, per image; its schema carries the numbering

The shards are shuffled when they are made, so that reading them in order is already a random
order; webdataset reads them too. An image number is its place in them.
"""

import functools
import json
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.shared import storage
from components.shared.interface import UserError
from components.shared.numbering import Numbering

INDEX = np.dtype([("shard", "<i4"), ("length", "<i4"), ("offset", "<i8")])


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A tar file of images: where it is, and what to expect there."""

    uri: str
    bytes: int
    images: int
    sha256: str


@dataclass(frozen=True)
class ImageSet:
    """N images in shards.

    Attributes:
        shards: In order; image numbers follow it.
        index: (N,) of `INDEX`: shard, length, offset of the encoded image in its tar.
        image_side: The longest that the short side can be, in pixels.
        numbering: Which images.
        folder: Where the manifest lies.
    """

    shards: Sequence[Shard]
    index: NDArray[Any]
    image_side: int
    numbering: Numbering
    folder: Path

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open an image set; the index is memory-mapped, no shard is touched."""
        if not (folder / "manifest.json").is_file():
            raise UserError(f"{folder}: no image set there (manifest.json is missing)")
        manifest = json.loads((folder / "manifest.json").read_text())
        return cls(
            shards=[Shard(**shard) for shard in manifest["shards"]],
            index=np.load(folder / "index.npy", mmap_mode="r"),
            image_side=manifest["preprocessing"]["image_side"],
            numbering=Numbering(manifest["images"], manifest["digest"]),
            folder=folder,
        )

    @staticmethod
    def save(
        folder: Path,
        shards: Sequence[Shard],
        index: NDArray[Any],
        ids: pa.ChunkedArray,
        *,
        image_side: int,
        counts: Mapping[str, int],
    ) -> Numbering:
        """Write an image set's folder, complete or not at all; return its numbering."""
        numbering = Numbering.of(id for chunk in ids.chunks for id in chunk.to_pylist())
        manifest = {
            "format": 1,
            **asdict(numbering),
            "preprocessing": {"image_side": image_side},
            "shards": [asdict(shard) for shard in shards],
            "counts": dict(counts),
        }
        assert len(index) == len(ids) == sum(shard.images for shard in shards)
        with storage.complete(folder) as temporary:
            temporary.mkdir()
            (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1))
            np.save(temporary / "index.npy", index)
            schema = numbering.in_schema(pa.schema([pa.field("id", pa.string(), nullable=False)]))
            pq.write_table(pa.table([ids], schema=schema), temporary / "ids.parquet")
        return numbering

    def __len__(self) -> int:
        return self.numbering.images

    def ids(self) -> list[str]:
        """Return all ids, in image order (some 100 bytes each)."""
        ids: list[str] = pq.read_table(self.folder / "ids.parquet")["id"].to_pylist()
        return ids

    def read(self, image: int) -> memoryview:
        """Return the encoded bytes of one image."""
        shard, length, offset = self.index[image].tolist()
        return memoryview(_open(self.shards[shard]))[offset : offset + length]


@functools.lru_cache(maxsize=256)
def _open(shard: Shard) -> mmap.mmap:
    """Map a shard into memory, fetched first into `WEBLY_CACHE` if it is an object."""
    path = Path(shard.uri)
    if storage.is_s3(shard.uri):
        path = Path(os.environ.get("WEBLY_CACHE", "runs/cache")) / f"{shard.sha256}.tar"
        if not path.is_file():
            storage.fetch(shard.uri, path)
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise UserError(f"{shard.uri}: this shard is gone: run ingest again") from None
    if len(mapped) != shard.bytes:
        raise UserError(f"{shard.uri}: {len(mapped):,} bytes, not {shard.bytes:,}: rerun ingest")
    return mapped
