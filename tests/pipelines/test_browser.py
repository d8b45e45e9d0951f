"""What reports look like in a browser, also at the challenge's size, and in KFP's UI.

`WEBLY_TEST_PICTURES=folder` keeps a picture of each page at each width.
"""

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components.ensemble.confusion import write_confusion
from components.shared.reports.html import Card, Page
from pipelines import report
from tests import full_size
from tests.browser import Browser, Seen, chromium
from tests.comparisons import Images, run

# A whole window; the panel that KFP's UI opens for a page, and a column of its "Compare runs".
WIDTHS = (1280, 400, 390, 300)
SMALLEST = 9  # pixels of letters that can be read
STAGES = ("ingest", "tagging", "weighting", "wt_pretrain", "lw_pretrain", "finetune")
STAGES += ("audit", "pseudo_label", "ensemble", "compare")
BAD = """<!DOCTYPE html><body>
<script>console.error("logged"); throw Error("thrown")</script>
<img src="http://127.0.0.1:49151/a.png"><div style="width: 2000px">wide</div>
<figure style="width: 200px; overflow-x: auto">
<svg width=300 viewBox="0 0 600 60"><text x=590 y=20 style="font-size: 10px">legend</text></svg>
</figure>
"""
WORD = "Donaudampfschifffahrtskapitaen" * 3

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
    assert (seen.overflow, seen.wide, seen.cut) == (0, [], [])
    assert seen.smallest >= SMALLEST


def test_the_browser_notices_what_is_wrong_with_a_page(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(BAD)

    seen = browser.see(tmp_path / "bad.html", 420)

    for error in ("thrown", "logged", "ERR_CONNECTION_REFUSED"):
        assert any(error in each for each in seen.errors)
    assert seen.requests == ["http://127.0.0.1:49151/a.png"]
    assert seen.broken == 1
    assert seen.overflow > 1500
    assert seen.wide == ['<div style="width: 2000px">wide</div>']
    assert [each[:10] for each in seen.cut] == ["<svg width", "legend"]
    assert seen.smallest == 5


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
    seen = browser.see(pages["report"], 400, unfold=True)

    assert "Most frequent confusions" in seen.text
    assert_sound(seen)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of each stage that has run on a small data set."""
    folder = tmp_path_factory.mktemp("small")
    environment = {
        f"WEBLY_{name}": str(folder / name) for name in ("STORE", "CHECKPOINTS", "CACHE")
    }
    command = [sys.executable, "-m", "tests.golden.stages", str(folder)]
    subprocess.run(command, env=os.environ | environment, check=True)
    # Chromium goes by a file's ending.
    return {path.parent.name: path.rename(f"{path}.html") for path in folder.glob("*/report")}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", [*STAGES, "multitask_pretrain"])
def test_pages_of_stages_that_have_run_fit_the_window(
    name: str, width: int, browser: Browser, made: dict[str, Path]
) -> None:
    assert_sound(browser.see(made[name], width))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("classes", [20, 50])
def test_comparisons_of_many_candidates_and_long_names_fit_the_window(
    classes: int, width: int, browser: Browser, tmp_path: Path, pictures: Path
) -> None:
    random, labels = np.random.default_rng(0), np.arange(200) % classes
    images = Images(tmp_path, labels, [f"{WORD} {number}" for number in range(classes)])
    right = {
        (step, f"{backbone}-{name}-seed{seed}"): random.random(200) < 0.5
        for step in full_size.STEPS
        for backbone in ("efficientnet_b4", "resnext101_32x8d")
        for name in ("wt", "wt-noquery", "lw", "multitask", "none", "none-longer")
        for seed in range(2)
    }
    run(tmp_path, images, right)

    seen = browser.see(tmp_path / "report.html", width)

    (pictures / f"compare-{classes}-{width}.png").write_bytes(seen.picture)
    assert_sound(seen)


@pytest.mark.parametrize("width", WIDTHS)
def test_whatever_a_page_holds_fits_the_window(
    width: int, browser: Browser, tmp_path: Path
) -> None:
    page = Page(WORD, WORD)
    page.heading(WORD)
    page.paragraph(WORD)
    page.preformatted(WORD)
    page.stats([(WORD, WORD)] * 3)
    page.table([WORD] * 9, [[WORD] * 9])
    page.matrix([WORD] * 50, np.full((50, 50), 1_000), WORD)
    page.cards([Card(None, WORD, [WORD, (WORD, 0.5)])])
    page.folded(page.body(), title=WORD, note=WORD, anchor="fold")
    page.write(tmp_path / "page.html")

    assert_sound(browser.see(tmp_path / "page.html", width, unfold=True))


@pytest.mark.parametrize("classes", [20, 50, 5_000])
def test_the_confusion_fits_the_panel_that_kubeflows_ui_opens(
    classes: int, browser: Browser, tmp_path: Path
) -> None:
    labels = np.arange(10 * classes) % classes
    predicted = (labels // 2).astype(np.int32)
    titles = [f"great white heron {number}" for number in range(classes)]
    write_confusion(tmp_path / "confusion", labels, predicted, titles)
    (tmp_path / "page.html").write_text(confusion_viewer(tmp_path / "confusion"))

    seen = browser.see(tmp_path / "page.html", 590)  # of a window of 1,400 pixels

    assert "other" in seen.text
    assert (seen.overflow, seen.wide) == (0, [])


def confusion_viewer(path: Path) -> str:
    """Draw a confusion matrix as `ConfusionMatrix.tsx` of KFP 2.17 does."""
    matrix = json.loads(path.read_text())["confusionMatrix"]
    names = [html.escape(each["displayName"]) for each in matrix["annotationSpecs"]]
    side = max(min(700 / len(names), 80), 15) - 1
    rows = "".join(
        f"<tr><td><div class=y>{name}</div>{''.join(f'<td class=cell>{n}' for n in row['row'])}"
        for name, row in zip(names, matrix["rows"], strict=True)
    )
    below = "".join(f"<th><div class=x>{name}</div>" for name in names)
    return f"""<!DOCTYPE html><style>
body {{ margin: 0; padding: 40px; font: 14px sans-serif }}
.root {{ display: flex; position: relative; width: fit-content }}
.cell {{ border: 1px solid; min-width: {side}px; width: {side}px; height: {side}px }}
.y {{ line-height: {side}px; margin-right: 10px; min-width: {side}px; white-space: nowrap }}
.x {{ margin-left: 15px; overflow: hidden; position: absolute; text-overflow: ellipsis;
  transform: rotate(60deg); transform-origin: left; white-space: nowrap; width: 150px }}
.legend {{ margin-left: 20px; min-width: 10px }}
</style><div class=root><table>{rows}<tr><th>{below}</table><div class=legend></div></div>"""


# KFP's UI allows scripts, and nothing else; these pages need none.
@pytest.mark.parametrize("sandbox", ["allow-scripts", ""])
@pytest.mark.parametrize("name", ["pseudo_label", "report"])
def test_pages_open_in_a_sandboxed_frame(
    name: str, sandbox: str, browser: Browser, pages: dict[str, Path]
) -> None:
    seen = browser.see_framed(pages[name], 800, sandbox=sandbox)

    assert re.search(r"<h1>(.*?)</h1>", pages[name].read_text())[1] in seen.text
    assert_sound(seen)
