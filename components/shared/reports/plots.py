"""How plots are laid out, in a wide window and in a narrow one, such as a panel of KFP's UI."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches, of 96 pixels: a page's whole width; what 400 pixels leave beside a page's margins.
WIDE, NARROW = 10.8, 3.7
ACCENT, SOFT, GRID = "#0b7285", "#b6c2cc", "#e9edf1"
_WIDEST_PANEL = 8.4
_NARROWEST_PANEL = 3.2
LETTER = 0.085  # inches, of a text
_CLASSES_NAMED, _LETTERS_OF_A_CLASS = 40, 20  # more have no names; of one, at most
_LETTER_HEIGHT = 0.16  # inches
_KEY, _LINE = 0.6, 0.21  # inches of a legend: what is beside a text, a line


def panels(
    count: int, width: float, height: float, *, sharey: bool = False
) -> tuple["Figure", list["Axes"]]:
    """Return a figure and its panels, in as many columns as fit.

    Args:
        count: Number of panels.
        width: Of the window, in inches.
        height: Of a panel, in inches.
        sharey: Whether panels share their vertical axis.
    """
    from matplotlib.figure import Figure  # takes half a second, which pages without plots save

    columns = max(1, min(count, int(width / _NARROWEST_PANEL)))
    rows = math.ceil(count / columns)
    size = min(width, columns * _WIDEST_PANEL), rows * min(height, 0.8 * width)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharey=sharey, squeeze=False)
    for axes in grid.flat[count:]:
        axes.remove()
    for axes in grid.flat[:count]:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, list(grid.flat[:count])


def add_legend(figure: "Figure") -> None:
    """Add a legend of all panels below them; texts that are wider than the figure are cut."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(str(label), line)
    width, height = figure.get_size_inches()
    texts = [cut(text, int((width - _KEY) / LETTER)) for text in entries]
    columns = max(1, int(width / (_KEY + LETTER * max(map(len, texts)))))
    figure.set_figheight(height + _LINE * math.ceil(len(texts) / columns))
    figure.legend(
        list(entries.values()), texts, loc="outside lower left", ncols=columns, frameon=False
    )


def name_classes(axes: "Axes", names: Sequence[str], width: float) -> bool:
    """Name the classes below an axis, at 0, 1, …, if they are few; return whether they are.

    Args:
        axes: The panel.
        names: The classes' names, in the axis's order.
        width: Of the panel, in inches; where names would overlap, some are left out.
    """
    if len(names) > _CLASSES_NAMED:
        return False
    every = max(1, math.ceil(len(names) * _LETTER_HEIGHT / width))
    words = [cut(name, _LETTERS_OF_A_CLASS) for name in names[::every]]
    turned: Any = {"rotation": 40, "ha": "right"} if width > NARROW else {"rotation": 90}
    axes.set_xticks(range(0, len(names), every), words, fontsize=9, parse_math=False, **turned)
    return True


def cut(text: str, length: int) -> str:
    """Return a text of at most that many characters."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"
