"""What is installed and built upon is what was reviewed: by hash, and by digest."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from components.shared.stage.fingerprint import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
LOCKS = [ROOT / "requirements.lock", *sorted((ROOT / "docker").glob("*.lock"))]
DIGEST = "sha256:[0-9a-f]{64}"


def commands(text: str) -> list[str]:
    """Return a file's commands, each on one line."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if "pip install" in line]
    return [" ".join(part.split()) for line in lines for part in line.split("&&")]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_locked_package_has_hashes(lock: Path) -> None:
    entries = lock.read_text().replace("\\\n", " ").splitlines()

    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry), entry


@pytest.mark.parametrize("text", [MAKEFILE, DOCKERFILE], ids=["Makefile", "Dockerfile"])
def test_nothing_is_installed_without_its_hash_but_other_builds_of_torch(text: str) -> None:
    installing = [each for each in commands(text) if re.search("pip install (?!--help)", each)]

    assert installing
    for command in installing:
        if "--torch-backend" not in command:  # which has files of its own
            assert "--require-hashes" in command
            assert re.search(r"--requirement \S+\.lock", command)


def test_the_base_image_is_pinned_and_can_be_another() -> None:
    (base,) = re.findall("^ARG BASE=(.*)$", DOCKERFILE, re.MULTILINE)

    assert re.fullmatch(rf"python:3\.\d+-slim@{DIGEST}", base)
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    assert bases == {"${BASE}", "base", "text-packages"}


@pytest.mark.parametrize(
    ("said", "code"), [(f"sha256:{64 * '7'}", 0), ("", 2), ("sha256:7", 2), ("error: x", 2)]
)
def test_make_pins_writes_the_digest_that_the_tag_has(tmp_path: Path, said: str, code: int) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(f"#!/bin/sh\necho '{said}'\n")
    docker.chmod(0o755)
    path = f"{docker.parent}{os.pathsep}{os.environ['PATH']}"

    ended = subprocess.run(
        ["make", "pins"], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True
    )

    assert ended.returncode == code
    written = (tmp_path / "docker" / "Dockerfile").read_text()
    expected = re.sub(f"(?<=slim@){DIGEST}", said, DOCKERFILE) if code == 0 else DOCKERFILE
    assert written == expected
