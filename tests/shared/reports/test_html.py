import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from components.shared.reports import html
from components.shared.reports.html import Card, Page
from components.shared.reports.plots import NARROW, WIDE
from tests.html_reader import Reader

HOSTILE = '<script>alert("x")</script> & </main> <img src=x onerror=alert(1)>'


@pytest.fixture
def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 60, 40)).save(buffer, format="JPEG")
    return buffer.getvalue()


def written(page: Page, tmp_path: Path) -> str:
    page.write(tmp_path / "page.html")
    return (tmp_path / "page.html").read_text()


def test_texts_of_the_web_never_become_elements(tmp_path: Path, jpeg: bytes) -> None:
    page = Page(HOSTILE, HOSTILE)
    page.heading(HOSTILE)
    page.paragraph(HOSTILE)
    page.preformatted(HOSTILE)
    page.stats([(HOSTILE, HOSTILE)])
    page.table([HOSTILE], [[HOSTILE]])
    page.matrix([HOSTILE], np.ones((1, 1), np.int64), HOSTILE)
    page.cards([Card(jpeg, HOSTILE, [HOSTILE, (HOSTILE, 0.5)])])
    page.drawing("<svg></svg>", HOSTILE)
    page.folded("", title=HOSTILE, note=HOSTILE, anchor='a"><script>')

    read = Reader(written(page, tmp_path))

    assert read.count("script") == 0
    assert [attributes["src"][:5] for tag, attributes in read.tags if tag == "img"] == ["data:"]
    assert sum(HOSTILE in text for text in read.texts) == 18


@pytest.mark.parametrize("cell", [0.52345, 86_400.0, 16_000, "52.3", "1,000", "+4.1 %"])
def test_columns_of_numbers_are_aligned_to_the_right(tmp_path: Path, cell: object) -> None:
    page = Page("", "")
    page.table(["name", "top-1"], [["ensemble", cell], ["q00001.json", ""]])

    read = Reader(written(page, tmp_path))

    cells = [attributes.get("class") for tag, attributes in read.tags if tag in ("th", "td")]
    assert cells == [None, "number"] * 3


def test_columns_that_mix_numbers_and_words_are_not(tmp_path: Path) -> None:
    page = Page("", "")
    page.table(["value"], [[3], ["resnest101e"]])

    cells = [a for tag, a in Reader(written(page, tmp_path)).tags if tag in ("th", "td")]
    assert cells == [{}] * 3


def test_numbers_are_written_for_people(tmp_path: Path) -> None:
    page = Page("", "")
    page.table(["a", "b", "c", "d", "e"], [[16_000_000, 0.123456, True, "x", 86_400.5]])

    texts = Reader(written(page, tmp_path)).texts

    assert {"16,000,000", "0.1235", "true", "x", "86,400"} <= set(texts)


def test_a_table_without_rows_is_left_out(tmp_path: Path) -> None:
    page = Page("", "")
    page.table(["kind", "count"], [])

    assert {"kind", "count"}.isdisjoint(Reader(written(page, tmp_path)).texts)


def test_a_long_page_begins_with_links_to_its_sections(tmp_path: Path) -> None:
    page = Page("Run <x>", "About.")
    for number in range(4):
        page.heading(f"Part {number} & more")

    content = written(page, tmp_path)

    links = re.findall(r'<a href="#([^"]*)">', content[content.index("<nav>") :])
    assert len(links) == 4
    assert all(content.count(f'<h2 id="{link}">') == 1 for link in links)
    assert "<nav>" not in html.body(tmp_path / "page.html")


def test_a_card_ends_with_the_images_name(tmp_path: Path) -> None:
    page = Page("", "")
    page.cards([Card(None, "title", ["line"], "cat/<0>.jpg")])

    assert Reader(written(page, tmp_path)).texts[-1].strip() in ("cat/<0>.jpg", "")
    assert "cat/&lt;0&gt;.jpg" in page.body()


def test_a_share_is_drawn_as_a_bar(tmp_path: Path, jpeg: bytes) -> None:
    page = Page("", "")
    page.cards([Card(jpeg, "title", ["plain", ("warbler", 0.768)])])

    bars = [a["style"] for tag, a in Reader(written(page, tmp_path)).tags if "style" in a]
    assert bars == ["--share: 77%"]


def test_pictures_are_embedded_unchanged(tmp_path: Path, jpeg: bytes) -> None:
    page = Page("", "")
    page.cards([Card(jpeg, "title", [])])

    ((source,),) = [[a["src"]] for tag, a in Reader(written(page, tmp_path)).tags if tag == "img"]
    kind, _, content = str(source).partition(",")
    assert kind == "data:image/jpeg;base64"
    assert base64.b64decode(content) == jpeg


