"""Tar shards as WebDataset reads and img2dataset writes them: an image's files beside each other.

    train-00000.tar, val/00000.tar, 00000.tar, …
        000000012.jpg, 000000012.json, 000000012.txt, 000000012.cls, …
    00000/, 00001/, …   the same unpacked, with img2dataset's 00000_stats.json, … beside them
    classnames.txt      where labels are numbers

A *sample* is an image and the files of the same name beside it. Its label is what `.cls` or a field
of the JSON says; its text is in `.txt` and in the JSON. A shard's split is a word of its name or
folder. What lies beside the shards (`00000.parquet`, `00000_stats.json`) is not read.

Each shard is read once, by one process, which writes the ids, labels and texts of its samples to
files; classes get their numbers when all shards have been read.
"""

import json
import re
import tarfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import compress, islice
from pathlib import Path
from typing import NamedTuple

from components.ingest import archives, metadata
from components.ingest.archives import Member
from components.ingest.class_names import MOST_CLASSES, class_name, several
from components.ingest.dataset import (
    SPLITS,
    DataSet,
    FileList,
    Files,
    Reject,
    Text,
    id_hash,
    in_order,
    is_listable,
    none_unlisted,
    number,
    own_taxonomy,
)
from components.ingest.listing import IMAGES, Found, Listing
from components.ingest.samples import RECORDS, Sample, is_record, samples
from components.ingest.splits import splits_in
from components.ingest.tables import decoded
from components.ingest.wording import tags, words
from components.shared.stage.errors import UserError
from components.shared.stage.parallel import ordered
from components.shared.stage.progress import progress
from components.shared.storage import filesystem

_LABELS = ("label", "class", "class_name", "category")
_TITLES, _TAGS, _QUERIES = ("title",), ("tags", "keywords"), ("query",)
_DESCRIPTIONS = ("caption", "captions", "alt", "alt_text", "text", "description")
_STATS = "_stats.json"  # what img2dataset writes beside each shard
_CLASS_NAMES = ("classnames.txt", "class_names.txt", "classes.txt", "labels.txt")
_NUMBERED = re.compile(r"\d{5,}")
# How many shards, and files in each, are looked at for samples.
_LOOKS_AT_SHARDS, _LOOKS_AT_FILES = 5, 200


class _Shard(NamedTuple):
    """A shard, and where its samples are written: a line each of an id and of its text."""

    name: str
    size: int
    split: str
    ids: Path
    texts: Path


class _Content(NamedTuple):
    """What was in a shard: an image's hash, block and length are as in `Files`.

    In the shard's list of ids, labels are positions in `labels`.
    """

    labels: list[str]
    hashes: "array[int]"
    blocks: "array[int]"
    lengths: "array[int]"
    rejects: list[Reject]
    with_text: int
    broken: int


class _Row(NamedTuple):
    """A sample with an image and, but in the test split, a label."""

    id: str
    label: str
    image: Member
    text: Text


def is_there(listing: Listing) -> bool:
    """Return whether a folder has shards of samples, judging by the first of them.

    Raises:
        UserError: It has no image, and nothing but tars of another kind.
    """
    if _folders(listing):
        return True
    error = None
    for tar in islice(_archives(listing), _LOOKS_AT_SHARDS):
        try:
            archives.is_tar(tar.name)
            members = archives.members(f"{listing.root}/{tar.name}", tar.bytes)
            for sample in samples(islice(members, _LOOKS_AT_FILES)):
                if isinstance(sample, Sample) and sample.images() and sample.file(*RECORDS):
                    return True
        except UserError as other:
            error = other
    if error and not listing.folders:
        raise error
    return False


