"""Images in whatever folders, and tables that say which label each has.

    train.csv         image_id,label                            as on Kaggle
    metadata.jsonl    {"file_name": …, "label": …, "text": …}   as on Hugging Face
    labels.csv        path,class,split                          as people export them
    train.csv         image_id,healthy,rust,scab                with a 1 in the class's column

An image's split is what its row says in a column of splits, else what the table is called, else
what one of the image's folders is called, else training. Images in a folder of the test split need
no row.
"""

import itertools
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from components.ingest import columns, labels, leftover
from components.ingest.arrangement import Arrangement
from components.ingest.beside import Beside
from components.ingest.captions import Captions
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
from components.ingest.label_tables import Source, images
from components.ingest.labels import UNKNOWN, Labels
from components.ingest.listing import Listing
from components.ingest.naming import key
from components.ingest.splits import split_of_path
from components.shared.stage.errors import UserError


def agree(listing: Listing, found: Sequence[Source], arrangement: Arrangement) -> bool:
    """Return whether tables and folders say the same of the first images of each table."""
    said: dict[int, str] = {}
    for source in found:
        image, *places = map(source.table.columns.index, [source.image, *source.labels])
        keys, there = source.namer.keys([row.values[image] for row in source.sample])
        found_labels = [source.label([row.values[place] for place in places])
                        for row in source.sample]  # fmt: skip
        triples = zip(keys.tolist(), found_labels, there.tolist(), strict=True)
        said |= {key: label for key, label, is_there in triples if is_there}
    both = set()
    for file in listing:
        split = arrangement.split(file.name) if file.is_image else ""
        if split and split != "test" and (label := said.get(key(file.name))):
            both.add((label, arrangement.label(split, file.name)))
    return len(both) == len({label for label, _ in both}) == len({folder for _, folder in both})


def read(listing: Listing, scratch: Path, found: Sequence[Source]) -> DataSet:
    """Return the data set whose labels are in these tables.

    Raises:
        UserError: There is no image with a label, there are several labels of an image, or it is
            not clear which columns are meant.
    """
    root = listing.root
    rejects: list[Reject] = []
    tables = [each for each in found if each.labels]
    for other in tables[1:]:
        if columns.alias(other.labels[0]) != columns.alias(tables[0].labels[0]):
            first = f"{tables[0].table.name} has labels in {tables[0].column}"
            raise UserError(
                f"{root}: {first}, {other.table.name} in {other.column}: set label_field to one"
            )
    said = labels.read(listing, found, rejects)
    names = in_order(_trained(listing, said))
    lists = [FileList(scratch / f"{split}.txt", split) for split in SPLITS]
    folders: dict[str, array[int]] = defaultdict(lambda: array("Q"))
    rejects += _write_lists(listing, said, names, lists, folders)
    files = Files()
    files.add_folders(folders)
    lists = [each for each in lists if each.path.stat().st_size]
    beside = Beside(listing)
    text = Captions(listing, beside, scratch, partial(images, listing), [], rejects)
    used = [*text.names, *(each.table.name for each in found)]
    return DataSet(
        names=names,
        taxonomy=own_taxonomy(root, scratch),
        lists=lists,
        files=files,
        ids=partial(_ids_in, listing),
        text=text,
        rejects=rejects,
        layout="; ".join(each.words for each in found),
        about_texts=text.about,
        not_read=leftover.words(
            listing, used, beside, splits_known=any(each.says_splits for each in found)
        ),
        skipped=listing.skipped,
    )


def _ids_in(listing: Listing, container: str) -> Iterator[str]:
    folder = f"{container}/".removeprefix(f"{listing.root}/")
    yield from (id for id in images(listing) if columns.folder(id) == folder)


def _batches(listing: Listing, said: Labels) -> Iterator[tuple[list[str], list[int], list[str]]]:
    """Yield the images' ids, each one's position in what is said (or -1), and its split."""
    ids = images(listing)
    while batch := list(itertools.islice(ids, 32_768)):
        places = said.find(np.fromiter(map(key, batch), np.uint64, len(batch))).tolist()
        splits = [
            SPLITS[said.splits[place]]
            if place >= 0 and said.splits[place] >= 0
            else split_of_path(id) or "train"
            for id, place in zip(batch, places, strict=True)
        ]
        yield batch, places, splits


def _trained(listing: Listing, said: Labels) -> set[str]:
    """Return the classes of the training images."""
    found: Counter[int] = Counter()
    for _, places, splits in _batches(listing, said):
        found.update(
            int(said.labels[place])
            for place, split in zip(places, splits, strict=True)
            if place >= 0 and split == "train"
        )
    return {said.names[label] for label in found if label != UNKNOWN}


def _write_lists(
    listing: Listing,
    said: Labels,
    names: Sequence[str],
    lists: Sequence[FileList],
    folders: "Mapping[str, array[int]]",
) -> Iterator[Reject]:
    """Write the splits' lists, and add the hashes of all images to `folders`."""
    known = {name: label for label, name in enumerate(names)}
    numbers = [*(known.get(name, UNKNOWN) for name in said.names), UNKNOWN]
    with ExitStack() as stack:
        lines: dict[str, Any] = {
            each.split: stack.enter_context(each.path.open("w", encoding="utf-8")) for each in lists
        }
        for ids, places, splits in _batches(listing, said):
            for id, place, split in zip(ids, places, splits, strict=True):
                label = numbers[said.labels[place]] if place >= 0 else UNKNOWN
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
