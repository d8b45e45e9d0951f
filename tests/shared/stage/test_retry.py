import itertools

import pytest

from components.shared.stage import retry


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is, in its only element."""
    now = [1_000.0]
    monkeypatch.setattr(retry.time, "monotonic", lambda: now[0])
    return now


def test_pauses_double_up_to_the_longest_each_up_to_half_shorter(clock: list[float]) -> None:
    pauses = list(itertools.islice(retry.pauses(60.0, first=1.0, longest=5.0), 5))

    shares = [pause / most for pause, most in zip(pauses, [1.0, 2.0, 4.0, 5.0, 5.0], strict=True)]
    assert all(0.5 <= share <= 1.0 for share in shares)
    assert len(set(shares)) > 1


def test_patience_begins_with_the_first_failure_and_the_last_pause_ends_with_it(
    clock: list[float],
) -> None:
    pauses = retry.pauses(10.0, first=8.0, longest=8.0)
    clock[0] += 100
    waited = 0.0
    for pause in pauses:
        waited += pause
        clock[0] += pause

    assert waited == pytest.approx(10.0)


def test_without_patience_nothing_is_asked_again() -> None:
    assert list(retry.pauses(0.0, first=1.0, longest=1.0)) == []
