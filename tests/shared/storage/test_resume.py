from pathlib import Path

import numpy as np
import pytest

from components.shared.storage import filesystem
from components.shared.storage.resume import Parts
from components.shared.storage.resume import folder as folder_of


def names(place: str) -> list[str]:
    return [entry.name for entry in filesystem.listed(place)]


def test_a_part_comes_back_as_it_was(place: str) -> None:
    arrays = {"a": np.arange(3, dtype=np.int32), "b": np.ones((2, 2), np.float32), "c": np.zeros(0)}
    parts = Parts(place)
    assert len(parts) == 0
    parts.save(12, arrays)

    for known in (parts, Parts(place)):
        loaded = known.load(12)
        assert loaded is not None
        assert len(known) == 1
        for name, array in arrays.items():
            assert loaded[name].dtype == array.dtype
            np.testing.assert_array_equal(loaded[name], array)
    assert parts.load(13) is None


def test_a_damaged_part_is_told_of_and_removed(
    place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Parts(place).save(1, {"a": np.arange(100)})
    (name,) = names(place)
    (tmp_path / "damaged").write_bytes(filesystem.read(f"{place}/{name}")[:-1] + b"x")
    filesystem.put(tmp_path / "damaged", f"{place}/{name}")

    parts = Parts(place)
    assert parts.load(1) is None

    assert f"{name} is damaged" in caplog.text
    assert names(place) == []
    assert len(parts) == 0


def test_the_same_part_made_twice_is_one(place: str) -> None:
    for _ in range(2):
        Parts(place).save(1, {"a": np.arange(100)})
    assert len(names(place)) == 1


def test_a_place_is_that_of_the_inputs_content_and_of_the_parameters(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second" / "first"
    second.parent.mkdir()
    first.write_text("texts")
    second.write_text("texts")
    place = folder_of("tagging", [first, None], fields="all")

    assert place == folder_of("tagging", [second, None], fields="all")
    assert place != folder_of("tagging", [None, first], fields="all")
    assert place != folder_of("tagging", [first, None], fields="tags")
    assert place != folder_of("weighting", [first, None], fields="all")
    second.write_text("other texts")
    assert place != folder_of("tagging", [second, None], fields="all")
