"""A stage's HTML report: self-contained, and safe to show whatever the web's texts hold.

Every text is escaped here and nowhere else; pictures and plots are embedded. KFP shows the page in
a sandboxed frame, and `pipelines/report.py` joins the pages of a run.
"""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.shared import storage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
:root { color-scheme: light; --ink: #1c2733; --soft: #5b6b7b; --line: #dde4ea; --accent: #0b7285 }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); margin: 0; background: #fff }
main { max-width: 1080px; margin: 0 auto; padding: 24px 20px 48px }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 19px; margin: 36px 0 8px }
p { margin: 8px 0; max-width: 46em } .soft, figcaption { color: var(--soft) }
table { border-collapse: collapse; margin: 12px 0; font-variant-numeric: tabular-nums }
th, td { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); text-align: left }
td.number, th.number { text-align: right }
figure { margin: 12px 0; overflow-x: auto } figure svg, figure img { max-width: 100%; height: auto }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 14px }
.card { border: 1px solid var(--line); border-radius: 8px; overflow: hidden; font-size: 13px }
.card img { width: 100%; aspect-ratio: 1; object-fit: cover; display: block; background: #eef2f5 }
.card div { padding: 6px 10px } .card div.title { font-weight: 600; padding-bottom: 0 }
.bar { background: linear-gradient(90deg, #c3e6ec var(--share), transparent 0) }
"""


@dataclass(frozen=True, slots=True)
class Card:
    """A picture with a title and lines below it.

    Attributes:
        image: The encoded picture (JPEG or PNG).
        title: Shown in bold.
        lines: Each a text, or a text and a share in 0 … 1 that is drawn as a bar behind it.
    """

    image: bytes
    title: str
    lines: Sequence[str | tuple[str, float]]


class Page:
    """A page built from top to bottom, written when complete."""

    def __init__(self, title: str, summary: str) -> None:
        """Begin a page with its heading and a sentence on what it shows."""
        self._title = title
        self._parts = [f"<h1>{html.escape(title)}</h1>\n<p class=soft>{html.escape(summary)}</p>"]

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Add a paragraph of plain text."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Add a table; numbers are aligned to the right, ints get thousands separators.

        A cell that is a text and a share in 0 … 1 gets a bar behind it, as a card's line does.
        """
        cells = [[_cell(value, "td") for value in row] for row in rows]
        numeric = [isinstance(value, int | float) for value in rows[0]] if rows else []
        heads = [
            _cell(column, "th", number=i < len(numeric) and numeric[i])
            for i, column in enumerate(columns)
        ]
        lines = ["".join(row) for row in [heads, *cells]]
        body = "\n".join(f"<tr>{line}</tr>" for line in lines)
        self._parts.append(f"<figure><table>\n{body}\n</table></figure>")

    def figure(self, figure: "Figure", caption: str) -> None:
        """Add a matplotlib figure as SVG (PNG where it holds thousands of points)."""
        buffer = io.BytesIO()
        points = sum(np.size(line.get_xdata()) for axes in figure.axes for line in axes.get_lines())
        if points > 20_000 or any(len(axes.images) > 0 for axes in figure.axes):
            figure.savefig(buffer, format="png", dpi=144, bbox_inches="tight")
            drawing = f'<img alt="" src="{_data_uri(buffer.getvalue())}">'
        else:
            metadata = {"Date": None, "Creator": None}
            figure.savefig(buffer, format="svg", bbox_inches="tight", metadata=metadata)
            drawing = buffer.getvalue().decode()
            drawing = drawing[drawing.index("<svg") :]
        self._parts.append(
            f"<figure>{drawing}<figcaption>{html.escape(caption)}</figcaption></figure>"
        )

    def cards(self, cards: Sequence[Card]) -> None:
        """Add a grid of pictures."""
        self._parts.append(f"<div class=cards>\n{''.join(map(_card, cards))}</div>")

    def write(self, path: Path) -> None:
        """Write the page to `path`, complete or not at all."""
        body = "\n".join(self._parts)
        page = (
            f"<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>"
            f'<meta name=viewport content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self._title)}</title><style>{STYLE}</style></head>\n"
            f"<body><main>\n{body}\n</main></body></html>\n"
        )
        with storage.complete(path) as temporary:
            temporary.write_text(page)


def _cell(value: object, tag: str, *, number: bool = False) -> str:
    if isinstance(value, tuple):
        text, share = value
        bar = f' class=bar style="--share: {100 * share:.0f}%"'
        return f"<{tag}{bar}>{html.escape(text)}</{tag}>"
    number = number or (isinstance(value, int | float) and not isinstance(value, bool))
    match value:
        case bool():
            text = str(value).lower()
        case int():
            text = f"{value:,}"
        case float():
            text = f"{value:.4g}"
        case _:
            text = str(value)
    return f"<{tag}{' class=number' if number else ''}>{html.escape(text)}</{tag}>"


def _card(card: Card) -> str:
    lines = []
    for line in card.lines:
        text, share = line if isinstance(line, tuple) else (line, None)
        bar = "" if share is None else f' class=bar style="--share: {100 * share:.0f}%"'
        lines.append(f"<div{bar}>{html.escape(text)}</div>")
    return (
        f'<div class=card><img alt="" src="{_data_uri(card.image)}">'
        f"<div class=title>{html.escape(card.title)}</div>{''.join(lines)}</div>\n"
    )


def _data_uri(image: bytes) -> str:
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
