"""Writes the data set in the layout of WebVision 2.0, as its downloads come, faults included."""

import contextlib
import hashlib
import io
import json
import logging
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.shared.stage.errors import UserError
from components.shared.stage.fingerprint import fingerprint
from components.shared.stage.interface import Argument, OutputDataset, arguments
from components.shared.stage.parallel import ordered
from components.shared.stage.progress import progress
from components.shared.stage.suggestions import meant
from components.shared.storage import filesystem, formats
from pipelines.demo import captions, drawing, tagger
from pipelines.demo.concepts import Concept, classes, taxonomy
from pipelines.demo.search import SOURCES, Found, depict, queries, search
from pipelines.demo.settings import DataSettings

logger = logging.getLogger(__name__)

SEED = 5_000
_TRUNCATED, _NOT_AN_IMAGE, _MISSING = 4, 1, 1  # training images


def write(folder: OutputDataset, settings: DataSettings) -> None:
    """Draw the data set to a folder, atomically and reproducibly.

    Nothing happens if it is there already, drawn by the same code with the same settings.

    Args:
        folder: Where to write it.
        settings: How large it is, and how noisy.

    Raises:
        UserError: The folder holds something else.
    """
    marker = folder / "demo.json"
    if marker.is_file():
        with formats.guarded(marker, "name a new folder, or remove this one"):
            drawn = json.loads(marker.read_text())["version"]
        if drawn == version(settings):
            return
    elif folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: not empty: name a new folder")
    concepts = classes(settings.kinds)
    found = find(settings)
    clean = settings.validation_images + settings.test_images
    logger.info("drawing %d images to %s", len(found) + clean, folder)
    with filesystem.complete(folder) as temporary:
        temporary.mkdir()
        _write_info(temporary / "info", settings.kinds, found)
        _write_metadata(temporary, concepts, found, settings.off_topic_texts)
        _write_train(temporary, found)
        _write_split(temporary, "val", concepts, settings.validation_images, with_labels=True)
        _write_split(temporary, "test", concepts, settings.test_images, with_labels=False)
        tagger.train(temporary / "tagger", concepts, seed=SEED)
        (temporary / "demo.json").write_text(json.dumps({"version": version(settings)}))


def find(settings: DataSettings) -> list[Found]:
    """Return the training images, in the order of the file lists, with what they really show."""
    return search(
        classes(settings.kinds),
        settings.train_images,
        wrong=settings.wrong_images,
        imbalance=settings.imbalance,
        rng=np.random.default_rng([SEED, 1]),
    )


def version(settings: DataSettings) -> str:
    """Return a data set's identity, 16 digits: of the code that draws it, and its settings."""
    code = fingerprint(__name__, "text")  # the lock that holds NumPy, Pillow and NLTK
    return hashlib.sha256(f"{code} {settings}".encode()).hexdigest()[:16]


def parameters() -> dict[str, Argument]:
    """Return the settings' fields by name; `write` has a stage's signature, which holds them."""
    return {argument.name: argument for argument in arguments(write) if argument.artifact is None}


def parse(values: Mapping[str, object]) -> DataSettings:
    """Parse settings from command-line or YAML values; the rest are defaults.

    Raises:
        UserError: A name is unknown, or a value is of a wrong type or out of its range.
    """
    known = parameters()
    for name in values:
        if name not in known:
            raise UserError(f"no setting {name!r}; {meant(name, known)}")
    given: dict[str, Any] = {name: known[name].parse(value) for name, value in values.items()}
    return DataSettings(**given)


def _write_info(folder: Path, kinds: int, found: Sequence[Found]) -> None:
    folder.mkdir()
    concepts = classes(kinds)
    numbered = list(enumerate(queries(concepts), start=1))
    _write_lines(folder / "synsets.txt", (f"{c.wnid} {', '.join(c.lemmas)}" for c in concepts))
    _write_lines(
        folder / "queries.txt", (f"{i} {query.replace(' ', '+')}" for i, (query, _) in numbered)
    )
    _write_lines(folder / "queries_synsets_map.txt", (f"{i} {of}" for i, (_, of) in numbered))
    _write_lines(folder / "taxonomy.jsonl", map(json.dumps, taxonomy(kinds)))
    for source in SOURCES:
        mine = [image for image in found if image.source == source]
        _write_lines(folder / f"train_filelist_{source}.txt", (f"{i.path} {i.label}" for i in mine))
        positions = _positions(mine)
        _write_lines(
            folder / f"train_meta_list_{source}.txt",
            (f"{i.records} {position}" for i, position in zip(mine, positions, strict=True)),
        )


