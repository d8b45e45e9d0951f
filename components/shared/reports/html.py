"""A stage's HTML report: self-contained, and safe whatever the web's texts contain.

Every text is escaped here and nowhere else; pictures and plots are embedded. KFP shows the page in
a sandboxed frame, and `pipelines/report.py` joins the pages of a run.
"""

import base64
import html
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.shared.reports.plots import NARROW, WIDE
from components.shared.storage import filesystem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = Path(__file__).with_name("style.css")
_RESOLUTION = 144  # dots per inch of plots that are embedded as PNG
_MOST_POINTS = 5_000  # beyond that, an SVG is larger than a PNG and slow to draw
_POINTS_OF_A_MARK = 8  # a marker or a bar takes as much text as this many points of a line
_LONG_TEXT, _LONG_WORD = 60, 20  # characters in a cell from which its column is kept wide
_THUMBNAIL = 176  # pixels of the short side of a card's picture
_CONTENTS = 4  # sections from which a page has a list of them


@dataclass(frozen=True, slots=True)
class Card:
    """A picture with a title and lines below it.

    Attributes:
        image: The encoded picture (JPEG or PNG), shown small; None where there is none.
        title: Shown in bold.
        lines: Each a text, or a text and a share in 0 … 1 that is drawn as a bar behind it.
        id: What the image is called, so that it can be found; shown last.
    """

    image: bytes | None
    title: str
    lines: Sequence[str | tuple[str, float]]
    id: str = ""


