"""What of a stage's output is a result: the numbers of metrics, digests of all else.

Digests are of what a file holds, not of its bytes, in which its writer may leave its version.
"""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from safetensors.numpy import load

# How long something took, where it lies, what its format is called, what the stage was told.
_NO_RESULTS = {"format", "images_per_second", "seconds", "settings", "source", "uri", "weights"}


def numbers(path: Path) -> Any:
    """Return what a JSON file holds."""
    return _results(json.loads(path.read_text()))


def digests(path: Path) -> Any:
    """Return a file's digest; of a folder, an archive or a table those of its parts, by name."""
    if path.is_dir():
        return {each.name: digests(each) for each in sorted(path.iterdir())}
    content = path.read_bytes()
    match content[:4]:
        case b"PAR1":
            table = pq.read_table(io.BytesIO(content))
            return {name: _digest(table[name].to_pylist()) for name in table.column_names}
        case b"PK\x03\x04":
            with zipfile.ZipFile(path) as archive:
                return {name: _digest(archive.read(name)) for name in archive.namelist()}
        case b"\x93NUM":
            return _digest(np.load(path))
    if path.suffix == ".safetensors":
        return _digest({name: _digest(array) for name, array in load(content).items()})
    try:
        return _digest(numbers(path))
    except ValueError:  # no JSON
        return _digest(content)


def _results(value: Any) -> Any:
    match value:
        case dict():
            return {name: _results(each) for name, each in value.items() if name not in _NO_RESULTS}
        case [str(what), int(images), float()]:  # a training of a model's lineage, and its seconds
            return [what, images]
        case list():
            return [_results(each) for each in value]
    return value


def _digest(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = f"{value.dtype} {value.shape}".encode() + value.tobytes()
    elif not isinstance(value, bytes):
        value = json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(value).hexdigest()[:16]
