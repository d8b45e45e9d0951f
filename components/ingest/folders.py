"""People's own data: a folder of images per class, and texts around them if there are any.

train/<class>/…   validation/<class>/…   test/…      or just <class>/…
captions.csv or metadata.jsonl, at the top or in one of these folders
info/taxonomy.jsonl
"""

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from components.ingest import leftover
from components.ingest.arrangement import Arrangement
from components.ingest.beside import Beside
from components.ingest.captions import Captions
from components.ingest.dataset import (
    TAXONOMY,
    DataSet,
    FileList,
    Files,
    Reject,
    id_hash,
    is_listable,
    none_unlisted,
    own_taxonomy,
)
from components.ingest.listing import Listing
from components.shared.stage.errors import UserError


def read(listing: Listing, scratch: Path, arrangement: Arrangement) -> DataSet:
    """Return the data set in a folder.

    Args:
        listing: Its files.
        scratch: A folder for lists of its images.
        arrangement: Which folders are splits and classes.

    Raises:
        UserError: The captions cannot be read.
    """
    lists = [FileList(scratch / f"{split}.txt", split) for split in arrangement.splits]
    folders: dict[str, array[int]] = defaultdict(lambda: array("Q"))
    beside = Beside(listing)
    rejects = list(_write_lists(listing, arrangement, beside, lists, folders))
    files = Files()
    files.add_folders(folders)
    text = Captions(
        listing,
        beside,
        scratch,
        lambda: _listed_ids(lists),
        [*arrangement.splits.values()],
        rejects,
    )
    rejects = [each for each in rejects if each.id not in text.names]
    within = {each.id for each in rejects if _is_within(arrangement, each)}
    _check_splits(listing.root, arrangement, lists, rejects)
    return DataSet(
        names=list(arrangement.labels),
        taxonomy=own_taxonomy(listing.root, scratch),
        lists=lists,
        files=files,
        ids=none_unlisted,
        text=text,
        rejects=rejects,
        layout=arrangement.words,
        about_texts=text.about,
        not_read=leftover.words(
            listing, [*text.names, *within], beside, splits_known=len(arrangement.splits) > 1
        ),
        skipped=listing.skipped,
    )


def _write_lists(
    listing: Listing,
    arrangement: Arrangement,
    beside: Beside,
    lists: Sequence[FileList],
    folders: "dict[str, array[int]]",
) -> Iterator[Reject]:
    """Write the splits' lists and add the images' hashes to `folders`; yield what is no image."""
    with ExitStack() as stack:
        lines = {
            file_list.split: stack.enter_context(file_list.path.open("w", encoding="utf-8"))
            for file_list in lists
        }
        for id, _, is_image in listing:
            if not (split := arrangement.split(id)):
                continue
            label = arrangement.label(split, id)
            if not is_listable(id, split):
                yield Reject(split, "unreadable name", "", repr(id), "rename the file")
            elif not is_image:
                if "/" in id and id != TAXONOMY and id not in beside:
                    yield Reject(split, "not an image", "", id, "by its file name or first bytes")
            elif split != "test" and label is None:
                yield Reject(split, "unknown class", "", id, "in no folder of a class of training")
            else:
                lines[split].write(f"{id}\n" if split == "test" else f"{id} {label}\n")
                folders[f"{listing.root}/{id}".rpartition("/")[0]].append(id_hash(id))


def _is_within(arrangement: Arrangement, reject: Reject) -> bool:
    """Return whether something is in a class's folder, where it is among the rejects alone."""
    split = reject.split
    return bool(split) and arrangement.label(split, reject.id) is not None


def _check_splits(
    root: str, arrangement: Arrangement, lists: Sequence[FileList], rejects: Sequence[Reject]
) -> None:
    """Refuse a split of which no image is in a folder that training has."""
    for each in lists:
        unknown = [r for r in rejects if r.split == each.split and r.kind == "unknown class"]
        if unknown and not each.path.stat().st_size:
            prefix = arrangement.splits[each.split]
            raise UserError(
                f"{root}/{prefix}: none of its {len(unknown):,} images, such as {unknown[0].id}, "
                f"is in a folder called as one in {arrangement.splits['train']}: move them to such "
                "folders, give their labels in a table (layout=table), or remove them"
            )


def _listed_ids(lists: Sequence[FileList]) -> Iterator[str]:
    for each in lists:
        with each.path.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                yield line.rstrip("\n") if each.split == "test" else line.rpartition(" ")[0]
