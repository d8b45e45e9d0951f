import logging

import pytest

from components.shared.stage import progress


def test_items_may_be_of_several_units(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "_SECONDS_TO_FIRST_LINE", 0)
    groups = [range(1_000), range(234)]

    with caplog.at_level(logging.INFO, "components.shared.stage.progress"):
        shown = progress.progress(groups, total=1_234, unit="image", what="Reading", units=len)
        assert list(shown) == groups

    told = [message.split(" images, ")[0] for message in caplog.messages]
    assert told == ["Reading: 1,000 of 1,234", "Reading: 1,234 of 1,234"]


def test_the_first_line_comes_soon_and_the_others_ever_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = iter(range(1_000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(now)))

    with caplog.at_level(logging.INFO, "components.shared.stage.progress"):
        list(progress.progress(range(60), total=60, unit="step", what="Epoch"))

    done = [int(message.split()[1]) for message in caplog.messages]
    assert done == [2, 6, 14, 29, 44, 59]
