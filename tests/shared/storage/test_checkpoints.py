import json
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from components.shared.stage.boundary import TRANSIENT, ending
from components.shared.storage import checkpoints
from components.shared.storage.checkpoints import Checkpoint, Checkpoints
from tests.disks import small_disk


def save(folder: Path, step: int) -> None:
    Checkpoints(str(folder)).save(Checkpoint(step, {"x": torch.tensor(step)}, {"seconds": 0.5}))


def test_a_checkpoint_of_another_format_is_told_of_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as tomorrow:
        tomorrow.setattr(checkpoints, "FORMAT", 2)
        save(tmp_path, 3)
    (path,) = tmp_path.iterdir()

    assert Checkpoints(str(tmp_path)).newest() is None
    save(tmp_path, 2)
    newest = Checkpoints(str(tmp_path)).newest()

    assert newest is not None and newest.step == 2
    assert caplog.text.count(f"{path}: format 2, but this version of webly reads format 1") == 2
    assert path.is_file()


def test_a_checkpoint_of_yesterday_says_no_number(tmp_path: Path) -> None:
    path, content = tmp_path / "checkpoint", {"step": 3, "values": {"seconds": 0.5}}
    save_file({"x": torch.tensor(3)}, path, {"webly": json.dumps(content)})
    path.rename(tmp_path / checkpoints._name(3, path))

    newest = Checkpoints(str(tmp_path)).newest()

    assert newest == Checkpoint(3, {"x": torch.tensor(3)}, {"seconds": 0.5})


def test_a_full_disk_of_temporary_files_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", "16k") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        large = Checkpoint(1, {"x": torch.zeros(100_000)}, {})
        with pytest.raises(OSError) as raised:
            Checkpoints(str(tmp_path / "there")).save(large)

    code, line = ending(raised.value) or (0, "")
    assert code == TRANSIENT
    assert line.startswith(f"{disk}/") and "no space is left there" in line


FOREIGN = (".DS_Store", "Thumbs.db", "notes.txt", "1-a.safetensors", "folder/file")


def put_foreign(folder: Path) -> list[Path]:
    """Put files of others into a folder."""
    paths = [folder / name for name in FOREIGN]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return paths


def test_what_others_have_put_there_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = put_foreign(tmp_path)
    assert Checkpoints(str(tmp_path)).newest() is None
    for step in range(4):
        save(tmp_path, step)

    newest = Checkpoints(str(tmp_path)).newest()

    assert newest is not None and newest.step == 3
    assert all(path.read_text() == "x" for path in foreign)
    assert caplog.text == ""