def _positions(images: Iterable[Found]) -> list[int]:
    """Return each image's position, from 1, among those of its query."""
    seen: dict[int, int] = defaultdict(int)
    positions = []
    for image in images:
        seen[image.query] += 1
        positions.append(seen[image.query])
    return positions


def _write_metadata(
    folder: Path, concepts: Sequence[Concept], found: Sequence[Found], off_topic_share: float
) -> None:
    asked = queries(concepts)
    rng = np.random.default_rng([SEED, 2])
    records: dict[str, list[dict[str, str]]] = defaultdict(list)
    for image in found:
        query = asked[image.query - 1][0]
        record = captions.record(image.depiction, query, off_topic_share=off_topic_share, rng=rng)
        name = image.records
        if image.source == "google":
            del record["tags"]
            url = f"http://example.com/{image.name}.jpg"
            record |= {"rank": str(len(records[name]) + 1), "url": url, "site": "example.com"}
        records[name].append({"id": image.name} | record)
    for source in SOURCES:
        names = sorted(name for name in records if name.startswith(source))
        records[names[0]].pop()  # one image has no record
        texts = {name: json.dumps(records[name], indent=2) for name in names}
        broken = next((name for name in names if "Click here" in texts[name]), names[0])
        texts[broken] = texts[broken].replace("Click here", "Click \\here", 1)
        with tarfile.open(folder / f"{source}.tar", "w") as tar:
            for name, text in texts.items():
                _add(tar, name, text.encode())


def _write_train(folder: Path, found: Sequence[Found]) -> None:
    """Write the images to two tars in random order; some files are damaged, one is not there."""
    order = np.random.default_rng([SEED, 3]).permutation(len(found)).tolist()
    faulty = iter(order)
    truncated = [next(faulty) for _ in range(_TRUNCATED)]
    not_images = [next(faulty) for _ in range(_NOT_AN_IMAGE)]
    missing = [next(faulty) for _ in range(_MISSING)]

    def picture(number: int) -> bytes:
        return drawing.draw(found[number].depiction, np.random.default_rng([SEED, 10, number]))

    pictures = zip(order, ordered(picture, order), strict=True)
    steps = progress(pictures, total=len(order), unit="image", what="drawing")
    with contextlib.ExitStack() as stack:
        paths = [folder / f"webvision_train_{i:02}.tar" for i in range(2)]
        tars = [stack.enter_context(tarfile.open(path, "w")) for path in paths]
        for position, (number, content) in enumerate(steps):
            if number in truncated:
                content = content[: len(content) // 2]
            elif number in not_images:
                content = b"<html><body>404 Not Found</body></html>"
            if number not in missing:
                _add(tars[2 * position // len(order)], found[number].path, content)


def _write_split(
    folder: Path, name: str, concepts: Sequence[Concept], count: int, *, with_labels: bool
) -> None:
    """Write a split with clean labels, its classes in turn."""
    files = [f"{name}{i + 1:06}.jpg" for i in range(count)]
    labels = [i % len(concepts) for i in range(count)]

    def picture(number: int) -> bytes:
        rng = np.random.default_rng([SEED, 11, ord(name[0]), number])
        return drawing.draw(depict(concepts[labels[number]], rng), rng)

    with tarfile.open(folder / f"{name}_images_resized.tar", "w") as tar:
        for file, content in zip(files, ordered(picture, range(count)), strict=True):
            _add(tar, f"{name}_images_resized/{file}", content)
    lines = [f"{file} {label}" for file, label in zip(files, labels, strict=True)]
    _write_lines(folder / f"{name}_filelist.txt", lines if with_labels else files)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
