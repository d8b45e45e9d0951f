"""Images in whatever folders, and tables that say which label each has.

    train.csv         image_id,label                            as on Kaggle
    metadata.jsonl    {"file_name": …, "label": …, "text": …}   as on Hugging Face
    labels.csv        path,class,split                          as people export them
    train.csv         image_id,healthy,rust,scab                with a 1 in the class's column

An image's split is what its row says in a column of splits, else what the table is called, else
what one of the image's folders is called, else training. Images in a folder of the test split need
no row.
"""

import functools
import itertools
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.ingest import columns, wording
from components.ingest.arrangement import Arrangement, class_name, split_of
from components.ingest.captions import Captions, texts_beside
from components.ingest.dataset import (
    SPLITS,
    DataSet,
    FileList,
    Files,
    Reject,
    id_hash,
    in_order,
    is_listable,
    own_taxonomy,
)
from components.ingest.listing import Listing
from components.ingest.naming import Keys, Namer, key
from components.ingest.tables import LineRejects, Row, Table
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem

_LABELS = [
    *("labelname", "classname", "categoryname", "label", "class", "category", "wnid", "synset"),
    *("species", "breed", "diagnosis", "dx", "target", "labels", "classes", "labelid", "classid"),
    *("categoryid", "y"),
]
_SPLITS = ["split", "set", "subset", "dataset", "partition", "phase"]
_EXAMPLES = ("submission",)  # Kaggle's have columns like those of the labels, and false ones
_MOST_CLASSES = 100_000
_MOST_CONFLICTS = 0.05  # of the images: with more, an image may have several labels by design
_UNKNOWN = -1
_ONE, _ZERO = {"1", "1.0", "true"}, {"0", "0.0", "false"}


class Source(NamedTuple):
    """A table with labels.

    Attributes:
        table: The table.
        namer: Finds the images that its rows mean.
        image: The column of images.
        labels: The column of labels, or a column for each class, which has a 1 in its rows.
        split: The column of splits, if it has one.
        default: The split that the table's name says, or empty.
        sample: Its first rows.
    """

    table: Table
    namer: Namer
    image: str
    labels: Sequence[str]
    split: str | None
    default: str
    sample: Sequence[Row]

    def label(self, values: Sequence[object]) -> str:
        """Return the class that a row's values of `labels` mean; empty where there is none."""
        if len(values) == 1:
            return _name(values[0])
        pairs = zip(self.labels, values, strict=True)
        marked = [class_name(name) for name, value in pairs if _flag(value) == "1"]
        return marked[0] if len(marked) == 1 else ""

    @property
    def column(self) -> str:
        """Where the labels are, for people."""
        if len(self.labels) == 1:
            return f"column {self.labels[0]}"
        return f"a column of 0 and 1 for each class, {self.labels[0]} to {self.labels[-1]}"


class _Labels(NamedTuple):
    """What the tables say of the images, sorted by key; of splits the position in `SPLITS`."""

    keys: Keys
    labels: NDArray[np.int32]
    splits: NDArray[np.int8]
    names: list[str]

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """Return the position of each key, or -1."""
        places = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.where(self.keys[places] == keys, places, _UNKNOWN)


def sources(listing: Listing, scratch: Path, label_field: str) -> list[Source]:
    """Return the tables that have labels of images.

    Args:
        listing: The data set's files.
        scratch: A folder for copies.
        label_field: The column of labels, or `auto` for one of a usual name.
    """
    found = []
    namers = functools.cache(lambda split: Namer(listing.root, partial(_ids, listing, split), []))
    for position, name in enumerate(columns.tables(listing)):
        stem = name.rpartition("/")[2].rpartition(".")[0]
        if any(word in stem.casefold() for word in _EXAMPLES):
            continue
        copy = scratch / f"labels-{position}{Path(name).suffix.casefold()}"
        filesystem.fetch(f"{listing.root}/{name}", copy)
        try:
            table = Table(copy, name)
            rows = columns.sample(table)
        except UserError:
            continue  # whoever needs it will say so
        columns.check_header(listing.root, table)
        aliases = _LABELS if label_field == "auto" else [columns.alias(label_field)]
        labels = columns.named(table, aliases)[:1] or _one_hot(table, rows)
        if not labels:
            continue
        default = split_of(stem) or path_split(name)
        namer = namers(default).of_table(columns.folder(name))
        image = columns.image_column(table, rows, namer, known=labels)
        if image is not None:
            split = _split_column(table, rows)
            namer = namer.of_table(columns.folder(name))
            found.append(Source(table, namer, image, labels, split, default, rows))
    return found


