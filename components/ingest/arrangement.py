"""Which folders are splits and which are classes, from nothing but where the images lie.

Names of splits are known whatever their case, with a year or the word `images` beside them. What
could be meant in two ways is refused, with both.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from components.ingest.dataset import SPLITS
from components.ingest.naming import nfc
from components.ingest.splits import split_of, splits_apart
from components.shared.stage.errors import UserError

_PLAIN = {"images", "image", "imgs", "img", "pictures", "photos", "photo", "data", "dataset", "jpg"}
_PLAIN |= {"jpeg", "jpegs", "jpegimages", "all", "files"}
_DEPTH = 12  # of folders that are looked at: archive/seg_train/seg_train/<class>/…
_SHOWN = 4  # names in a message
Folder = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How the folders are arranged.

    Attributes:
        splits: What the names of each split's files begin with; train alone if there are no splits.
        labels: Each class's label by its name.
        words: The same for people.
    """

    splits: Mapping[str, str]
    labels: Mapping[str, int]
    words: str

    def split(self, name: str) -> str:
        """Return the split that a file belongs to; empty if it belongs to none."""
        return next((s for s, folder in self.splits.items() if name.startswith(folder)), "")

    def label(self, split: str, name: str) -> int | None:
        """Return the label of a split's file, or None where its folder is no class."""
        folder, below, _ = name.removeprefix(self.splits[split]).partition("/")
        return self.labels.get(nfc(folder)) if below else None


class Images:
    """How many images lie where."""

    def __init__(self, folders: Mapping[str, int]) -> None:
        """Take how many there are in each folder, by its path."""
        self._counts: Counter[Folder] = Counter()
        for folder, count in folders.items():
            self._counts[tuple(folder.split("/")[:_DEPTH] if folder else ())] += count

    def directly(self, folder: Folder) -> int:
        """Return how many images lie in a folder, not counting its folders."""
        return self._counts[folder]

    def count(self, folder: Folder) -> int:
        """Return how many images lie in a folder and in all below it."""
        return self._counts[folder] + sum(self.folders(folder).values())

    def within(self, folder: Folder) -> int:
        """Return how many images lie in a folder or, if it has only that, in its `images`."""
        inner = list(self.folders(folder))
        if not self._counts[folder] and len(inner) == 1 and inner[0].casefold() in _PLAIN:
            return self._counts[*folder, inner[0]]
        return self._counts[folder]

    def folders(self, folder: Folder) -> dict[str, int]:
        """Return the folders in a folder that have images, with how many."""
        found: dict[str, int] = defaultdict(int)
        for each, count in self._counts.items():
            if len(each) > len(folder) and each[: len(folder)] == folder:
                found[each[len(folder)]] += count
        return dict(sorted(found.items()))


def arranged(root: str, images: Images, layout: str) -> Arrangement:
    """Return how a data set's folders are arranged.

    Args:
        root: The data set's folder, for messages.
        images: Where its images lie.
        layout: `folders`; `classes` if no folder is a split; `auto` refuses what is not clear.

    Raises:
        UserError: There are no folders of classes, or it is not clear which these are.
    """
    base = _base(images, layout)
    below = f"{'/'.join((root, *base))}/"
    tops = images.folders(base)
    if not tops:
        what = f"{images.directly(base):,} images, but no" if images.directly(base) else "no"
        raise UserError(
            f"{below}: {what} folders there that hold images; give one folder of images per class, "
            "or a table with the images' labels (layout=table)"
        )
    splits: dict[str, list[str]] = defaultdict(list)
    apart = splits_apart([*tops])
    for top in tops if layout != "classes" else ():
        splits[split_of(top) or apart.get(top, "")].append(top)
    others = splits.pop("", [])
    if not splits:
        classes = {name: images.folders((*base, name)) for name in tops}
        if layout == "auto":
            _check_classes(below, images, base, classes)
        prefix = "".join(f"{folder}/" for folder in base)
        words = f"a folder per class{_in(prefix)}"
        return _arrangement(below, {"train": prefix}, classes, words, layout)
    return _with_splits(below, images, base, splits, others, layout)


def _base(images: Images, layout: str) -> Folder:
    """Return the folder that holds the splits or classes: the root, or an only folder below it."""
    base: Folder = ()
    while layout != "classes":
        tops = list(images.folders(base))
        if len(tops) != 1 or images.directly((*base, *tops)):
            break
        if split_of(tops[0]):
            break
        base = (*base, tops[0])
    return base


