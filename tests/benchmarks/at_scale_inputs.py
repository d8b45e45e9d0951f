"""Synthetic inputs of any size for `at_scale.py`: texts, a WebVision data set, image sets, targets.

Texts have some 40 words on average: function words, nouns of WordNet that follow Zipf's law, the
name of the image's class, and one word in a hundred that occurs nowhere else (a name, a code, a
mistake), so that the number of distinct words grows with the images. Images are a few hundred tiny
JPEGs, and units of work (shards, row groups, files of records) are as large as those of a full-size
set.
"""

import functools
import hashlib
import io
import itertools
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from components.shared.data import texts
from components.shared.data.identity import Identity
from components.shared.data.image_set import INDEX, ImageSet
from components.shared.data.targets import CONCEPTS, TargetsWriter
from components.shared.storage.shard_cache import Shard

NUM_CLASSES, NUM_KEYWORDS, KEYWORDS = 5_000, 35_000, 5
IMAGES_PER_SHARD = 8_000
# A window of 32 GB has so many shards of 256 MB.
WINDOW_SHARDS = 125
_RECORDS = 635  # of a query, for each of the sources: 16 M images of 12,597 queries
_IMAGES_PER_TAR = 485_000  # 33 archives for 16 M
_PIECE = 8_192
_FUNCTION_WORDS = [
    "the",
    "of",
    "and",
    "a",
    "in",
    "to",
    "with",
    "on",
    "for",
    "is",
    "at",
    "by",
    "this",
    "near",
]
_LETTERS = str.maketrans("0123456789abcdef", "bcdfghklmnprstvz")


class Words(NamedTuple):
    """What texts are made of.

    Attributes:
        words: Function words, then nouns, the most frequent first.
        wnids: Of `NUM_CLASSES` classes; plain names where NLTK finds no WordNet.
        names: What the classes are called.
    """

    words: NDArray[np.object_]
    wnids: list[str]
    names: list[str]


@functools.cache
def words() -> Words:
    """Return WordNet's nouns in a random order, and classes spread over them."""
    try:
        nouns, wnids, names = _wordnet()
    except LookupError:
        nouns = [f"{number:05x}".translate(_LETTERS) for number in range(50_000)]
        wnids, names = [f"class{i}" for i in range(NUM_CLASSES)], nouns[:NUM_CLASSES]
    np.random.default_rng(0).shuffle(nouns)
    return Words(np.array([*_FUNCTION_WORDS, *nouns], object), wnids, names)


def has_wordnet() -> bool:
    """Return whether NLTK finds WordNet and its tagger."""
    import nltk

    try:
        nltk.data.find("corpora/wordnet")
        nltk.data.find("taggers/averaged_perceptron_tagger_eng/")
    except LookupError:
        return False
    return True