def read(listing: Listing, scratch: Path, label_field: str) -> DataSet:
    """Return the data set in a folder; lists of its images are written to `scratch`.

    Args:
        listing: The files in it.
        scratch: A folder for lists.
        label_field: The field of the JSON that has a sample's label; `auto` for `.cls` or, where
            there is none, a field of a usual name.

    Raises:
        UserError: There are no shards, no labels, or it is unclear which split a shard is of.
    """
    root = listing.root
    shards = list(_shards(listing, scratch))
    reading = ordered(partial(_read, root, label_field), shards)
    contents = list(progress(reading, total=len(shards), unit="shard", what="samples"))
    labels = _labels(root, shards, contents, label_field)
    names = _class_names(listing, scratch, labels) or [*labels]
    lists = [
        FileList(scratch / f"{split}.txt", split, records=scratch / f"{split}.jsonl")
        for split in SPLITS
        if any(shard.split == split for shard in shards)
    ]
    files = Files()
    rejects = [reject for content in contents for reject in content.rejects]
    archives.warn_of_broken(root, rejects)
    for file_list in lists:
        rejects += _write_list(root, file_list, labels, zip(shards, contents, strict=True), files)
    about_texts = (
        f"the JSON and .txt of samples; {sum(each.with_text for each in contents):,} have a text"
    )
    if broken := sum(content.broken for content in contents):
        about_texts += f", and of {broken:,} the JSON is broken"
    return DataSet(
        names=names,
        taxonomy=own_taxonomy(root, scratch),
        lists=lists,
        files=files,
        ids=none_unlisted,
        text=_text,
        rejects=rejects,
        layout=_words(shards, label_field),
        about_texts=about_texts,
        skipped=listing.skipped,
    )


def _archives(listing: Listing) -> Iterator[Found]:
    return (file for file in listing.others() if archives.is_archive(file.name))


def _folders(listing: Listing) -> set[str]:
    """Return the folders that img2dataset has filled; `00000_stats.json` says so of `00000/`.

    Raises:
        UserError: It has filled something else.
    """
    names = (each.name.removesuffix(_STATS) for each in listing.others()
             if each.name.endswith(_STATS))  # fmt: skip
    written = {name for name in names if number(name.rpartition("/")[2]) >= 0}
    if not written:
        return _with_records(listing)
    tars = {file.name.removesuffix(".tar") for file in _archives(listing)}
    if not tars and not listing.folders:
        raise UserError(
            f"{listing.root}: img2dataset's, but neither tars nor images: let it write them with "
            "--output_format webdataset"
        )
    return (written - tars) & listing.folders.keys()


def _with_records(listing: Listing) -> set[str]:
    """Return folders that img2dataset has filled, from which somebody has taken its statistics."""
    records = Counter(name.rpartition("/")[0] for name, _, _ in listing.others()
                      if name.endswith(".json"))  # fmt: skip
    return {
        folder
        for folder, count in listing.folders.items()
        if _NUMBERED.fullmatch(folder.rpartition("/")[2]) and 2 * records[folder] > count
    }


def _shards(listing: Listing, scratch: Path) -> Iterator[_Shard]:
    root = listing.root
    sizes = {tar.name: tar.bytes for tar in _archives(listing) if archives.is_tar(tar.name)}
    sizes |= dict.fromkeys(sorted(_folders(listing)), 0)
    found = [(name, size, _split(name)) for name, size in sizes.items()]
    examples = {split: name for name, _, split in reversed(found)}
    if not found:
        raise UserError(f"{root}: no tar archives there")
    if "" in examples and len(examples) > 1:
        split = next(filter(None, examples))
        raise UserError(
            f"{root}: {examples[split]} is of the {split} split by its name, {examples['']} of "
            "none: move all shards to train/, val/ and test/"
        )
    if examples.keys().isdisjoint(("", "train")):
        raise UserError(f"{root}: shards for {' and '.join(examples)}, but none for training")
    for position, (name, size, split) in enumerate(found):
        paths = (scratch / f"{position:06d}.{kind}" for kind in ("ids", "texts"))
        yield _Shard(name, size, split or "train", *paths)


def _words(shards: Sequence[_Shard], label_field: str) -> str:
    """Return how the shards are arranged, in words."""
    splits = Counter(shard.split for shard in shards)
    counts = "; ".join(f"{splits[split]:,} for {split}" for split in SPLITS if split in splits)
    tars = "tar shards" if any(shard.name.endswith(".tar") for shard in shards) else "folders"
    labels = f".cls or the JSON's {', '.join(_LABELS)}" if label_field == "auto" else label_field
    return f"{tars} of samples, {counts}; labels from {labels}"


def _split(name: str) -> str:
    """Return the split that a shard's name, or else a folder's, has as a word; empty if none."""
    for part in reversed(name.removesuffix(".tar").split("/")):
        found = splits_in(part)
        if len(found) > 1:
            raise UserError(f"{name}: of which split is it, {' or '.join(found)}? Rename it")
        if found:
            return found[0]
    return ""