def _with_splits(
    below: str,
    images: Images,
    base: Folder,
    splits: Mapping[str, Sequence[str]],
    others: Sequence[str],
    layout: str,
) -> Arrangement:
    for split, tops in splits.items():
        if len(tops) > 1:
            raise UserError(
                f"{below}: {_listed(tops)} all look like the {split} split: keep one, or set "
                "layout=classes if they are classes"
            )
    names = {split: tops[0] for split, tops in splits.items()}
    if "train" not in names:
        first, *_ = names.values()
        raise UserError(
            f"{below}{first}/: a split, but there is no {below}train/: move the classes there, or "
            f"set layout=classes if {first} is a class"
        )
    folders = {split: _inner(images, (*base, name)) for split, name in names.items()}
    train = names["train"]
    classes = {name: images.folders((*folders["train"], name))
               for name in images.folders(folders["train"])}  # fmt: skip
    if not classes:
        count = images.directly(folders["train"])
        raise UserError(
            f"{below}{train}/: {count:,} images, but no folders of classes; give a table with "
            "their labels (layout=table)"
            + (f", or set layout=classes if {train} is a class as {_listed(others)}" * bool(others))
        )
    if layout == "auto" and len(names) == 1 and others:
        raise UserError(
            f"{below}: {train}/ looks like a split, but {_listed(others)} are beside it: set "
            f"layout=classes if all are classes, layout=folders if only those in {train}/ are"
        )
    if layout == "auto":
        _check_classes(f"{below}{train}/", images, folders["train"], classes)
    prefixes = {s: "".join(f"{f}/" for f in folders[s]) for s in SPLITS if s in folders}
    words = "; ".join(f"{prefix} is {split}" for split, prefix in prefixes.items())
    counts = [f"{name}/ with {images.count((*base, name)):,} images" for name in others[:_SHOWN]]
    more = ", …" if len(others) > _SHOWN else ""
    left = f"; not read, as in no split: {', '.join(counts)}{more}" if others else ""
    return _arrangement(below, prefixes, classes, f"{words}; a folder per class{left}", layout)


def _inner(images: Images, folder: Folder) -> Folder:
    """Return the folder that holds a split's classes: archives often repeat the split's name."""
    inner = list(images.folders(folder))
    if len(inner) == 1 and not images.directly(folder):
        again = split_of(inner[0]) == split_of(folder[-1]) or inner[0].casefold() in _PLAIN
        again = again or inner[0] == folder[-1]
        if again and not images.directly((*folder, *inner)):
            return _inner(images, (*folder, *inner))
    return folder


def _check_classes(
    below: str, images: Images, base: Folder, classes: Mapping[str, Mapping[str, int]]
) -> None:
    """Refuse folders that are probably something else than classes."""
    names = list(classes)
    plain = [name for name in names if re.sub(r"[\W\d_]+", "", name.casefold()) in _PLAIN]
    if plain and len(plain) == len(names):
        raise UserError(
            f"{below}: {images.count(base):,} images in {_listed(names)}, but no folders of "
            "classes; give one folder of images per class, or a table with the images' labels "
            "(layout=table), also where these are in the files' names"
        )
    if plain:
        others = [name for name in names if name not in plain]
        raise UserError(
            f"{below}: {_listed(plain)} is no name of a class, but beside it there are "
            f"{_listed(others)}: set layout=classes if all are classes, else give the folder that "
            "holds the classes"
        )
    inner = {folder: None for each in classes.values() for folder in each}
    if {"google", "flickr"} <= {*names} or any(re.fullmatch(r"q\d{4,5}", each) for each in inner):
        raise UserError(
            f"{below}: google and flickr look like classes: add WebVision's info/synsets.txt or "
            "info.tar there, or set layout=webvision or layout=folders"
        )
    if any(split_of(folder) for folder in inner):
        first = next(f"{name}/{folder}" for name, each in classes.items() for folder in each
                     if split_of(folder))  # fmt: skip
        raise UserError(
            f"{below}: splits lie below classes, such as {first}/: move the images to "
            "train/<class> and val/<class>, or set layout=folders to ignore these splits"
        )
    nested = [name for name in names if not images.within((*base, name))]
    if nested and len(names) > 1:
        deeper = dict.fromkeys(folder for name in nested for folder in classes[name])
        raise UserError(
            f"{below}: {_listed(nested)} hold no images, but {_listed([*deeper])}, which do: set "
            f"layout=folders if {_listed(names)} are the classes, else give the folder that holds "
            "the classes, or move them into one"
        )


def _arrangement(
    below: str, splits: Mapping[str, str], classes: Iterable[str], words: str, layout: str
) -> Arrangement:
    names = sorted({nfc(name) for name in classes})
    if layout == "auto" and len(names) == 1:
        raise UserError(
            f"{below}: {words}; but then {names[0]!r:.100} is the only class, with nothing to "
            "tell it from: set layout=folders if it is so"
        )
    return Arrangement(splits, {name: label for label, name in enumerate(names)}, words)


def _in(prefix: str) -> str:
    return f" in {prefix}" if prefix else ""


def _listed(names: Sequence[str]) -> str:
    more = ", …" if len(names) > _SHOWN else ""
    return ", ".join(f"{name}/" for name in names[:_SHOWN]) + more
