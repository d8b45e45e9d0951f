"""Runs of ingest, in this process or as a command, and what they leave."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from components.ingest import assembly
from components.ingest.stage import ingest
from components.shared.data import image_set
from components.shared.stage import environment
from components.shared.storage import filesystem

OUTPUTS = {
    "images": "images",
    "texts": "texts.parquet",
    "labels": "labels",
    "evaluation": "evaluation",
    "report": "report.html",
}


def run(folder: Path, dataset: Path | str, **parameters: Any) -> Path:
    """Run ingest; with a validation share of 0 it may leave all images to training."""
    outputs = {name: folder / file for name, file in OUTPUTS.items()}
    with pytest.MonkeyPatch.context() as patch:
        if parameters.get("validation_share") == 0:
            patch.delitem(assembly.NONE_LEFT, "validation")
        ingest(**outputs, dataset=str(dataset), **parameters)
    return folder


def command(folder: Path, dataset: Path | str) -> list[str]:
    argv = [word for name, file in OUTPUTS.items() for word in (f"--{name}", str(folder / file))]
    return [sys.executable, "-m", "components.ingest", "--dataset", str(dataset), *argv]


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the texts by id."""
    table = pq.read_table(folder / "texts.parquet").to_pylist()
    return {row["id"]: row for row in table}


def rejects(folder: Path) -> list[tuple[str, str, str]]:
    table = pq.read_table(folder / "images" / "rejects.parquet").to_pylist()
    return sorted((row["split"], row["kind"], row["id"]) for row in table)


def named(folder: Path) -> list[str]:
    """Return the URIs of the shards that the manifests name."""
    manifests = [json.loads(path.read_text()) for path in sorted(folder.rglob("manifest.json"))]
    return [shard.uri for manifest in manifests for shard in image_set.shards(manifest)]


def in_store(store: str) -> list[str]:
    """Return the URIs of all that is in a store."""
    return [f"{store}/{entry.name}" for entry in filesystem.listed(store)]


def contents(folder: Path) -> dict[str, bytes]:
    """Return the outputs, and the shards that they name, with all but the shards' URIs."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    for uri in named(folder):
        shard = uri.rpartition("/")[2]
        files[shard] = filesystem.read(uri)
        for name in files:
            if name.endswith("manifest.json"):
                below = uri.removeprefix(f"{environment.store()}/")
                files[name] = files[name].replace(f'"{below}"'.encode(), f'"{shard}"'.encode())
    return files


def upload(folder: Path, uri: str) -> str:
    """Copy a folder to `uri`."""
    for path in folder.rglob("*"):
        if path.is_file():
            filesystem.put(path, f"{uri}/{path.relative_to(folder)}")
    return uri