def _read(root: str, label_field: str, shard: _Shard) -> _Content:
    """Read the records of a shard in one pass, and note where the images are."""
    content, with_text, broken = _Content([], array("Q"), array("I"), array("I"), [], 0, 0), 0, 0
    labels: dict[str, int] = {}
    seen = set[int]()
    members = _members(root, shard)
    with shard.ids.open("w", encoding="utf-8") as ids, shard.texts.open("w") as texts:
        for sample in samples(members):
            row = _row(shard, sample, label_field) if isinstance(sample, Sample) else sample
            if isinstance(row, Reject):
                content.rejects.append(row._replace(split=shard.split, source=shard.name))
            elif (key := id_hash(row.id)) in seen:
                detail = "an earlier one is taken"
                content.rejects.append(
                    Reject(shard.split, "repeated file", shard.name, row.id, detail)
                )
            else:
                seen.add(key)
                content.hashes.append(key)
                content.blocks.append(row.image.offset // tarfile.BLOCKSIZE)
                content.lengths.append(row.image.length)
                ids.write(f"{row.id} {labels.setdefault(row.label, len(labels))}\n")
                texts.write(f"{json.dumps(row.text)}\n")
                with_text += any(row.text[:3])
                broken += bool(row.text.kind)
    return content._replace(labels=[*labels], with_text=with_text, broken=broken)


def _members(root: str, shard: _Shard) -> Iterator[Member | Reject]:
    """Yield the files of a shard, those of records with their content."""
    uri = f"{root}/{shard.name}"
    if shard.name.endswith(".tar"):
        yield from archives.members(uri, shard.size, is_record)
        return
    for name, size in filesystem.listed(uri):
        if "/" not in name:
            content = b""
            if size and is_record(name):
                with suppress(FileNotFoundError, PermissionError):
                    content = filesystem.read(f"{uri}/{name}", 0, archives.MOST_ALONG)
            yield Member(name, 0, 0, content)


def _row(shard: _Shard, sample: Sample, label_field: str) -> _Row | Reject:
    image, source = sample.file(*IMAGES), sample.file("json")
    if image is None:
        names = ", ".join(f".{name}" for name in sample.files)
        key = f"{shard.name}/{sample.key}"
        return Reject("", "missing image", "", key, f"of this key there is only {names}")
    id = f"{shard.name}/{image.name.removeprefix('./')}"
    if not is_listable(id):
        return Reject("", "unreadable name", "", repr(id), "rename the file")
    record = metadata.record(decoded(source.content)) if source else metadata.Record({})
    fields = {name.lower(): value for name, value in record.fields.items()}
    label = _label(sample, fields, label_field)
    if not label and shard.split != "test":
        missing = _LABELS if label_field == "auto" else (label_field,)
        detail = record.detail or f"no .cls, and in its JSON no single {' or '.join(missing)}"
        return Reject("", "no label", "", id, detail)
    if several([label]):
        return Reject("", "several labels", "", id, label)
    return _Row(id, label, image, _text_of(sample, record, fields))


def _label(sample: Sample, fields: dict[str, object], label_field: str) -> str:
    if label_field != "auto":
        return class_name(fields.get(label_field.lower()))
    if file := sample.file("cls"):
        return class_name(decoded(file.content))
    return class_name(next((fields[name] for name in _LABELS if name in fields), None))


def _text_of(sample: Sample, record: metadata.Record, fields: dict[str, object]) -> Text:
    def joined(names: Sequence[str], *more: str) -> str:
        found = [*(words(fields.get(name)) for name in names), *more]
        return " ".join(dict.fromkeys(filter(None, (" ".join(text.split()) for text in found))))

    file = sample.file("txt")
    return Text(
        title=joined(_TITLES),
        # Of img2dataset's files, .txt and the JSON have the same caption.
        description=joined(_DESCRIPTIONS, words(decoded(file.content)) if file else ""),
        tags=tags(next((fields[name] for name in _TAGS if fields.get(name)), None)),
        query=joined(_QUERIES),
        kind=record.kind,
        detail=record.detail,
    )


def _labels(
    root: str, shards: Sequence[_Shard], contents: Sequence[_Content], label_field: str
) -> dict[str, int]:
    """Return the labels of training in order, of numbers if all are, with their positions."""
    names = {
        name
        for shard, content in zip(shards, contents, strict=True)
        if shard.split == "train"
        for name in content.labels
    }
    if len(names) > MOST_CLASSES:
        raise UserError(
            f"label_field={label_field}: {len(names):,} different labels, such as {min(names)!r}: "
            "name a field that has classes"
        )
    if names:
        return {name: label for label, name in enumerate(in_order(names))}
    rejects = [reject for content in contents for reject in content.rejects]
    kinds = Counter(reject.kind for reject in rejects)
    for kind, count in kinds.most_common(1):
        first = next(reject for reject in rejects if reject.kind == kind)
        raise UserError(
            f"{root}: no sample with an image and a label; {count:,} times {kind}, such as "
            f"{first.id}: {first.detail}{_advice(root, shards) if kind == 'no label' else ''}"
        )
    raise UserError(f"{root}: no samples in {len(shards):,} tar archives")


def _class_names(listing: Listing, scratch: Path, labels: dict[str, int]) -> list[str]:
    """Return the names that numbers stand for, if a file has them; `labels` become these numbers.

    Raises:
        UserError: The file has fewer names.
    """
    if any(number(name) < 0 for name in labels):
        return []
    names = (file.name for file in listing.others() if file.name.rpartition("/")[2] in _CLASS_NAMES)
    source = min(names, key=lambda name: name.count("/"), default="")
    if not source:
        return []
    copy = scratch / "class-names.txt"
    filesystem.fetch(f"{listing.root}/{source}", copy)
    lines = copy.read_text(encoding="utf-8-sig", errors="replace").rstrip().splitlines()
    for name in labels:
        labels[name] = number(name)
    if max(labels.values()) >= len(lines):
        raise UserError(
            f"{listing.root}/{source}: {len(lines):,} lines, but there is a label "
            f"{max(labels.values())}: line 1 is the name of class 0"
        )
    return [" ".join(line.split()) for line in lines]


def _advice(root: str, shards: Sequence[_Shard]) -> str:
    """Return which fields of the JSON may have labels: those whose values repeat."""
    values: dict[str, Counter[str]] = {}
    for shard in shards:
        for sample in islice(samples(_members(root, shard)), _LOOKS_AT_FILES):
            if isinstance(sample, Sample) and (file := sample.file("json")):
                for name, value in metadata.record(decoded(file.content)).fields.items():
                    values.setdefault(name, Counter())[class_name(value)] += 1
        if values:
            break
    found = [name for name, counts in values.items()
             if 1 < len(counts - Counter([""])) <= counts.total() / 2]  # fmt: skip
    if found:
        return f"; set label_field to one of {', '.join(found)}"
    return "; no field of the JSON has classes, so a .cls or such a field is needed"


def _write_list(
    root: str,
    file_list: FileList,
    labels: Mapping[str, int],
    scanned: Iterable[tuple[_Shard, _Content]],
    files: Files,
) -> Iterator[Reject]:
    """Write the list of a split from those of its shards, and add its images to `files`."""
    assert file_list.records is not None
    split = file_list.split
    with file_list.path.open("w", encoding="utf-8") as rows, file_list.records.open("w") as records:
        for shard, content in scanned:
            if shard.split != split:
                continue
            kept = bytearray()
            for id, name, text in _listed(shard, content):
                kept.append(split == "test" or name in labels)
                if kept[-1]:
                    rows.write(f"{id}\n" if split == "test" else f"{id} {labels[name]}\n")
                    records.write(text)
                else:
                    detail = f"none of training is {name}"
                    yield Reject(split, "unknown class", shard.name, id, detail)
            columns = (content.hashes, content.blocks, content.lengths)
            found = (array(column.typecode, compress(column, kept)) for column in columns)
            files.add(f"{root}/{shard.name}", *found)


def _listed(shard: _Shard, content: _Content) -> Iterator[tuple[str, str, str]]:
    """Yield the ids in a shard, with their labels and the lines of their texts; remove these."""
    with shard.ids.open(encoding="utf-8", newline="\n") as ids, shard.texts.open() as texts:
        for line, text in zip(ids, texts, strict=True):
            id, _, label = line.removesuffix("\n").rpartition(" ")
            yield id, content.labels[int(label)], text
    shard.ids.unlink()
    shard.texts.unlink()


def _text(id: str, record: str) -> Text:
    return Text(*json.loads(record))