def test_large_pictures_are_embedded_as_large_as_they_are_shown(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (800, 400), (200, 60, 40)).save(buffer, format="PNG")
    page = Page("", "")
    page.cards([Card(buffer.getvalue(), "title", [])])

    ((source,),) = [[a["src"]] for tag, a in Reader(written(page, tmp_path)).tags if tag == "img"]
    shown = Image.open(io.BytesIO(base64.b64decode(str(source).partition(",")[2])))
    assert (shown.format, shown.size) == ("JPEG", (352, 176))


def test_cards_may_have_no_picture() -> None:
    page = Page("", "")
    page.cards([Card(None, "title", ["line"])])

    assert Reader(page.body()).count("img") == 0
    assert "line" in Reader(page.body()).texts


def test_plots_are_the_same_each_time(tmp_path: Path) -> None:
    def draw() -> str:
        figure = Figure()
        figure.subplots().plot([1, 2, 3], [3, 1, 2], marker="o")
        page = Page("", "")
        page.figure(lambda _: figure, "A plot.")
        return page.body()

    assert draw() == draw()


def test_plots_keep_their_texts_as_texts(tmp_path: Path) -> None:
    figure = Figure()
    figure.subplots().set(xlabel="rank of the word")
    page = Page("", "")
    page.figure(lambda _: figure, "")

    assert "rank of the word" in [text.strip() for text in Reader(page.body()).texts]


def test_plots_keep_their_coordinates_to_a_tenth_of_a_pixel() -> None:
    figure = Figure()
    figure.subplots().plot([1, 2, 3], [0.1234567, 0.2, 0.3], label="0.1234567")
    figure.legend()
    page = Page("", "")
    page.figure(lambda _: figure, "")

    drawn = [str(a["d"]) for tag, a in Reader(page.body()).tags if tag == "path" and "d" in a]
    assert not re.search(r"\.\d\d", " ".join(drawn))
    assert "0.1234567" in page.body()


def test_plots_of_many_points_become_pictures(tmp_path: Path) -> None:
    figure = Figure()
    figure.subplots().plot(np.arange(30_000))
    page = Page("", "")
    page.figure(lambda _: figure, "Many.")

    read = Reader(page.body())
    assert read.count("svg") == 0
    assert read.count("img") == 2  # for wide windows and for narrow ones


def test_plots_of_many_bars_or_marks_become_pictures_of_the_same_size() -> None:
    def width(count: int) -> float:
        figure = Figure(figsize=(6, 3))
        axes = figure.subplots()
        axes.bar(range(count), [1] * count)
        axes.set(xlim=(0, 10), ylim=(0, 1))
        page = Page("", "")
        page.figure(lambda _: figure, "")
        found, _ = [a["width"] for tag, a in Reader(page.body()).tags if tag in ("svg", "img")]
        return float(str(found).removesuffix("pt")) * (96 / 72 if "pt" in str(found) else 1)

    assert width(2_000) == pytest.approx(width(20), abs=3)


def test_plots_are_drawn_for_wide_windows_and_for_narrow_ones() -> None:
    def draw(width: float) -> Figure:
        return Figure(figsize=(width, 2))

    page = Page("", "")
    page.figure(draw, "")

    tags = Reader(page.body()).tags
    assert [a["class"] for tag, a in tags if tag == "div"] == ["wide", "narrow"]
    widths = [float(str(a["width"]).removesuffix("pt")) / 72 for tag, a in tags if tag == "svg"]
    assert widths == [pytest.approx(WIDE), pytest.approx(NARROW)]


def test_a_matrix_numbers_its_columns_and_shades_its_cells() -> None:
    page = Page("", "")
    page.matrix(["kit fox", "red fox"], np.array([[3, 1], [0, 1_200]]), "Images.")

    read = Reader(page.body())
    texts = [text.strip() for text in read.texts if text.strip()]
    assert texts == ["1", "2", "kit fox", "1", "3", "1", "red fox", "2", "1200", "Images."]
    shades = [a.get("style") for tag, a in read.tags if tag == "td"]
    assert shades == ["--share: 75%", "--share: 25%", None, "--share: 100%"]


def test_the_body_of_a_written_page_folds_into_another(tmp_path: Path) -> None:
    inner = Page("Inner", "About.")
    inner.paragraph("</main> is escaped")
    inner.write(tmp_path / "inner.html")
    outer = Page("Outer", "")
    outer.folded(html.body(tmp_path / "inner.html"), title="inner", note="3 s", anchor="task-a")

    read = Reader(outer.body())

    assert html.body(tmp_path / "inner.html").strip() == inner.body()
    assert ("div", {"id": "task-a"}) in read.tags
    assert "</main> is escaped" in read.texts