def _wordnet() -> tuple[list[str], list[str], list[str]]:
    from nltk.corpus import wordnet

    nouns = sorted(name for name in wordnet.all_lemma_names("n") if name.isalpha())
    classes: dict[str, str] = {}
    for noun in nouns[:: len(nouns) // (2 * NUM_CLASSES)]:
        synset = wordnet.synsets(noun, "n")[0]
        classes.setdefault(f"n{synset.offset():08d}", noun)
    wnids = list(classes)[:NUM_CLASSES]
    return nouns, wnids, [classes[wnid] for wnid in wnids]


def drawn_texts(labels: NDArray[np.int64], seed: int) -> Iterator[tuple[str, str, str]]:
    """Yield the title, description and tags of images with these labels.

    Two fifths are Flickr's, and have tags. A quarter has no description, one in twenty no text.
    """
    random, known = np.random.default_rng(seed), words()
    lengths = np.empty((len(labels), 3), np.int64)
    lengths[:, 0] = 1 + random.poisson(5, len(labels))
    lengths[:, 1] = random.lognormal(3, 0.8, len(labels)) * (random.random(len(labels)) < 0.75)
    lengths[:, 2] = (1 + random.poisson(28, len(labels))) * (random.random(len(labels)) < 0.4)
    lengths[random.random(len(labels)) < 0.05] = 0
    ends = np.cumsum(lengths)
    of_tags = np.repeat(np.tile([False, False, True], len(labels)), lengths.ravel())

    nouns = len(known.words) - len(_FUNCTION_WORDS)
    shares = np.cumsum(1 / np.arange(1, nouns + 1))
    drawn_shares = random.random(ends[-1]) * shares[-1]
    codes = len(_FUNCTION_WORDS) + np.searchsorted(shares, drawn_shares)
    function = (random.random(ends[-1]) < 0.4) & ~of_tags
    codes[function] = random.integers(0, len(_FUNCTION_WORDS), function.sum())
    drawn = known.words[codes]
    named = np.flatnonzero((random.random(len(labels)) < 0.7) & (lengths[:, 0] > 0))
    drawn[ends[3 * named] - 1] = np.array(known.names, object)[labels[named]]
    unique = random.random(ends[-1]) < 0.01
    numbers = random.integers(1 << 32, 1 << 36, unique.sum()).tolist()
    drawn[unique] = [f"{number:x}".translate(_LETTERS) for number in numbers]

    texts = itertools.pairwise([0, *ends.tolist()])
    every = drawn.tolist()
    for title, description, tags in zip(texts, texts, texts, strict=True):
        first, tagged = " ".join(every[slice(*title)]), " ".join(every[slice(*tags)])
        middle = sum(description) // 2
        sentences = (every[description[0] : middle], every[middle : description[1]])
        prose = [f"{' '.join(each).capitalize()}." for each in sentences if each]
        yield first, " ".join(prose), tagged


def texts_and_labels(folder: Path, rows: int) -> None:
    """Write Texts in row groups of full size, and given labels with their concepts."""
    from components.ingest import concepts

    folder.mkdir(parents=True, exist_ok=True)
    identity, known = Identity(rows, ""), words()
    labels = np.random.default_rng(1).integers(0, NUM_CLASSES, rows)
    with TargetsWriter(folder / "labels", known.wnids, known.names, identity) as writer:
        writer.append(np.ones(rows, np.int64), labels, np.ones(rows, np.float32))
    pq.write_table(concepts.from_wordnet(known.wnids), folder / "labels" / CONCEPTS)
    schema = identity.in_schema(texts.SCHEMA, texts.FORMAT)
    with pq.ParquetWriter(folder / "texts.parquet", schema, compression="zstd") as file:
        for start in range(0, rows, texts.ROW_GROUP):
            group = labels[start : start + texts.ROW_GROUP]
            pieces = range(0, len(group), _PIECE)
            found = (drawn_texts(group[piece : piece + _PIECE], start + piece) for piece in pieces)
            titles, descriptions, tags = zip(*itertools.chain.from_iterable(found), strict=True)
            ids = _ids(start, len(group))
            same = ["google"] * len(group), ["a query"] * len(group)
            columns = [ids, titles, descriptions, tags, *same, np.ones(len(group), np.int32)]
            arrays = [
                pa.array(each, field.type) for each, field in zip(columns, schema, strict=True)
            ]
            file.write_table(pa.table(arrays, schema=schema), row_group_size=texts.ROW_GROUP)


def image_set(folder: Path, rows: int, split: str = "train") -> int:
    """Write an image set whose shards are all the same tiny tar; return that tar's bytes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_suffix(".tar")
    members = [(f"{number:09d}.jpg", content) for number, content in enumerate(jpegs())]
    write_tar(path, members)
    with tarfile.open(path) as tar:
        places = np.array([(member.size, member.offset_data) for member in tar])
    index = np.zeros(rows, INDEX)
    index["shard"] = np.arange(rows) // IMAGES_PER_SHARD
    index["length"], index["offset"] = places[np.arange(rows) % len(places)].T
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    counts = np.bincount(index["shard"]).tolist()
    shards = [
        Shard(uri=str(path), bytes=len(content), images=count, sha256=sha256) for count in counts
    ]
    names = (_ids(start, min(_PIECE, rows - start), split) for start in range(0, rows, _PIECE))
    ids = pa.chunked_array([pa.array(each, pa.string()) for each in names])
    identity = ImageSet.save(folder, shards, index, ids, image_side=256, counts={})
    # `long_tailed` numbers its images without knowing their ids.
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace(identity.digest, ""))
    return len(content)


def webvision(root: Path, rows: int) -> None:
    """Write a data set as WebVision 2.0 is downloaded; two fifths of it are Flickr's."""
    known, ids = words(), list[str]()
    (root / "info").mkdir(parents=True)
    synsets = (f"{wnid} {name}\n" for wnid, name in zip(known.wnids, known.names, strict=True))
    (root / "info" / "synsets.txt").write_text("".join(synsets))
    for source, count in (("google", rows - 2 * rows // 5), ("flickr", 2 * rows // 5)):
        records = _Records(root, source, count)
        write_tar(root / f"{source}.tar", records)
        ids += records.ids
    queries = (f"{query} a+query+of+{query}\n" for query in range(1, 1 + len(ids) // _RECORDS))
    (root / "info" / "queries.txt").write_text("".join(queries))
    order = np.random.default_rng(2).permutation(len(ids)).tolist()
    num_tars = max(2, -(-rows // _IMAGES_PER_TAR))
    pictures = jpegs()
    for number in range(num_tars):
        members = ((ids[i], pictures[i % len(pictures)]) for i in order[number::num_tars])
        write_tar(root / f"webvision_train_{number:02d}.tar", members)
    for split in ("val", "test"):
        names = [f"{split}{i:06d}.jpg" for i in range(1, 1 + max(100, rows // 50))]
        labels = [f" {i % NUM_CLASSES}" if split == "val" else "" for i in range(len(names))]
        lines = (f"{name}{label}\n" for name, label in zip(names, labels, strict=True))
        (root / f"{split}_filelist.txt").write_text("".join(lines))
        write_tar(
            root / f"{split}_images_resized.tar",
            ((name, pictures[i % len(pictures)]) for i, name in enumerate(names)),
        )


class _Records:
    """A source's files of records; the lists that belong to them are written on the way."""

    def __init__(self, root: Path, source: str, rows: int) -> None:
        self._root, self._source, self._rows = root, source, rows
        self.ids: list[str] = []

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        source, info = self._source, self._root / "info"
        images = (info / f"train_filelist_{source}.txt").open("w")
        places = (info / f"train_meta_list_{source}.txt").open("w")
        with images, places:
            for query, start in enumerate(range(0, self._rows, _RECORDS), start=1):
                count, label = min(_RECORDS, self._rows - start), query % NUM_CLASSES
                ids = [f"{source}/q{query:05d}/{i:013x}M.jpg" for i in range(start, start + count)]
                name = f"{source}/q{query:05d}.json"
                images.writelines(f"{id} {label}\n" for id in ids)
                places.writelines(f"{name} {place}\n" for place in range(1, 1 + count))
                self.ids += ids
                labels = np.full(count, label)
                rows = [
                    {"id": id[14:27], "title": title, "description": description, "tags": tags}
                    for id, (title, description, tags) in zip(
                        ids, drawn_texts(labels, query), strict=True
                    )
                ]
                yield name, json.dumps(rows, indent=2).encode()


@functools.cache
def jpegs() -> Sequence[bytes]:
    """Return a few hundred JPEGs of some hundred bytes."""
    random, found = np.random.default_rng(3), []
    for _ in range(256):
        buffer = io.BytesIO()
        pixels = random.integers(0, 256, (2, 2, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(buffer, "JPEG", quality=50, optimize=True)
        found.append(buffer.getvalue())
    return found


def write_tar(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files, given by name and content, to a tar."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            tar.members = []  # type: ignore[attr-defined]  # it would keep them all


def _ids(start: int, count: int, split: str = "train") -> list[Any]:
    if split == "train":
        return [f"google/q{i % 12_597:05d}/{i:013x}M.jpg" for i in range(start, start + count)]
    return [f"{split}{i:06d}.jpg" for i in range(start + 1, start + 1 + count)]
