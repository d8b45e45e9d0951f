"""Samples of a tar shard: an image, and what lies beside it under the same name.

WebDataset takes what precedes a name's first dot for the *key* of a sample, all that follows for
the kind of file, as in `12.jpg`, `12.json`, `12.meta.json`; people also pack images with dots in
their names, `photo.1.jpg`, `photo.2.jpg`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from components.ingest.archives import Member
from components.ingest.dataset import Reject
from components.ingest.listing import IMAGES

RECORDS = ("json", "txt", "cls")


@dataclass(slots=True)
class Sample:
    """The files of a key.

    Attributes:
        key: Their name up to a dot, with the folders before it.
        files: Each by what follows that dot, such as `jpg`.
    """

    key: str
    files: dict[str, Member] = field(default_factory=dict)

    def images(self) -> list[str]:
        """Return which of the files are images, by their suffixes."""
        return [name for name in self.files if _suffix(name) in IMAGES]

    def is_whole(self) -> bool:
        """Return whether no further file is to be expected, wherever it may be in the shard."""
        return self.file(*IMAGES) is not None and self.file("json") is not None

    def file(self, *suffixes: str) -> Member | None:
        """Return the file of one of these suffixes, rather `key.json` than `key.more.json`."""
        names = [name for name in self.files if _suffix(name) in suffixes]
        return self.files[min(names, key=lambda name: name.count("."))] if names else None

    def by_image(self) -> "Iterator[Sample | Reject]":
        """Yield the samples of which this consists: more than one if names of images have dots."""
        images = self.images()
        plain = [name for name in images if "." not in name]
        if plain or len(images) < 2:
            yield self
            for name in plain[1:]:
                detail = f"of this sample, .{plain[0]} is taken"
                yield Reject("", "repeated image", "", self.files[name].name, detail)
            return
        parts: dict[str, Sample] = {}
        for name, file in self.files.items():
            stem, _, suffix = name.rpartition(".")
            parts.setdefault(stem, Sample(f"{self.key}.{stem}".rstrip("."))).files[suffix] = file
        yield from parts.values()


def samples(members: Iterable[Member | Reject]) -> Iterator[Sample | Reject]:
    """Yield a shard's samples; only those that are not whole wait for its end."""
    waiting: dict[str, Sample] = {}
    last = ""
    for member in members:
        if isinstance(member, Reject):
            yield member
            continue
        folder, slash, file = member.name.rpartition("/")
        if file.startswith("."):  # such as a Mac's `._000000012.jpg`
            continue
        stem, _, name = file.partition(".")
        key = folder.removeprefix("./") + slash + stem
        if key != last and last in waiting and waiting[last].is_whole():
            yield from waiting.pop(last).by_image()
        last = key
        files = waiting.setdefault(key, Sample(key)).files
        if name in files:
            yield Reject("", "repeated file", "", member.name, "an earlier one is taken")
        else:
            files[name] = member
    for sample in waiting.values():
        yield from sample.by_image()


def is_record(name: str) -> bool:
    """Return whether a file has the label or the text of a sample, by its name."""
    return _suffix(name) in RECORDS and not name.rpartition("/")[2].startswith(".")


def _suffix(name: str) -> str:
    return name.rpartition(".")[2].lower()
