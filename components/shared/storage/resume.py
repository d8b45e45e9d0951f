"""Unfinished work that a stage saves, so that a killed one resumes where it was.

It is in `WEBLY_CHECKPOINTS`, in a folder named after the stage's inputs, parameters and code
(`fingerprint`): a rerun with the same ones finds it, any other does not. When the stage has
finished, the folder is removed; on several nodes, once its outputs are safe.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors.numpy import load, save

from components.shared.stage import environment
from components.shared.stage.container import component
from components.shared.storage import filesystem

logger = logging.getLogger(__name__)
# What is saved is named by a number and a digest of its content; systems leave files of their own.
_NAME = re.compile(r"\d{6,}-[0-9a-f]{16}\.safetensors")
_kept: list[str] | None = None  # folders removed within a block of `kept`


def folder(stage: str, inputs: Iterable[Path | None], **parameters: object) -> str:
    """Return the URI of the folder for a stage's unfinished work.

    Args:
        stage: The stage's name.
        inputs: Its input artifacts, files or folders; None for one that was left out.
        **parameters: Its parameters, as values for JSON.
    """
    given = [component(stage).fingerprint, parameters]
    digest = hashlib.sha256(json.dumps(given, sort_keys=True).encode())
    for number, source in enumerate(inputs):
        for path in _files(source) if source else []:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{number} {path.name} {content}\n".encode())
    return f"{environment.checkpoints()}/{stage}-{digest.hexdigest()[:16]}"


def saved(uri: str) -> list[str]:
    """Return the names of what is saved in a folder of unfinished work, in the order of numbers."""
    return [entry.name for entry in filesystem.listed(uri) if _NAME.fullmatch(entry.name)]


def remove(uri: str) -> None:
    """Remove unfinished work: the stage has finished. Another run may be adding to it."""
    if _kept is not None:
        _kept.append(uri)
        return
    try:
        filesystem.remove_folder(uri)
    except OSError as error:
        logger.info("%s is left behind: %s", uri, error)


@contextmanager
def kept() -> Iterator[None]:
    """Postpone removals within the block to its end; if it fails, keep the work for a retry."""
    global _kept
    uris = _kept = list[str]()
    try:
        yield
    finally:
        _kept = None
    for uri in uris:
        remove(uri)


def _files(source: Path) -> list[Path]:
    paths = (path for path in source.rglob("*") if not path.name.startswith("."))
    return sorted(path for path in paths if path.is_file()) or [source]


class Parts:
    """The results of units of work, such as shards: arrays, each unit's in a file of its own.

    Files `<number>-<digest of the content>.safetensors` are written atomically. Processes that
    share the work may share the folder, and so may runs of the same stage: the first to finish
    removes it, and the others recompute what they still need.
    """

    def __init__(self, uri: str) -> None:
        """Use a folder, which need not exist; parts that others add from now on are not seen."""
        self._uri = uri
        self._names = {int(name.partition("-")[0]): name for name in saved(uri)}

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, number: int) -> bool:
        return number in self._names

    def load(self, number: int) -> dict[str, NDArray[Any]] | None:
        """Return a part's arrays by name; None if it is missing or damaged, then it is removed."""
        name = self._names.get(number)
        if name is None:
            return None
        try:
            content = filesystem.read(f"{self._uri}/{name}")
        except FileNotFoundError:
            del self._names[number]
            return None
        if name == _name(number, content):
            arrays: dict[str, NDArray[Any]] = load(content)
            return arrays
        logger.warning("%s/%s is damaged; recomputing it", self._uri, name)
        filesystem.remove(f"{self._uri}/{name}")
        del self._names[number]
        return None

    def load_or_make(
        self, number: int, make: Callable[[int], Mapping[str, NDArray[Any]]]
    ) -> Mapping[str, NDArray[Any]]:
        """Return a part's arrays by name, computing them from its number if there are none."""
        arrays: Mapping[str, NDArray[Any]] | None = self.load(number)
        if arrays is None:
            arrays = make(number)
            self.save(number, arrays)
        return arrays

    def save(self, number: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add a part."""
        content = save(dict(arrays))
        for tries_left in (2, 1, 0):
            try:
                with filesystem.uploading(f"{self._uri}/{_name(number, content)}") as path:
                    path.write_bytes(content)
                break
            except OSError:  # another run has finished and is removing the folder
                if not tries_left:
                    raise
        self._names[number] = _name(number, content)


def _name(number: int, content: bytes) -> str:
    return f"{number:06d}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
