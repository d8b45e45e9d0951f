from pathlib import Path

import numpy as np
import pytest

from components.shared.storage import filesystem
from components.shared.storage.resume import Parts
from components.shared.storage.resume import folder as folder_of


def names(location: str) -> list[str]:
    return [entry.name for entry in filesystem.listed(location)]


def test_a_part_comes_back_as_it_was(location: str) -> None:
    arrays = {"a": np.arange(3, dtype=np.int32), "b": np.ones((2, 2), np.float32), "c": np.zeros(0)}
    parts = Parts(location)
    assert len(parts) == 0
    parts.save(12, arrays)

    for known in (parts, Parts(location)):
        loaded = known.load(12)
        assert loaded is not None
        assert len(known) == 1
        for name, array in arrays.items():
            assert loaded[name].dtype == array.dtype
            np.testing.assert_array_equal(loaded[name], array)
    assert parts.load(13) is None


def test_a_damaged_part_is_told_of_and_removed(
    location: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Parts(location).save(1, {"a": np.arange(100)})
    (name,) = names(location)
    (tmp_path / "damaged").write_bytes(filesystem.read(f"{location}/{name}")[:-1] + b"x")
    filesystem.put(tmp_path / "damaged", f"{location}/{name}")

    parts = Parts(location)
    assert parts.load(1) is None

    assert f"{name} is damaged" in caplog.text
    assert names(location) == []
    assert len(parts) == 0


def test_the_same_part_made_twice_is_one(location: str) -> None:
    for _ in range(2):
        Parts(location).save(1, {"a": np.arange(100)})
    assert len(names(location)) == 1


def test_a_place_is_that_of_the_inputs_content_and_of_the_parameters(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second" / "first"
    second.parent.mkdir()
    first.write_text("texts")
    second.write_text("texts")
    location = folder_of("tagging", [first, None], fields="all")

    assert location == folder_of("tagging", [second, None], fields="all")
    assert location != folder_of("tagging", [None, first], fields="all")
    assert location != folder_of("tagging", [first, None], fields="tags")
    assert location != folder_of("weighting", [first, None], fields="all")
    second.write_text("other texts")
    assert location != folder_of("tagging", [second, None], fields="all")


def test_what_others_have_put_there_is_passed_over(tmp_path: Path) -> None:
    foreign = [tmp_path / name for name in (".DS_Store", "Thumbs.db", "7-x", "folder/000001-x")]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    Parts(str(tmp_path)).save(1, {"a": np.arange(3)})

    parts = Parts(str(tmp_path))

    assert len(parts) == 1
    assert parts.load(1) is not None and parts.load(7) is None
    assert all(path.read_text() == "x" for path in foreign)


def test_what_a_system_leaves_among_inputs_changes_no_place(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "index.npy").write_text("index")
    before = folder_of("tagging", [tmp_path / "images"])
    (tmp_path / "images" / ".DS_Store").write_text("x")

    assert folder_of("tagging", [tmp_path / "images"]) == before
