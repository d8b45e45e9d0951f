"""Another data set's images of the same classes: models are evaluated on them, too.

Such as ImageNet's validation images for a model that was trained on WebVision.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from components.ingest import lists
from components.ingest.dataset import EXTERNAL, DataSet, External, FileList, clean
from components.ingest.splits import split_of
from components.shared.stage.errors import UserError

_NUM_ROWS = 32_768  # of a list at a time
_SHOWN = 3  # classes in a message


def joined(data: DataSet, other: DataSet, root: str, scratch: Path) -> DataSet:
    """Return a data set with another one's labelled images of its classes, by the classes' names.

    These are of the other's validation split or, if that has none, of its training split.

    Args:
        data: The data set.
        other: The other one.
        root: The other one's folder.
        scratch: A folder for a list.

    Raises:
        UserError: There are no such images.
    """
    unwanted = len(data.names)
    labels = {name: label for label, name in enumerate(data.names)}
    to_ours = [labels.get(name, unwanted) for name in other.names]
    filled = {each.split for each in other.lists if each.path.stat().st_size}
    split = "validation" if "validation" in filled else "train"
    images = Counter[int]()  # by their label there
    joint = scratch / "joint.txt"
    with joint.open("w", encoding="utf-8") as lines:
        for block in lists.blocks(other.lists, _NUM_ROWS):
            of_split = block.file_list.split == split
            for line, _ in block.lines():
                id, label = block.parse(line, len(to_ours))
                if of_split and label >= 0:
                    images[label] += 1
                    lines.write(f"{id} {to_ours[label]}\n")
                else:  # listed as well: nothing is amiss with images of other splits
                    lines.write(f"{id} {'?' if label < 0 else unwanted}\n")
    others = [label for label in images if to_ours[label] == unwanted]
    if len(others) == len(images):
        raise UserError(
            f"external_validation={root}: {images.total():,} images for {split} of "
            f"{_listed(other.names[label] for label in sorted(others))}, but none of the data "
            f"set's classes, {_listed(data.names)}: name its folders or labels as these"
        )
    about = other.layout + f"; those of {split}" * (len(filled) > 1)
    if others:
        count = sum(images[label] for label in others)
        about += f", but for {count:,} of {len(others):,} other classes"
    about += f"; not read: {other.not_read}" if other.not_read else ""
    theirs = {*other.files.containers}
    data.files.join(other.files)
    return replace(
        data,
        lists=[*data.lists, FileList(joint, EXTERNAL)],
        ids=lambda container: (other if container in theirs else data).ids(container),
        rejects=[*data.rejects, *(each._replace(split=EXTERNAL) for each in other.rejects)],
        # A list's label that is none of the data set's is that of an unwanted class.
        num_unwanted=max(1, data.num_unwanted),
        external=External(_title(root), about),
    )


def _title(root: str) -> str:
    """Return what a data set is called: its folder that is not called as a split is."""
    folders = [folder for folder in clean(root).split("/") if folder]
    return next((each for each in reversed(folders) if not split_of(each)), folders[-1])


def _listed(names: Iterable[str]) -> str:
    names = [*names]
    more = ", …" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more} ({len(names):,} classes)"
