import pytest

from components.shared import storage
from components.shared.interface import UserError


def test_a_file_appears_only_when_its_block_ends_well(tmp_path):
    with storage.complete(tmp_path / "new" / "file") as temporary:
        temporary.write_text("x")
        assert not (tmp_path / "new" / "file").exists()

    assert (tmp_path / "new" / "file").read_text() == "x"


def test_a_failed_write_leaves_what_was_there_and_no_rest(tmp_path):
    (tmp_path / "file").write_text("old")

    with pytest.raises(RuntimeError), storage.complete(tmp_path / "file") as temporary:
        temporary.write_text("new")
        raise RuntimeError

    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_replaces_the_folder_of_that_name(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()

    with storage.complete(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "new").touch()

    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]


def test_schemes_other_than_s3_are_refused():
    with pytest.raises(UserError, match="gs://bucket/x"):
        storage.is_s3("gs://bucket/x")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with (
        pytest.raises(UserError, match="no such folder"),
        storage.local_folder(str(tmp_path / "none")),
    ):
        pass
