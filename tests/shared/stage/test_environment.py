import shutil
from pathlib import Path

import pytest

from components.shared.stage import environment
from components.shared.stage.errors import UserError


def test_the_cache_may_take_nine_tenths_of_what_it_has_and_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_CACHE", str(tmp_path))
    usage = shutil.disk_usage(tmp_path)
    disk = 10_000_000

    def small_disk(folder: Path) -> object:
        held = sum(512 * path.stat().st_blocks for path in folder.iterdir())
        return usage._replace(free=disk - held)

    monkeypatch.setattr(shutil, "disk_usage", small_disk)
    for name in ("a.tar", "b.part"):  # neither what is there nor what arrives changes the limit
        assert environment.cache_bytes() == 0.9 * disk
        (tmp_path / name).write_bytes(bytes(1_000_000))
    assert environment.cache_bytes() == 0.9 * disk


def test_a_limit_of_the_cache_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WEBLY_CACHE_GIGABYTES", "0.5")
    assert environment.cache_bytes() == 500_000_000
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("text", ["much", "0", "-1", "nan"])
def test_what_is_no_positive_number_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBLY_STORAGE_TIMEOUT", text)
    with pytest.raises(UserError, match=f"WEBLY_STORAGE_TIMEOUT=.*{text}.*: must be "):
        environment.storage_timeout()


def test_a_cache_is_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBLY_CACHE", "s3://bucket/cache")
    with pytest.raises(UserError, match="WEBLY_CACHE='s3://bucket/cache': must be a local folder"):
        environment.cache()


def test_an_unknown_log_level_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBLY_LOG_LEVEL", "loud")
    with pytest.raises(UserError, match="WEBLY_LOG_LEVEL='LOUD': use DEBUG"):
        environment.log_level()


@pytest.mark.parametrize(
    ("given", "store"),
    [("s3://bucket/store/", "s3://bucket/store"), ("there", "{}/there"), ("", "{}/runs/store")],
)
def test_a_store_is_an_absolute_path_or_a_prefix(
    given: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEBLY_STORE", given)
    assert environment.store() == store.format(tmp_path)
