"""Which split a folder, a table or a shard is of, by the words of its name."""

import functools
import re
from collections.abc import Sequence

_WORDS = {
    "train": {"train", "training", "trn"},
    "validation": {"validation", "valid", "val", "dev", "eval", "evaluation"},
    "test": {"test", "testing", "tst"},
}
# Words that may stand beside it in a folder's name: seg_train, test_images, train2017.
_BESIDE = {"", "images", "image", "imgs", "img", "set", "data", "dataset", "split", "seg"}
_BESIDE |= {"resized"}


def split_of(folder: str) -> str:
    """Return the split that a folder's whole name stands for, such as `seg_train`; or empty."""
    found = [word for word in words(folder) if word not in _BESIDE]
    return next(iter(_splits(found)), "") if len(found) == 1 else ""


def splits_apart(folders: Sequence[str]) -> dict[str, str]:
    """Return the split of each folder where their names differ only in it; or empty.

    Such as `alphabet_train` beside `alphabet_test`.
    """
    found = {folder: splits_in(folder) for folder in folders}
    others = {tuple(w for w in words(folder) if not _splits([w])) for folder in folders}
    if len(others) == 1 < len(found) and all(len(splits) == 1 for splits in found.values()):
        return {folder: split for folder, (split,) in found.items()}
    return {}


def splits_in(name: str) -> list[str]:
    """Return the splits of which a word is in a name, such as `birds_train.csv`."""
    return _splits(words(name))


def split_of_path(path: str) -> str:
    """Return the split that one of a file's folders is called after; empty if none is."""
    return _split_of_folders(path.rpartition("/")[0])


@functools.lru_cache(maxsize=1_000)
def _split_of_folders(folders: str) -> str:
    return next(filter(None, map(split_of, folders.split("/"))), "")


def words(name: str) -> list[str]:
    """Return the words of a name in small letters: of `sampleSubmission` two."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()
    return [word.removesuffix("set") for word in re.split(r"[\W\d_]+", spaced)]


def _splits(found: Sequence[str]) -> list[str]:
    return [split for split, names in _WORDS.items() if not names.isdisjoint(found)]
