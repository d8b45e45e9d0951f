"""What reports look like in a browser, also at the challenge's size.

`WEBLY_TEST_PICTURES=folder` keeps a picture of each page at both widths.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import report
from tests import full_size
from tests.browser import Browser, Seen, chromium

WIDTHS = (1280, 420)
STAGES = ("ingest", "tagging", "weighting", "wt_pretrain", "lw_pretrain", "finetune")
STAGES += ("pseudo_label", "ensemble", "compare")
BAD = """<!DOCTYPE html><body>
<script>console.error("logged"); throw Error("thrown")</script>
<img src="http://127.0.0.1:49151/a.png"><div style="width: 2000px">wide</div>
"""

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of each stage, and the report of the run."""
    folder = tmp_path_factory.mktemp("full")
    inputs = full_size.Inputs.write(folder / "inputs")
    pages = full_size.write_pages(folder / "pages", inputs)
    full_size.write_run(folder / "run", inputs, pages)
    return pages | {"report": report.write(folder / "run")}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = os.environ.get("WEBLY_TEST_PICTURES")
    path = Path(folder) if folder else tmp_path_factory.mktemp("pictures")
    path.mkdir(parents=True, exist_ok=True)
    return path


def assert_sound(seen: Seen) -> None:
    assert seen.errors == []
    assert seen.requests == []
    assert seen.broken == 0
    assert (seen.overflow, seen.wide) == (0, [])


def test_the_browser_notices_what_is_wrong_with_a_page(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(BAD)

    seen = browser.see(tmp_path / "bad.html", 420)

    for error in ("thrown", "logged", "ERR_CONNECTION_REFUSED"):
        assert any(error in each for each in seen.errors)
    assert seen.requests == ["http://127.0.0.1:49151/a.png"]
    assert seen.broken == 1
    assert seen.overflow > 1500
    assert seen.wide == ['<div style="width: 2000px">wide</div>']


def test_the_browser_notices_scripts_that_a_frame_forbids(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(BAD)

    seen = browser.see_framed(tmp_path / "bad.html", 420, sandbox="")

    assert any("Blocked script execution" in error for error in seen.errors)


@pytest.mark.parametrize("name", [*STAGES, "report"])
def test_pages_of_full_size_fit_what_shows_them(name: str, pages: dict[str, Path]) -> None:
    assert pages[name].stat().st_size < report.MOST_BYTES


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", [*STAGES, "report"])
def test_pages_open_without_errors_requests_or_overflow(
    name: str, width: int, browser: Browser, pages: dict[str, Path], pictures: Path
) -> None:
    seen = browser.see(pages[name], width)

    (pictures / f"{name}-{width}.png").write_bytes(seen.picture)
    assert_sound(seen)


def test_the_stages_pages_fit_a_phone_when_they_are_unfolded(
    browser: Browser, pages: dict[str, Path]
) -> None:
    seen = browser.see(pages["report"], 420, unfold=True)

    assert "Most frequent confusions" in seen.text
    assert_sound(seen)


# KFP's UI allows scripts, and nothing else; these pages need none.
@pytest.mark.parametrize("sandbox", ["allow-scripts", ""])
@pytest.mark.parametrize("name", ["pseudo_label", "report"])
def test_pages_open_in_a_sandboxed_frame(
    name: str, sandbox: str, browser: Browser, pages: dict[str, Path]
) -> None:
    seen = browser.see_framed(pages[name], 800, sandbox=sandbox)

    assert re.search(r"<h1>(.*?)</h1>", pages[name].read_text())[1] in seen.text
    assert_sound(seen)
