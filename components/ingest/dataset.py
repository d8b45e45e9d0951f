"""A data set as it was found: which images are listed, where each is, and its web text.

`webvision.py`, `webdataset.py` and `folders.py` each read one layout into a `DataSet`; all else
works on that. At 16 M images a Python object per image would not fit, so images are known by a
64-bit hash of their id, and everything about them is in arrays.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.stage.errors import UserError
from components.shared.storage import filesystem

SPLITS = ("train", "validation", "test")
EXTERNAL = "external"  # the images of another data set, beside the splits of this one
IMAGE_SETS = (*SPLITS, EXTERNAL)
REJECTS = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("split", "kind", "source", "id")]
    + [pa.field("detail", pa.string(), nullable=False)]
)
TAXONOMY = "info/taxonomy.jsonl"  # what classes mean, in a data set of one's own
_KINDS = 4  # of rejects that a message names


class Reject(NamedTuple):
    """Something that was left out, or that an image is missing.

    Attributes:
        split: One of `IMAGE_SETS`, or empty if unknown.
        kind: Such as `missing image`.
        source: Where it was found: google, flickr, the name of an archive, …
        id: The image's id, or what else names it.
        detail: What is wrong with it.
    """

    split: str
    kind: str
    source: str
    id: str
    detail: str


class Text(NamedTuple):
    """The web text around an image, and what was wrong with its record."""

    title: str = ""
    description: str = ""
    tags: str = ""
    query: str = ""
    rank: int = 0
    kind: str = ""  # of a reject; empty where nothing was wrong
    detail: str = ""


class External(NamedTuple):
    """What is said of another data set whose images are evaluated, too.

    Attributes:
        title: What it is called.
        about: How it is arranged, and what of it is taken, in words.
    """

    title: str
    about: str


class TextSource(Protocol):
    """Finds the text of an image; it goes to other processes."""

    def __call__(self, id: str, record: str) -> Text:
        """Return the text of an image, given its line in the list of records (or empty)."""


@dataclass(frozen=True, slots=True)
class FileList:
    """A text file with a line per image: its id and, but for the test split, a blank and its label.

    Attributes:
        path: The file.
        split: One of `IMAGE_SETS`.
        source: Where its images come from: google, flickr, or empty.
        records: WebVision's list of metadata records; its line i belongs to line i of the file.
    """

    path: Path
    split: str
    source: str = ""
    records: Path | None = None


class Files:
    """Where the encoded images are, 20 bytes each, container by container.

    Attributes:
        containers: URIs of tar files and folders.
        ends: For each, the number of files in it and in those before it.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.containers: list[str] = []
        self.ends: list[int] = []
        self._hashes, self._containers = array("Q"), array("i")
        self._blocks, self._lengths = array("I"), array("I")

    def __len__(self) -> int:
        return len(self._containers)

    def add(
        self, container: str, hashes: "array[int]", blocks: "array[int]", lengths: "array[int]"
    ) -> None:
        """Add the images of a container.

        Args:
            container: A tar file, or a folder that has each image as a file of its own.
            hashes: Of the images' ids; the last part of an id is its file's name in a folder.
            blocks: In a tar, where each begins, in blocks of 512 bytes; in a folder 0.
            lengths: In a tar, how many bytes each has; in a folder 0.
        """
        self._hashes.extend(hashes)
        self._containers.extend(array("i", [len(self.containers)]) * len(hashes))
        self._blocks.extend(blocks)
        self._lengths.extend(lengths)
        self.containers.append(container)
        self.ends.append(len(self))

    def add_folders(self, folders: "Mapping[str, array[int]]") -> None:
        """Add folders, given the hashes of the images directly in them."""
        for folder, hashes in folders.items():
            zeros = array("I", [0]) * len(hashes)
            self.add(folder, hashes, zeros, zeros)

    def join(self, other: "Files") -> None:
        """Add another data set's images, of which ids may be the same: see `external_key`."""
        first, before = len(self), len(self.containers)
        columns = other.columns()
        self._hashes.frombytes(external_key(other.take_hashes()).tobytes())
        self._containers.frombytes((columns["container"] + np.int32(before)).tobytes())
        self._blocks.frombytes(columns["block"].tobytes())
        self._lengths.frombytes(columns["length"].tobytes())
        self.containers += other.containers
        self.ends += [first + end for end in other.ends]

    def take_hashes(self) -> NDArray[np.uint64]:
        """Remove and return the hashes of the ids, to save memory."""
        hashes, self._hashes = self._hashes, array("Q")
        return np.frombuffer(hashes, np.uint64)

    def contain(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which of the given hashes are those of images that are here."""
        return np.isin(hashes, np.frombuffer(self._hashes, np.uint64))

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns container int32, block uint32, length uint32."""
        return {
            "container": np.frombuffer(self._containers, np.int32),
            "block": np.frombuffer(self._blocks, np.uint32),
            "length": np.frombuffer(self._lengths, np.uint32),
        }


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set whose lists and archives have been read, but none of its images.

    Attributes:
        names: The classes' names in label order.
        taxonomy: Its own `taxonomy.jsonl`, if it has one.
        lists: The images that belong to it.
        files: The images that are there.
        ids: Lists the ids of a container again, in the order of its files.
        text: Finds an image's text.
        rejects: What could not be read so far.
        layout: How it is arranged, in words.
        about_texts: Where its texts come from, in words.
        not_read: Files that may have been meant to be read, in words; or empty.
        skipped: How many files and folders of operating systems are there, by their names.
        num_unwanted: How many more classes the lists have, after those of `names`: their images are
            left out without a word.
        external: Another data set whose images it has beside its own; or None.
    """

    names: list[str]
    taxonomy: Path | None
    lists: list[FileList]
    files: Files
    ids: Callable[[str], Iterable[str]]
    text: TextSource
    rejects: list[Reject]
    layout: str
    about_texts: str
    not_read: str = ""
    skipped: Mapping[str, int] = field(default_factory=dict)
    num_unwanted: int = 0
    external: External | None = None


def listed(root: str) -> Iterator[filesystem.Entry]:
    """Yield all files below a data set's folder, in the order of their names.

    Raises:
        UserError: There are none.
    """
    empty = True
    for entry in filesystem.listed(root):
        empty = False
        yield entry
    if empty:
        raise UserError(f"{root}: no such folder, or no files in it")


def own_taxonomy(root: str, scratch: Path) -> Path | None:
    """Return a copy of a data set's own taxonomy, if it has one."""
    if not filesystem.exists(f"{root}/{TAXONOMY}"):
        return None
    copy = scratch / "taxonomy.jsonl"
    filesystem.fetch(f"{root}/{TAXONOMY}", copy)
    return copy


def none_unlisted(container: str) -> Iterator[str]:
    """Stand for `DataSet.ids` where lists are made from the files."""
    raise AssertionError(f"{container}: the lists were made from the files, so none is unlisted")


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of classes in the order of their labels: by number if all are numbers."""
    names = list(names)
    return sorted(names, key=number if all(number(name) >= 0 for name in names) else None)


def id_hash(id: str) -> int:
    """Return a 64-bit hash of an id, the same everywhere and always."""
    encoded = id.encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")


def external_key(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return what tells apart the ids of another data set from the same ones of this."""
    return ~hashes


def is_listable(id: str, split: str = "test") -> bool:
    """Return whether an id can be in a list of UTF-8 text, with all of its characters.

    Without a label behind it, as in the test split, a blank at its end would be lost.
    """
    try:
        id.encode()
    except UnicodeEncodeError:  # a file's name in another encoding
        return False
    return "\n" not in id and not (split == "test" and id.endswith((" ", "\r")))


def number(text: str) -> int:
    """Return the value of a text of one to nine digits, or -1 for any other."""
    return int(text) if text.isdecimal() and len(text) < 10 else -1


def table(rejects: Sequence[Reject]) -> pa.Table:
    """Return rejects as a table, their texts made safe to encode and cut to a length to read."""
    columns = zip(*rejects, strict=True) if rejects else [()] * len(REJECTS)
    arrays = [pa.array([clean(text)[:500] for text in column], pa.string()) for column in columns]
    return pa.table(arrays, schema=REJECTS)


def commonest(rejects: Iterable[Reject]) -> str:
    """Return the commonest kinds of rejects in a line, each with its count and an example."""
    counts, examples = Counter[str](), dict[str, Reject]()
    for reject in rejects:
        counts[reject.kind] += 1
        examples.setdefault(reject.kind, reject)
    return "; ".join(
        f"{count:,} × {kind}, such as {examples[kind].id:.100} ({examples[kind].detail:.100})"
        for kind, count in counts.most_common(_KINDS)
    )


def clean(text: str) -> str:
    """Return a text without the halves of surrogate pairs, which UTF-8 cannot hold."""
    return text if text.isascii() else text.encode(errors="replace").decode()
