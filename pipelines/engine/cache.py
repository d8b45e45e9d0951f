"""The outputs of earlier runs, by KFP's own cache key.

KFP keys a task by its image, command, resolved parameters, output types and the *ids* of its input
artifacts. Here their content replaces the ids, so that a rerun of an upstream task with the same
outputs reruns nothing.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.shared.data import image_set
from components.shared.storage import filesystem, formats
from components.shared.storage.formats import FormatError
from pipelines.run.graph import Task

FORMAT = 1
ENTRY = "entry.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """The outputs of a task that succeeded.

    Attributes:
        digests: A digest of each output's content.
        sizes: The size of each file of each output, by its relative path, in bytes.
        seconds: How long the task took.
        peak_bytes: The peak memory of any of its processes.
        made_from: What the key is a digest of, by name; empty in older entries.
    """

    digests: Mapping[str, str]
    sizes: Mapping[str, Mapping[str, int]]
    seconds: float
    peak_bytes: int
    made_from: Mapping[str, Any] = field(default_factory=dict)


class Cache:
    """The artifacts of a run's folder, `<task>/<key>/<output>`, with an entry once complete."""

    def __init__(self, folder: Path) -> None:
        """Use a folder."""
        self.folder = folder

    def folder_of(self, task: Task, key: str) -> Path:
        """Return the folder for the outputs of a task."""
        return self.folder / task.name / key

    def key(self, task: Task, inputs: Mapping[str, str]) -> str:
        """Return a task's cache key.

        Args:
            task: The task.
            inputs: The digest of each input artifact.
        """
        content = list(made_from(task, inputs).values())
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def cleared(self, task: Task, key: str) -> Path:
        """Return an empty folder for the outputs of a task that is about to run.

        Leftovers of an earlier attempt would pass for this one's outputs.
        """
        folder = self.folder_of(task, key)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def find(self, task: Task, key: str) -> Entry | None:
        """Return an earlier run's outputs, if they still exist, including shards of images.

        An entry that is damaged, or of another version of webly, is a miss.
        """
        folder = self.folder_of(task, key)
        entry = _read(folder)
        if entry is None:
            return None
        # Beside them may lie what a system has left.
        whole = all(
            sizes.items() <= _sizes(folder / output).items()
            for output, sizes in entry.sizes.items()
        )
        try:
            return entry if whole and all(map(_has_shards, folder.rglob("manifest.json"))) else None
        except FormatError:
            return None

    def latest(self, task: Task) -> Entry | None:
        """Return the newest entry of a task, whether its outputs still exist or not."""
        paths = list((self.folder / task.name).glob(f"*/{ENTRY}"))
        newest = max(paths, key=lambda path: path.stat().st_mtime, default=None)
        return _read(newest.parent) if newest else None

    def add(
        self,
        task: Task,
        key: str,
        seconds: float,
        peak_bytes: int,
        inputs: Mapping[str, str],
    ) -> Entry:
        """Add the outputs of a task that succeeded; the inputs are those of its key.

        Raises:
            FileNotFoundError: One of its outputs is missing.
        """
        folder = self.folder_of(task, key)
        for output in task.outputs:
            if not (folder / output).exists():
                raise FileNotFoundError(f"{task.name} succeeded without writing {output}")
        entry = Entry(
            {output: _digest(folder / output) for output in task.outputs},
            {output: _sizes(folder / output) for output in task.outputs},
            seconds,
            peak_bytes,
            made_from(task, inputs),
        )
        with filesystem.complete(folder / ENTRY) as temporary:
            temporary.write_text(json.dumps({"format": FORMAT, **asdict(entry)}))
        return entry


def made_from(task: Task, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return what a task's outputs are a function of, by name; `inputs` are digests."""
    return {
        "image": task.image,
        "command": task.command,
        "parameters": task.parameters,
        "outputs": task.outputs,
        "inputs": inputs,
    }


def _read(folder: Path) -> Entry | None:
    path = folder / ENTRY
    if not path.is_file():
        return None
    try:
        with formats.reading_file(path, FORMAT) as content:
            return formats.fill(Entry, content)
    except FormatError:
        return None


def _has_shards(manifest: Path) -> bool:
    """Return whether an image set's shards, which are stored outside it, exist completely."""
    with formats.reading_file(manifest, image_set.FORMAT) as content:
        shards = {(shard.uri, shard.bytes) for shard in image_set.shards(content)}
    folders = {uri.rpartition("/")[0] for uri, _ in shards}
    there = {
        (f"{folder}/{entry.name}", entry.bytes)
        for folder in folders
        for entry in filesystem.listed(folder)
    }
    return shards <= there


def _files(path: Path) -> dict[str, Path]:
    if path.is_file():
        return {"": path}
    files = (file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): file for file in sorted(files)}


def _sizes(path: Path) -> dict[str, int]:
    return {name: file.stat().st_size for name, file in _files(path).items()}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for name, file in _files(path).items():
        with file.open("rb") as content:
            digest.update(
                f"{name}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode()
            )
    return digest.hexdigest()