def agree(listing: Listing, found: Sequence[Source], arrangement: Arrangement) -> bool:
    """Return whether tables and folders say the same of the first images of each table."""
    labels: dict[int, str] = {}
    for source in found:
        image, *places = map(source.table.columns.index, [source.image, *source.labels])
        keys, there = source.namer.keys([row.values[image] for row in source.sample])
        found_labels = [source.label([row.values[place] for place in places])
                        for row in source.sample]  # fmt: skip
        triples = zip(keys.tolist(), found_labels, there.tolist(), strict=True)
        labels |= {key: label for key, label, is_there in triples if is_there}
    both = set()
    for file in listing:
        split = arrangement.split(file.name) if file.is_image else ""
        if split and (label := labels.get(key(file.name))):
            both.add((label, arrangement.label(split, file.name)))
    return len(both) == len({label for label, _ in both}) == len({folder for _, folder in both})


def read(listing: Listing, scratch: Path, found: Sequence[Source]) -> DataSet:
    """Return the data set whose labels are in these tables.

    Raises:
        UserError: There is no image with a label, or there are several labels of an image.
    """
    root = listing.root
    rejects: list[Reject] = []
    said = _said(root, found, rejects)
    names = in_order(_trained(listing, said))
    lists = [FileList(scratch / f"{split}.txt", split) for split in SPLITS]
    folders: dict[str, array[int]] = defaultdict(lambda: array("Q"))
    rejects += _write_lists(listing, said, names, lists, folders)
    files = Files()
    files.add_folders(folders)
    lists = [each for each in lists if each.path.stat().st_size]
    text = Captions(listing, texts_beside(listing), scratch, partial(_ids, listing), [], rejects)
    words = "; ".join(
        f"labels in {each.table.name}, {each.column}, of the images in column {each.image}"
        + (f", splits in column {each.split}" if each.split else "")
        for each in found
    )
    return DataSet(
        names=names,
        taxonomy=own_taxonomy(root, scratch),
        lists=lists,
        files=files,
        ids=partial(_ids_in, listing),
        text=text,
        rejects=rejects,
        layout=words,
        about_texts=text.about,
        skipped=listing.skipped,
    )


def path_split(name: str) -> str:
    """Return the split that one of a file's folders is called after; empty if none is."""
    return _folder_split(name.rpartition("/")[0])


@functools.lru_cache(maxsize=1_000)
def _folder_split(folder: str) -> str:
    return next(filter(None, map(split_of, folder.split("/"))), "")


def _ids(listing: Listing, split: str = "") -> Iterator[str]:
    """Yield the images, but for those in folders of other splits than this, if one is given."""
    ids = (file.name for file in listing if file.is_image and is_listable(file.name))
    yield from (id for id in ids if not split or path_split(id) in ("", split))


def _ids_in(listing: Listing, container: str) -> Iterator[str]:
    folder = f"{container}/".removeprefix(f"{listing.root}/")
    yield from (id for id in _ids(listing) if columns.folder(id) == folder)


def _split_column(table: Table, rows: Sequence[Row]) -> str | None:
    for column in columns.named(table, _SPLITS):
        values = {str(row.values[table.columns.index(column)] or "") for row in rows}
        if values and all(map(split_of, values)):
            return column
    return None


def _one_hot(table: Table, rows: Sequence[Row]) -> list[str]:
    """Return the columns that have only 0 and 1, if nearly every row has a 1 in exactly one."""
    flags = [[_flag(value) for value in row.values] for row in rows]
    image = columns.usual_image_column(table)
    places = [place for place, column in enumerate(table.columns) if column != image]
    binary = [place for place in places if all(row[place] for row in flags)]
    alone = sum([row[place] for place in binary].count("1") == 1 for row in flags)
    if len(binary) < 2 or alone < (1 - _MOST_CONFLICTS) * len(rows):
        return []
    return [table.columns[place] for place in binary]


def _flag(value: object) -> str:
    """Return 0 or 1 however it is written, or nothing if it is something else."""
    text = str(value).strip().casefold()
    return "1" if text in _ONE else "0" if text in _ZERO else ""


def _name(value: object) -> str:
    """Return a class's name; empty where there is none."""
    if isinstance(value, list) and len(value) == 1:
        return _name(value[0])
    text = class_name(" ".join(wording.words(value).split()))
    whole, _, zeros = text.partition(".")
    return whole if whole.isdecimal() and zeros and not zeros.strip("0") else text