class Page:
    """A page, built from top to bottom."""

    def __init__(self, title: str, summary: str) -> None:
        """Begin a page with its heading and a summary."""
        self._title, self._headings = title, dict[str, str]()
        self._parts = [f"<h1>{html.escape(title)}</h1>\n<p class=soft>{html.escape(summary)}</p>"]

    def heading(self, text: str) -> None:
        """Begin a section."""
        anchor = re.sub(r"\W+", "-", f"{self._title} {text}").lower()
        self._headings[anchor] = text
        self._parts.append(f'<h2 id="{html.escape(anchor)}">{html.escape(text)}</h2>')

    def paragraph(self, text: str) -> None:
        """Add a paragraph of plain text."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def preformatted(self, text: str) -> None:
        """Add preformatted lines, such as those of a log."""
        self._parts.append(f"<pre>{html.escape(text)}</pre>")

    def stats(self, stats: Sequence[tuple[str, str]]) -> None:
        """Add the most important numbers: each a value and its description."""
        tiles = (
            f"<div><b>{html.escape(value)}</b>{html.escape(name)}</div>" for value, name in stats
        )
        self._parts.append(f"<div class=stats>{''.join(tiles)}</div>")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Add a table; numbers are aligned to the right, ints get thousands separators.

        One without rows is left out. A cell that is a text and a share in 0 … 1 has a bar behind
        it, like a card's line.
        """
        if not rows:
            return
        cells = [[row[i] for row in rows if row[i] != ""] for i in range(len(columns))]
        numeric = [bool(column) and all(map(_is_number, column)) for column in cells]
        head = "".join(map(_head, columns, numeric))
        body = "\n".join(f"<tr>{''.join(map(_cell, row, numeric))}</tr>" for row in rows)
        self._parts.append(
            f"<figure><table><thead><tr>{head}</tr></thead>\n"
            f"<tbody>\n{body}\n</tbody></table></figure>"
        )

    def figure(self, draw: Callable[[float], "Figure"], caption: str) -> None:
        """Add a matplotlib figure, once for wide windows and once for narrow ones.

        Scaling one drawing down to the 400 pixels that KFP's UI has for a page would make its texts
        too small to read, so the window's width chooses between two.

        Args:
            draw: Draws the figure at a given width in inches (at most; it may be narrower).
            caption: Shown below it.
        """
        windows = {"wide": _plot(draw(WIDE)), "narrow": _plot(draw(NARROW))}
        self.drawing(
            "".join(f"<div class={name}>{plot}</div>" for name, plot in windows.items()), caption
        )

    def drawing(self, svg: str, caption: str) -> None:
        """Add an SVG element as it is, its texts already escaped."""
        self._parts.append(f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>")

    def matrix(self, names: Sequence[str], counts: NDArray[np.int64], caption: str) -> None:
        """Add a square matrix of counts; columns have the numbers of the rows, which have names.

        Args:
            names: Those of the rows.
            counts: (N, N) Shown where they are not 0, darker the larger their share of the row.
            caption: Shown below it.
        """
        head = "".join(f"<th>{number}" for number in range(1, len(names) + 1))
        shares = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
        rows = (
            f"<tr><th>{html.escape(name)} <b>{number}</b>"
            + "".join(
                f'<td style="--share: {share:.0f}%">{count}' if count else "<td>"
                for count, share in zip(row, of_row, strict=True)
            )
            for number, (name, row, of_row) in enumerate(
                zip(names, counts.tolist(), shares.tolist(), strict=True), start=1
            )
        )
        body = "\n".join(rows)
        self.drawing(f"<table class=matrix><tr><th>{head}\n{body}\n</table>", caption)

    def cards(self, cards: Sequence[Card]) -> None:
        """Add a grid of pictures."""
        self._parts.append(f"<div class=cards>\n{''.join(map(_card, cards))}</div>")

    def included(self, page: str, *, anchor: str) -> None:
        """Add the body of another page to this section.

        Args:
            page: As returned by `body`.
            anchor: Its anchor, for links on this page.
        """
        self._parts.append(f'<section id="{html.escape(anchor)}">\n{page}\n</section>')

    def folded(self, page: str, *, title: str, note: str, anchor: str) -> None:
        """Add the body of another page, unfolded by a click on its title.

        Args:
            page: As returned by `body`.
            title: What to click on.
            note: Shown beside the title.
            anchor: Its anchor, for links on this page.
        """
        self._parts.append(
            f"<details><summary>{html.escape(title)}<small>{html.escape(note)}</small></summary>"
            # A link to an anchor inside unfolds it; one to the fold itself would not.
            f'<div id="{html.escape(anchor)}">\n{page}\n</div></details>'
        )

    def body(self) -> str:
        """Return the page without its frame, to be folded into another one."""
        return "\n".join(self._parts)

    def _with_contents(self) -> str:
        """Return the page with links to its sections, if it has many."""
        links = "".join(f'<a href="#{html.escape(anchor)}">{html.escape(text)}</a>'
                        for anchor, text in self._headings.items())  # fmt: skip
        contents = [f"<nav>{links}</nav>"] if len(self._headings) >= _CONTENTS else []
        return "\n".join([self._parts[0], *contents, *self._parts[1:]])

    def write(self, path: Path) -> None:
        """Write the page to `path`, complete or not at all."""
        page = (
            f"<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>"
            f'<meta name=viewport content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self._title)}</title><style>\n{_STYLE.read_text()}</style></head>\n"
            f"<body><main>\n{self._with_contents()}\n</main></body></html>\n"
        )
        with filesystem.complete(path) as temporary:
            temporary.write_text(page)


def body(path: Path) -> str:
    """Return the body of a page written by `Page`, without the links to its sections."""
    page = path.read_text()
    page = page[page.index("<main>") + len("<main>") : page.rindex("</main>")]
    return re.sub(r"<nav>.*?</nav>\n", "", page, count=1)


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"[+−-]?\d[\d,.]*( ?%)?", value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _head(text: str, numeric: bool) -> str:
    return f"<th{' class=number' * numeric}>{html.escape(text)}</th>"


def _cell(value: object, numeric: bool) -> str:
    attribute = " class=number" * numeric
    match value:
        case (str(text), float(share)):
            attribute = _bar(share)
        case bool():
            text = str(value).lower()
        case int():
            text = f"{value:,}"
        case float():
            text = f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
        case _:
            text = str(value)
            attribute = attribute or " class=long" * _is_long(text)
    return f"<td{attribute}>{html.escape(text)}</td>"


def _is_long(text: str) -> bool:
    return len(text) > _LONG_TEXT or any(len(word) > _LONG_WORD for word in text.split())


def _bar(share: float) -> str:
    return f' class=bar style="--share: {100 * share:.0f}%"'


def _card(card: Card) -> str:
    lines = []
    for line in card.lines:
        text, bar = (line[0], _bar(line[1])) if isinstance(line, tuple) else (line, "")
        lines.append(f"<div{bar}>{html.escape(text)}</div>")
    image, kind = "", '"card plain"'
    if card.image is not None:
        image, kind = f'<img alt="" src="{_data_uri(_thumbnail(card.image))}">', "card"
    return (
        f"<div class={kind}>{image}"
        f"<div class=title>{html.escape(card.title)}</div>{''.join(lines)}"
        f"{f'<div class=id>{html.escape(card.id)}</div>' if card.id else ''}</div>\n"
    )


def _plot(figure: "Figure") -> str:
    """Return a figure as SVG, or as PNG where it holds thousands of points."""
    import matplotlib  # takes half a second, which pages without plots save

    buffer = io.BytesIO()
    if _points(figure) > _MOST_POINTS:
        figure.savefig(buffer, format="png", dpi=_RESOLUTION)
        return _plot_image(buffer.getvalue())
    metadata = {"Date": None, "Creator": None}
    # Texts as texts, in the page's font; the same ids for the same figure.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "webly"}):
        figure.savefig(buffer, format="svg", metadata=metadata)
    drawing = buffer.getvalue().decode()
    return _slim(drawing[drawing.index("<svg") :])


def _points(figure: "Figure") -> int:
    """Return about how many points of lines an SVG of the figure would hold."""
    points = 0
    for axes in figure.axes:
        for line in axes.get_lines():
            marked = line.get_marker() not in ("", "None", None)
            points += np.size(line.get_xdata()) * (_POINTS_OF_A_MARK if marked else 1)
        for collection in axes.collections:
            points += sum(np.size(path.vertices) // 2 for path in collection.get_paths())
        points += _POINTS_OF_A_MARK * len(axes.patches)
    return points


def _plot_image(png: bytes) -> str:
    """Embed a plot at the size of its SVG; the size in pixels is at the start of a PNG."""
    width = int.from_bytes(png[16:20], "big") * 96 // _RESOLUTION
    return f'<img alt="" width={width} src="{_data_uri(png)}">'


def _slim(svg: str) -> str:
    """Return matplotlib's SVG at a third of its size: in tenths of points, in the page's font."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r" font-family: [^;\"]*;", "", svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*"', "", svg)
    coordinates = r' (?:d|x|y)="[^"]*"'
    svg = re.sub(coordinates, lambda found: re.sub(r"(\.\d)\d+", r"\1", found[0]), svg)
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><")
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    bare, replaced = re.compile(r"<g>((?:[^<]|<(?!/?g[ >]))*)</g>"), 1
    while replaced:
        svg, replaced = bare.subn(r"\1", svg)
    return svg


def _thumbnail(content: bytes) -> bytes:
    """Return a picture downscaled to its displayed size: two dozen at full size take megabytes."""
    from PIL import Image  # pages without pictures need none

    image = Image.open(io.BytesIO(content))
    if min(image.size) <= _THUMBNAIL:
        return content
    scale = _THUMBNAIL / min(image.size)
    image.thumbnail((math.ceil(scale * image.width), math.ceil(scale * image.height)))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()


def _data_uri(image: bytes) -> str:
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
