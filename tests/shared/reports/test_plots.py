import pytest

from components.shared.reports import plots
from components.shared.reports.plots import NARROW, WIDE


@pytest.mark.parametrize(
    ("count", "width", "columns", "rows"),
    [(1, WIDE, 1, 1), (3, WIDE, 3, 1), (4, WIDE, 3, 2), (1, NARROW, 1, 1), (3, NARROW, 1, 3)],
)
def test_panels_stand_side_by_side_where_they_fit(
    count: int, width: float, columns: int, rows: int
) -> None:
    figure, panels = plots.panels(count, width, 3)

    grid = panels[0].get_subplotspec().get_gridspec()
    assert (grid.ncols, grid.nrows, len(panels)) == (columns, rows, count)
    assert figure.get_figwidth() <= width


def test_legends_are_below_and_no_wider_than_the_figure() -> None:
    figure, panels = plots.panels(2, NARROW, 2)
    for axes in panels:
        for candidate in ("WT", "scratch", "efficientnet_b4, multi-task, " + "keywords" * 9):
            axes.plot([0, 1], [0, 1], label=candidate)

    plots.add_legend(figure)
    figure.draw_without_rendering()

    (legend,) = figure.legends
    box, (width, _) = legend.get_window_extent(), figure.get_size_inches() * figure.dpi
    assert box.x0 >= 0 and box.x1 <= width
    assert box.y1 <= min(axes.get_window_extent().y0 for axes in panels)
    assert [text.get_text()[:9] for text in legend.get_texts()] == ["WT", "scratch", "efficient"]


def test_texts_are_cut_to_a_length() -> None:
    assert [plots.cut(text, 8) for text in ("goldfish", "great white")] == ["goldfish", "great w…"]