def _said(root: str, found: Sequence[Source], rejects: list[Reject]) -> _Labels:
    """Return what the tables say."""
    keys, labels, splits = [np.empty(0, np.uint64)], array("i"), array("b")
    names: dict[str, int] = {}
    total = 0
    for source in found:
        lines = LineRejects(source.table.name, rejects)
        wanted = [source.image, *source.labels, *filter(None, [source.split])]
        end = 1 + len(source.labels)
        for batch in source.table.batches(wanted, lines, "unreadable row"):
            total += len(batch)
            found_keys, there = source.namer.keys([row.values[0] for row in batch])
            kept = []
            for row, is_there in zip(batch, there.tolist(), strict=True):
                split = split_of(str(row.values[end])) if source.split else source.default
                label = source.label(row.values[1:end])
                problem = "" if is_there else "missing image"
                problem = problem or ("" if label or split == "test" else "no label")
                if problem:
                    lines.add(problem, row.line, row.values[0], "of a table with labels")
                else:
                    labels.append(names.setdefault(label, len(names)))
                    splits.append(SPLITS.index(split) if split else _UNKNOWN)
                kept.append(not problem)
            keys.append(found_keys[np.array(kept, bool)])
        lines.end()
    tables = ", ".join(each.table.name for each in found)
    if not labels:
        raise UserError(f"{root}: of {total:,} rows of {tables} none belongs to an image")
    column = found[0].column
    if len(names) > _MOST_CLASSES or (len(names) > 1_000 and len(names) > len(labels) / 2):
        raise UserError(
            f"{root}: {len(names):,} different labels in {tables}, {column}, such as "
            f"{next(iter(names))!r:.200}: name the column of classes by label_field"
        )
    all_keys = np.concatenate(keys)
    order = np.argsort(all_keys, kind="stable")
    ordered, values = all_keys[order], np.frombuffer(labels, np.int32)[order]
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    conflicts = int(np.count_nonzero(~first[1:] & (values[1:] != values[:-1])))
    if conflicts > _MOST_CONFLICTS * np.count_nonzero(first):
        raise UserError(
            f"{root}: {conflicts:,} images have several labels in {tables}, {column}: one "
            "label an image is needed"
        )
    if conflicts:
        detail = f"{conflicts:,} more labels of images that have one: the first counts"
        rejects.append(Reject("", "repeated row", tables, "…", detail))
    split_values = np.frombuffer(splits, np.int8)[order]
    return _Labels(ordered[first], values[first], split_values[first], list(names))


def _batches(listing: Listing, said: _Labels) -> Iterator[tuple[list[str], list[int], list[str]]]:
    """Yield the images' ids, each one's position in what is said (or -1), and its split."""
    ids = _ids(listing)
    while batch := list(itertools.islice(ids, 32_768)):
        places = said.find(np.fromiter(map(key, batch), np.uint64, len(batch))).tolist()
        splits = [
            SPLITS[said.splits[place]]
            if place >= 0 and said.splits[place] >= 0
            else path_split(id) or "train"
            for id, place in zip(batch, places, strict=True)
        ]
        yield batch, places, splits


def _trained(listing: Listing, said: _Labels) -> set[str]:
    """Return the classes of the training images."""
    found: Counter[int] = Counter()
    for _, places, splits in _batches(listing, said):
        found.update(
            int(said.labels[place])
            for place, split in zip(places, splits, strict=True)
            if place >= 0 and split == "train"
        )
    return {said.names[label] for label in found} - {""}


def _write_lists(
    listing: Listing,
    said: _Labels,
    names: Sequence[str],
    lists: Sequence[FileList],
    folders: "Mapping[str, array[int]]",
) -> Iterator[Reject]:
    """Write the splits' lists, and add the hashes of all images to `folders`."""
    labels = {name: label for label, name in enumerate(names)}
    numbers = [labels.get(name, _UNKNOWN) for name in said.names]
    with ExitStack() as stack:
        lines: dict[str, Any] = {
            each.split: stack.enter_context(each.path.open("w", encoding="utf-8")) for each in lists
        }
        for ids, places, splits in _batches(listing, said):
            for id, place, split in zip(ids, places, splits, strict=True):
                label = numbers[said.labels[place]] if place >= 0 else _UNKNOWN
                if split == "test":
                    lines[split].write(f"{id}\n")
                elif label >= 0:
                    lines[split].write(f"{id} {label}\n")
                elif place >= 0:
                    yield Reject(split, "unknown class", "", id, "no training image has its label")
                    continue
                folders[f"{listing.root}/{id}".rpartition("/")[0]].append(id_hash(id))
    for file in listing:
        if file.is_image and not is_listable(file.name):
            yield Reject("", "unreadable name", "", repr(file.name), "rename the file")
