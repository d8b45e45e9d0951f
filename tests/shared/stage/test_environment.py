import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.stage import environment, machine, tries
from components.shared.stage.errors import UserError, shown
from components.trainjob import settings
from pipelines.images import LAUNCHER, reference


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


_NUMBERS = ("much", "-1", "nan", "inf", "1e300", "9" * 400, "٣", "1 2", "0x10")


@pytest.mark.parametrize(
    ("name", "read", "wrong"),
    [
        ("WEBLY_STORAGE_TIMEOUT", environment.storage_timeout, (*_NUMBERS, "0")),
        ("WEBLY_CHECKPOINT_MINUTES", environment.checkpoint_seconds, (*_NUMBERS, "0")),
        ("WEBLY_CACHE_GIGABYTES", environment.cache_bytes, (*_NUMBERS, "0")),
        ("WEBLY_PROCESSES", environment.processes, (*_NUMBERS, "0", "2.5", "1000000")),
        ("WEBLY_RETRIES", tries.retries, (*_NUMBERS, "2.5", "1000000")),
        ("WEBLY_TRAINJOB_HOURS", settings.from_environment, (*_NUMBERS, "0")),
        ("WEBLY_TRAINJOB_RESOURCES", settings.from_environment, ("{", "[]", "5", "[" * 100_000)),
        ("WEBLY_NODE_ENV", settings.from_environment, ("{", "null", "9" * 5_000)),
        ("WEBLY_NODE_VOLUMES", settings.from_environment, ("{", '{"volumes": {}}')),
        ("WEBLY_NODE_VOLUMES", settings.from_environment, ('{"volumeMounts": [1]}',)),
        ("WEBLY_GPUS", lambda: machine.look({}), ("x", "1.5", "-1", "9" * 400)),
        ("WEBLY_STORE", environment.store, ("gs://b/p", "s3://", "a\nb", "http://x")),
        ("WEBLY_CHECKPOINTS", environment.checkpoints, ("gs://b/p", "s3:///", "x" * 40_000)),
        ("WEBLY_CACHE", environment.cache, ("s3://b/p", "gs://b/p", "a\tb")),
        ("WEBLY_LOG_LEVEL", environment.log_level, ("loud", "x" * 10_000)),
        ("WEBLY_REGISTRY", lambda: reference(LAUNCHER), ("a b", 'x"y', "a//b", "A/B", "a/", "é")),
        (
            "WEBLY_IMAGE_TRAINJOB",
            lambda: reference(LAUNCHER),
            ('x"y', "a b", "a:b:c", "a@sha256:1"),
        ),
    ],
)
def test_a_variable_of_no_use_is_named_with_its_value(
    name: str, read: Callable[[], object], wrong: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in wrong:
        monkeypatch.setenv(name, text)
        with pytest.raises(UserError, match=f"^{name}") as refused:
            read()
        assert shown(text)[1:2].lower() in str(refused.value).lower()
        assert len(str(refused.value).splitlines()) == 1
        assert len(str(refused.value)) < 400


def test_an_empty_variable_is_as_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STORAGE_TIMEOUT", "CHECKPOINT_MINUTES", "PROCESSES", "LOG_LEVEL", "RETRIES"):
        monkeypatch.setenv(f"WEBLY_{name}", "")

    assert (environment.storage_timeout(), environment.checkpoint_seconds()) == (300, 600)
    assert (environment.processes(), environment.log_level(), tries.retries()) == (None, "INFO", 0)


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
