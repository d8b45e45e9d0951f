"""The identity of a data set: which images, in which order.

Ingest numbers the images 0 … N-1, and all that stages exchange is aligned by these numbers. The
image set, the texts and the targets each carry the count and a digest of the ids in that order, so
that a stage can refuse to mix two data sets.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from components.shared.stage.errors import UserError
from components.shared.storage import formats

# Part of the format of each file that carries it, and versioned with that.
_KEY = b"webly"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which images, in which order.

    Attributes:
        images: Their count, N.
        digest: sha256 of their ids, each followed by a line feed, in hexadecimal.
    """

    images: int
    digest: str

    @classmethod
    def of(cls, ids: Iterable[str]) -> "Identity":
        """Return the identity of a data set with these ids, in this order."""
        sha256, images = hashlib.sha256(), 0
        for images, id in enumerate(ids, start=1):  # noqa: B007
            sha256.update(id.encode() + b"\n")
        return cls(images, sha256.hexdigest())

    @classmethod
    def of_schema(cls, schema: pa.Schema, format: int, path: Path) -> "Identity":
        """Read an identity from a Parquet file's schema, where `in_schema` put it.

        Args:
            schema: The schema.
            format: The number of the format that the caller reads.
            path: The file.

        Raises:
            UserError: The schema has none, or the file is of another format.
        """
        if _KEY not in (schema.metadata or {}):
            columns = ", ".join(schema.names)
            raise UserError(f"{path}: a file of {columns}: not a stage's Texts or Targets")
        with formats.reading(schema.metadata[_KEY], format, path) as content:
            return formats.fill(cls, content)

    def in_schema(self, schema: pa.Schema, format: int) -> pa.Schema:
        """Return a schema that carries this identity and the number of the file's format."""
        content = {"format": format, **asdict(self)}
        return schema.with_metadata({_KEY: json.dumps(content).encode()})

    def check(self, other: "Identity", what: str) -> None:
        """Refuse `what`, made for another data set than this.

        Raises:
            UserError: The data sets differ.
        """
        if self != other:
            raise UserError(
                f"{what}: made for {other.images:,} images (ids {other.digest[:12]}), but the "
                f"images here are {self.images:,} (ids {self.digest[:12]}): use the outputs of "
                "the same ingest"
            )
