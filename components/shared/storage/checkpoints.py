"""Checkpoints: the state of a training, saved periodically to resume from; see `resume`."""

import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from components.shared.stage import environment, ranks
from components.shared.storage import filesystem, formats, resume
from components.shared.storage.formats import FormatError

logger = logging.getLogger(__name__)
FORMAT = 1
# The last but one is kept, too: if the newest is damaged, little is lost.
_KEPT = 2


class Checkpoint(NamedTuple):
    """The state of a training after some of its steps: tensors, and values that JSON can hold."""

    step: int
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


class Checkpoints:
    """A training's checkpoints: files `<step>-<digest of the content>.safetensors` in a folder."""

    def __init__(self, uri: str) -> None:
        """Use a folder, which need not exist yet."""
        self._uri, self._names, self._last = uri, list[str](), time.monotonic()

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that is intact and of this format; warn about others."""
        filesystem.abandon_uploads(self._uri)
        self._names = resume.saved(self._uri)
        for name in self._names[::-1]:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "checkpoint"
                filesystem.fetch(f"{self._uri}/{name}", path)
                if name == _name(int(name.split("-")[0]), path):
                    try:
                        return _read(path, f"{self._uri}/{name}")
                    except FormatError as error:
                        logger.warning("%s; resuming from the one before", error)
                        continue
            logger.warning("%s/%s is damaged; resuming from the one before", self._uri, name)
            if ranks.rank() == 0:
                filesystem.remove(f"{self._uri}/{name}")
            self._names.remove(name)
        return None

    @property
    def due(self) -> bool:
        """Whether the next checkpoint is due."""
        return time.monotonic() - self._last >= environment.checkpoint_seconds()

    def save(self, checkpoint: Checkpoint) -> None:
        """Add a checkpoint, atomically, and remove all but the last ones."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checkpoint"
            content = {"format": FORMAT, "step": checkpoint.step, "values": checkpoint.values}
            with filesystem.complete(path) as temporary:
                save_file(dict(checkpoint.tensors), temporary, {"webly": json.dumps(content)})
            name = _name(checkpoint.step, path)
            filesystem.put(path, f"{self._uri}/{name}", if_absent=True)
        self._names = [*(each for each in self._names if each != name), name]
        while len(self._names) > _KEPT:
            filesystem.remove(f"{self._uri}/{self._names.pop(0)}")
        self._last = time.monotonic()
        logger.debug("checkpoint %s/%s", self._uri, name)

    def remove(self) -> None:
        """Remove all checkpoints: the training has finished."""
        resume.remove(self._uri)


def _name(step: int, path: Path) -> str:
    with path.open("rb") as file:
        return f"{step:09d}-{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}.safetensors"


def _read(path: Path, source: str) -> Checkpoint:
    with (
        formats.guarded(source),
        safe_open(path, "pt") as file,
        formats.reading(file.metadata()["webly"], FORMAT, source) as stored,
    ):
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Checkpoint(stored["step"], tensors, stored["values"])
