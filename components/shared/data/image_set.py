"""ImageSet: numbered images in plain tar shards, found by an index.

A folder, small enough to be a KFP artifact; the shards themselves stay in the store:

    manifest.json   {"format", "images", "digest", "preprocessing": {"image_side"},
                     "shards": [{"uri", "bytes", "images", "sha256"}], "counts": {…}}
                    (a URI without a scheme and a leading slash is below WEBLY_STORE)
    index.npy       shard int32, length int32, offset int64, per image
    ids.parquet     id, per image; its schema carries the data set's identity

The shards are shuffled when they are made, so that reading them in order is already a random
order; webdataset reads them too. An image's number is its position in them.
"""

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.data.identity import Identity
from components.shared.stage import environment
from components.shared.stage.errors import UserError
from components.shared.storage import arrays, filesystem, formats, shard_cache
from components.shared.storage.formats import FormatError
from components.shared.storage.shard_cache import Shard as Shard

FORMAT = 1
INDEX = np.dtype([("shard", "<i4"), ("length", "<i4"), ("offset", "<i8")])
IDS = pa.schema([pa.field("id", pa.string(), nullable=False)])


@dataclass(frozen=True)
class ImageSet:
    """N images in shards.

    Attributes:
        shards: In order; image numbers follow it.
        index: (N,) of `INDEX`: shard, length, offset of the encoded image in its tar.
        image_side: The largest short side, in pixels.
        identity: The data set's.
        folder: Where the manifest is.
    """

    shards: Sequence[Shard]
    index: NDArray[Any]
    image_side: int
    identity: Identity
    folder: Path

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open an image set; the index is memory-mapped, no shard is touched."""
        path = folder / "manifest.json"
        if not path.is_file():
            raise UserError(f"{folder}: not an image set (manifest.json is missing)")
        with formats.reading_file(path, FORMAT) as manifest:
            found, identity = shards(manifest), formats.fill(Identity, manifest)
            image_side = manifest["preprocessing"]["image_side"]
            if not isinstance(image_side, int):
                raise TypeError(f"image_side is {image_side!r:.80}")
        # Not as np.memmap, whose elements are slow to access.
        index = arrays.mapped(folder / "index.npy", INDEX).view(np.ndarray)
        counts = [shard.images for shard in found]
        if not len(index) == identity.images == sum(counts):
            raise FormatError(
                f"{folder}: damaged: {identity.images:,} images, {len(index):,} in index.npy and "
                f"{sum(counts):,} in the shards: rerun what made it"
            )
        return cls(found, index, image_side, identity, folder)

    @staticmethod
    def save(
        folder: Path,
        shards: Sequence[Shard],
        index: NDArray[Any],
        ids: pa.ChunkedArray,
        *,
        image_side: int,
        counts: Mapping[str, int],
    ) -> Identity:
        """Write an image set's folder, complete or not at all; return its identity."""
        identity = Identity.of(id for chunk in ids.chunks for id in chunk.to_pylist())
        manifest = {
            "format": FORMAT,
            **asdict(identity),
            "preprocessing": {"image_side": image_side},
            # Below the store, so that it can be moved: see `shards`.
            "shards": [
                asdict(shard) | {"uri": shard.uri.removeprefix(f"{environment.store()}/")}
                for shard in shards
            ],
            "counts": dict(counts),
        }
        assert len(index) == len(ids) == sum(shard.images for shard in shards)
        with filesystem.complete(folder) as temporary:
            temporary.mkdir()
            (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1))
            np.save(temporary / "index.npy", index)
            table = pa.table([ids], schema=identity.in_schema(IDS, FORMAT))
            arrays.write(temporary / "ids.parquet", table)
        return identity

    def __len__(self) -> int:
        return self.identity.images

    def ids(self) -> list[str]:
        """Return all ids, in image order (some 100 bytes each)."""
        ids: list[str] = self.id_column().to_pylist()
        return ids

    def id_column(self) -> pa.ChunkedArray:
        """Return all ids, in image order, in Arrow's memory (some 50 bytes each)."""
        path = self.folder / "ids.parquet"
        column = arrays.table(path, IDS)["id"]
        if len(column) != len(self):
            raise FormatError(
                f"{path}: damaged: {len(column):,} ids of {len(self):,} images: rerun what made it"
            )
        return column

    def read(self, image: int) -> memoryview:
        """Return the encoded bytes of one image."""
        shard, length, offset = self.index[image].tolist()
        return shard_cache.read(self.shards[shard], offset, length)

    def peek(self, image: int) -> bytes:
        """Return the encoded bytes of one image that can be shown, without fetching its shard.

        Raises:
            UserError: It cannot be decoded.
        """
        from PIL import Image  # readers of many images have other decoders

        shard, length, offset = self.index[image].tolist()
        encoded = shard_cache.peek(self.shards[shard], offset, length)
        try:
            Image.open(io.BytesIO(encoded)).load()
        except Exception as error:  # PIL's readers raise whatever their parsing comes upon
            raise self.undecodable(image, error) from None
        return encoded

    def ids_of(self, images: Sequence[int]) -> list[str]:
        """Return the ids of some images, without holding those of all."""
        found, first = dict[int, str](), 0
        path = self.folder / "ids.parquet"
        with arrays.opened(path, IDS) as ids, formats.guarded(path):
            for batch in ids.iter_batches(columns=["id"]):
                here = [image for image in images if first <= image < first + len(batch)]
                found |= {image: batch["id"][image - first].as_py() for image in here}
                first += len(batch)
            return [found[image] for image in images]

    def name(self, image: int) -> str:
        """Return the id of one image, and where it is, for messages."""
        shard, length, offset = self.index[image].tolist()
        (id,) = self.ids_of([image])
        return f"{id} (bytes {offset:,} to {offset + length:,} of {self.shards[shard].uri})"

    def undecodable(self, image: int, error: Exception) -> UserError:
        """Return what to tell the user of an image that a decoder refuses."""
        return UserError(
            f"{self.name(image)} cannot be decoded: the shard is damaged, or was not made by "
            f"this version's ingest: {shard_cache.AGAIN} ({error})"
        )

    def window_shards(self, window_gigabytes: float) -> int:
        """Return how many shards of the largest size fit in a window of that size; at least one.

        Raises:
            UserError: The shards are on S3, and the cache cannot hold two windows of them.
        """
        largest = max((shard.bytes for shard in self.shards), default=1)
        window = max(1, min(int(1e9 * window_gigabytes // largest), len(self.shards)))
        needed = min(2 * window * largest, sum(shard.bytes for shard in self.shards))
        on_s3 = any(filesystem.is_s3(shard.uri) for shard in self.shards[:1])
        if on_s3 and needed > (limit := environment.cache_bytes()):
            smaller = math.floor(limit / 2e6) / 1e3
            raise UserError(
                f"window_gigabytes={window_gigabytes:g}: the current window and the next one, "
                f"of {window} shards each, do not fit in {environment.cache()}: set "
                f"WEBLY_CACHE_GIGABYTES to {math.ceil(needed / 1e6) / 1e3} or more"
                + (f", or window_gigabytes to {smaller} or less" * (1e9 * smaller >= largest))
            )
        return window


def shards(manifest: Mapping[str, Any]) -> list[Shard]:
    """Return the shards that a manifest names."""
    found = []
    for entry in manifest["shards"]:
        uri = entry["uri"]
        in_store = "://" not in uri and not uri.startswith("/")
        uri = f"{environment.store()}/{uri}" if in_store else uri
        found.append(formats.fill(Shard, entry | {"uri": uri}))
    return found
