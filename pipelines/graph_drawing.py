"""Draws the graph of a run as SVG: what ran, what came from the cache, what failed."""

import html
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from components.shared.titles import candidate_title, step_title
from pipelines.record import TaskRecord

_WIDTH, _HEIGHT = 124, 52  # of a task, in pixels
_GAP_X, _GAP_Y = 28, 14
_LONGEST_TEXT = 20  # characters that fit into a task
_COLORS = {"ran": "#0b7285", "cached": "#8fa1b0", "failed": "#c92a2a"}
_OTHER_COLOR = "#ced6dd"


@dataclass(frozen=True, slots=True)
class _Slot:
    """A place in a layer: a task's, or one that a long edge passes through."""

    task: str
    is_task: bool


def draw_graph(tasks: Sequence[TaskRecord]) -> str:
    """Return the graph as an SVG element; each task links to the anchor `task-<name>`.

    Tasks of a step stand in one column. An edge is left out where a longer path says the same:
    the images, which nearly every task reads, would cover everything.
    """
    dependencies = _reduced({task.name: task.dependencies for task in tasks})
    columns = _columns(tasks)
    layers, paths = _layers(tasks, dependencies, columns)
    rows = max(map(len, layers))
    places = {
        slot: (
            column * (_WIDTH + _GAP_X) + 1,
            (row + (rows - len(layer)) / 2) * (_HEIGHT + _GAP_Y) + 1,
        )
        for column, layer in enumerate(layers)
        for row, slot in enumerate(layer)
    }
    width = len(layers) * (_WIDTH + _GAP_X) - _GAP_X + 2
    height = rows * (_HEIGHT + _GAP_Y) - _GAP_Y + 2
    edges = "".join(f'<path d="{_curve([places[slot] for slot in path])}"/>' for path in paths)
    nodes = "".join(_node(task, *places[_Slot(task.name, True)]) for task in tasks)
    return (
        f'<svg viewBox="0 0 {width} {height:g}" style="min-width: {0.7 * width:.0f}px; '
        f'width: {width}px" role="img" aria-label="graph of the tasks">'
        f'<g fill="none" stroke="#b9c5cf" stroke-width="1.5">{edges}</g>{nodes}</svg>'
    )


def _reduced(dependencies: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the transitive reduction; tasks come after what they depend on."""
    ancestors: dict[str, set[str]] = {}
    reduced = {}
    for task, before in dependencies.items():
        implied = set().union(*(ancestors[name] for name in before))
        reduced[task] = [name for name in before if name not in implied]
        ancestors[task] = implied | set(before)
    return reduced


def _columns(tasks: Sequence[TaskRecord]) -> dict[str, int]:
    """Return each task's column: the longest path to any task of its step."""
    steps = {task.name: task.step for task in tasks}
    columns: dict[str, int] = {}
    for task in tasks:
        before = [columns[steps[name]] + 1 for name in task.dependencies]
        columns[task.step] = max([columns.get(task.step, 0), *before])
    return {task.name: columns[task.step] for task in tasks}


def _layers(
    tasks: Sequence[TaskRecord],
    dependencies: Mapping[str, Sequence[str]],
    columns: Mapping[str, int],
) -> tuple[list[list[_Slot]], list[list[_Slot]]]:
    """Return the slots of each column from top to bottom, and the edges as paths through them.

    An edge over several columns passes through slots of its own (Sugiyama et al. 1981).
    """
    layers: list[list[_Slot]] = [[] for _ in range(max(columns.values()) + 1)]
    sources: dict[_Slot, list[_Slot]] = {}
    paths = []
    for task in tasks:
        slot = _Slot(task.name, True)
        sources[slot] = []
        layers[columns[task.name]].append(slot)
        for name in dependencies[task.name]:
            path = [_Slot(name, True)]
            for column in range(columns[name] + 1, columns[task.name]):
                path.append(_Slot(f"{name} {task.name} {column}", False))
                layers[column].append(path[-1])
            path.append(slot)
            paths.append(path)
            for start, end in itertools.pairwise(path):
                sources.setdefault(end, []).append(start)
    _order(layers, sources, {task.name: task.candidate for task in tasks})
    return layers, paths


def _order(
    layers: Sequence[list[_Slot]],
    sources: Mapping[_Slot, Sequence[_Slot]],
    candidates: Mapping[str, str],
) -> None:
    """Sort each column by the mean rows of what its slots come from.

    Where these are equal, candidates keep the order that they had before.
    """
    rows: dict[_Slot, float] = {}
    standing: dict[str, float] = {}
    for layer in layers:
        keys = {}
        for slot in layer:
            before = [rows[source] for source in sources[slot]]
            candidate = candidates.get(slot.task, "")
            keys[slot] = (sum(before) / max(1, len(before)), standing.get(candidate, 0.0))
        layer.sort(key=keys.__getitem__)
        rows |= {slot: (row + 0.5) / len(layer) for row, slot in enumerate(layer)}
        standing |= {candidates[slot.task]: rows[slot] for slot in layer if slot.is_task}


def _curve(places: Sequence[tuple[float, float]]) -> str:
    def pieces() -> Iterator[str]:
        (x, y), *_ = places
        middle = y + _HEIGHT / 2
        yield f"M{x + _WIDTH:g} {middle:g}"
        for number, (x, y) in enumerate(places[1:], start=2):
            bend = _GAP_X / 2
            end = y + _HEIGHT / 2
            yield f"C{x - bend:g} {middle:g} {x - bend:g} {end:g} {x:g} {end:g}"
            if number < len(places):
                yield f"H{x + _WIDTH:g}"
            middle = end

    return "".join(pieces())


def _node(task: TaskRecord, x: float, y: float) -> str:
    color = _COLORS.get(task.status, _OTHER_COLOR)
    dash = "" if task.status in _COLORS else ' stroke-dasharray="4 3"'
    note = task.status if task.status not in ("ran", "cached") else f"{task.seconds:.0f} s"
    if task.status == "cached":
        note = f"cached ({note})"
    lines = (
        (17, 'font-weight="600" font-size="13" fill="#1b2733"', step_title(task.step)),
        (31, 'font-size="11.5" fill="#1b2733"', candidate_title(task.candidate)),
        (45, 'font-size="11.5" fill="#5d6c7b"', note),
    )
    texts = "".join(
        f'<text x="12" y="{height}" {style}>{html.escape(_shortened(text))}</text>'
        for height, style, text in lines
    )
    return (
        f'<a href="#task-{html.escape(task.name)}" transform="translate({x:g} {y:g})">'
        f"<title>{html.escape(task.name)}: {task.status}</title>"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="7" fill="#fff" stroke="{color}"{dash}/>'
        f'<path d="M6 0h-1a5 5 0 0 0 -5 5v{_HEIGHT - 10}a5 5 0 0 0 5 5h1z" fill="{color}"/>'
        f"{texts}</a>"
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
