"""File systems that take nothing more."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str, *options: str) -> Iterator[Path]:
    """Mount a file system of so many bytes, or skip the test where that is not allowed.

    Args:
        folder: Where to mount it; it must not exist.
        size: As `mount` takes it, such as 64k.
        options: More of them, such as ro.
    """
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs"]
    try:
        mounted = subprocess.run([*mount, folder], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs mount")
    if mounted.returncode:
        pytest.skip(f"no right to mount a small disk: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
