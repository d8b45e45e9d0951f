"""Folders of weights that people bring: whether timm can load them, before anything else runs."""

import json
from collections.abc import Mapping
from typing import Any

from components.shared.stage.errors import UserError
from components.shared.storage import filesystem

_WEIGHTS = (".safetensors", ".bin", ".pth", ".pt")  # what timm loads, the first of these it finds
_POINTER = b"version https://git-lfs"
_LONGEST_HEADER = 100_000_000  # safetensors' own limit


def check(uri: str, backbone: str) -> None:
    """Refuse a folder that timm could not load into a backbone; its weights are not read.

    Args:
        uri: The folder, local or s3://.
        backbone: A timm model, with or without a tag.

    Raises:
        UserError: It is no timm folder, of another architecture, or its weights are cut.
    """
    uri = uri.rstrip("/")
    files = {entry.name: entry.bytes for entry in filesystem.listed(uri)}
    config = parsed(uri, filesystem.read(f"{uri}/config.json") if "config.json" in files else b"")
    architecture = config["architecture"]
    if architecture != backbone.split(".")[0]:
        raise UserError(f"{uri} holds a {architecture}: cannot initialize a {backbone}")
    for suffix in _WEIGHTS:
        found = sorted(name for name in files if name.endswith(suffix) and "/" not in name)
        if found:
            _check_file(f"{uri}/{found[0]}", files[found[0]], suffix)
            return
    raise UserError(f"{uri}: no weights there (model.safetensors is missing)")


def parsed(uri: str, content: bytes) -> Mapping[str, Any]:
    """Return the content of a timm folder's `config.json`.

    Raises:
        UserError: There is none, or it is another library's.
    """
    if not content:
        raise UserError(f"{uri}: not a timm model (config.json is missing)")
    try:
        config = json.loads(content)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise UserError(f"{uri}/config.json: not a JSON object, so not a timm model's")
    if not isinstance(config.get("architecture"), str):
        other = (
            "transformers'" if "model_type" in config or "architectures" in config else "another"
        )
        raise UserError(
            f"{uri}/config.json: {other} format, without timm's architecture: give a folder that "
            "timm.models.save_for_hf or huggingface.co/timm has written"
        )
    return config


def _check_file(uri: str, size: int, suffix: str) -> None:
    start = filesystem.read(uri, 0, min(size, 200)) if size else b""
    if start.startswith(_POINTER):
        raise UserError(f"{uri}: a pointer of Git LFS, not the weights: run git lfs pull")
    if not size:
        raise UserError(f"{uri}: empty")
    if suffix != ".safetensors":
        return
    length = int.from_bytes(start[:8], "little")
    if size < 8 or length > min(size - 8, _LONGEST_HEADER):
        raise UserError(f"{uri}: not a safetensors file, or cut")
    try:
        header = json.loads(filesystem.read(uri, 8, length))
        tensors = {name: each for name, each in header.items() if name != "__metadata__"}
        end = 8 + length + max((each["data_offsets"][1] for each in tensors.values()), default=0)
    except (ValueError, AttributeError, LookupError, TypeError):
        raise UserError(f"{uri}: not a safetensors file") from None
    if not tensors:
        raise UserError(f"{uri}: no weights in it")
    if end > size:
        raise UserError(f"{uri}: cut: {size:,} bytes of {end:,}; copy it again")
