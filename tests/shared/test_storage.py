from pathlib import Path

import pytest

from components.shared import storage
from components.shared.interface import UserError
from components.shared.parallel import ordered


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


class Bucket:
    """As much of boto3's client as `storage` uses, over a dictionary of objects."""

    def __init__(self, objects):
        self.objects = objects

    def get_paginator(self, operation):
        assert operation == "list_objects_v2"
        return self

    def paginate(self, *, Bucket, Prefix):
        keys = sorted(key for key in self.objects if key.startswith(Prefix))
        yield from ({"Contents": [{"Key": key}]} for key in keys)
        yield {}

    def download_file(self, bucket, key, path):
        Path(path).write_bytes(self.objects[key])


def test_the_empty_objects_that_stand_for_folders_are_no_files(monkeypatch):
    objects = {"data/": b"", "data/cat/": b"", "data/cat/1.jpg": b"1", "database": b""}
    monkeypatch.setattr(storage, "_client", lambda: Bucket(objects))

    with storage.local_folder("s3://bucket/data") as folder:
        found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    assert found == {"cat/1.jpg"}


def test_a_key_that_leaves_its_folder_is_refused(monkeypatch):
    monkeypatch.setattr(storage, "_client", lambda: Bucket({"data/../../x": b""}))

    with pytest.raises(UserError, match="leaves its folder"), storage.local_folder("s3://b/data"):
        pass


def test_a_forked_process_has_an_s3_client_of_its_own() -> None:
    pytest.importorskip("boto3")
    ours = storage._client()
    assert storage._client() is ours
    assert list(ordered(lambda _: storage._client() is ours, [0])) == [False]
