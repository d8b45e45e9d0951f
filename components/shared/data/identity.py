"""Image numbers: everything that travels between stages is aligned by them.

Ingest numbers the images 0 … N-1. The image set, the texts and the targets each carry the count
and a digest of the ids in that order, so that a stage can refuse to mix two data sets.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from components.shared.stage.errors import UserError
from components.shared.storage import formats

# A part of the format of each file that has it: its number is the file's.
_KEY = b"webly"


@dataclass(frozen=True, slots=True)
class Numbering:
    """Which images, in which order.

    Attributes:
        images: Their count, N.
        digest: sha256 of their ids, each followed by a line feed, in hexadecimal.
    """

    images: int
    digest: str

    @classmethod
    def of(cls, ids: Iterable[str]) -> "Numbering":
        """Return the numbering of ids in their order."""
        sha256, images = hashlib.sha256(), 0
        for images, id in enumerate(ids, start=1):  # noqa: B007
            sha256.update(id.encode() + b"\n")
        return cls(images, sha256.hexdigest())

    @classmethod
    def of_schema(cls, schema: pa.Schema, format: int, path: Path) -> "Numbering":
        """Read a numbering from a Parquet file's schema, where `in_schema` put it.

        Args:
            schema: The schema.
            format: The number of the format that the caller reads.
            path: The file.

        Raises:
            UserError: The schema has none, or the file is of another format.
        """
        if _KEY not in (schema.metadata or {}):
            columns = ", ".join(schema.names)
            raise UserError(f"{path}: a file of {columns}: neither Texts nor Targets of a stage")
        with formats.reading(schema.metadata[_KEY], format, path) as content:
            return formats.fill(cls, content)

    def in_schema(self, schema: pa.Schema, format: int) -> pa.Schema:
        """Return a schema that says this numbering, and the number of the file's format."""
        content = {"format": format, **asdict(self)}
        return schema.with_metadata({_KEY: json.dumps(content).encode()})

    def check(self, other: "Numbering", what: str) -> None:
        """Refuse `what`, numbered by `other`, beside something numbered by this.

        Raises:
            UserError: They number different images.
        """
        if self != other:
            raise UserError(
                f"{what}: made for {other.images:,} images (ids {other.digest[:12]}), but the "
                f"images here are {self.images:,} (ids {self.digest[:12]}): use the outputs of "
                "one and the same ingest"
            )
