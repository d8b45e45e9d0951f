"""Draws the graph of a run as SVG: what ran, what came from the cache, what failed."""

import html
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from components.shared.reports.titles import Name
from pipelines.run.record import Status, TaskRecord, duration, pretraining_titles
from pipelines.steps import STEPS

_WIDTH, _HEIGHT = 144, 52  # of a task, in pixels
_GAP_X, _GAP_Y = 18, 14
_LONGEST_TITLE, _LONGEST_TEXT = 16, 20  # characters that fit into a task
_COLORS = {"ran": "#0b7285", "cached": "#8fa1b0", "failed": "#c92a2a"}
_OTHER_COLOR = "#ced6dd"
# The status to show for several tasks, by priority.
_URGENCY: tuple[Status, ...] = (
    "failed",
    "cancelled",
    "running",
    "pending",
    "waiting",
    "skipped",
    "ran",
    "cached",
)


@dataclass(frozen=True, slots=True)
class _Node:
    """A task, or those that differ by their seed alone."""

    tasks: Sequence[TaskRecord]
    name: str
    step: str
    candidate: Name
    dependencies: Sequence[str]
    status: Status


@dataclass(frozen=True, slots=True)
class _Slot:
    """A position in a layer: a task's, or one that a long edge passes through."""

    task: str
    is_task: bool


def draw_graph(tasks: Sequence[TaskRecord]) -> str:
    """Return the graph as an SVG element; each task links to the anchor `task-<name>`.

    Tasks of a step share a column, and those that differ only by seed are one. An edge is left out
    if a longer path implies it: those from the images, which nearly every task reads, would cover
    everything.
    """
    columns = _columns(tasks)
    # A step's column comes after those of the steps that it reads.
    folded = sorted(_folded(tasks), key=lambda node: columns[node.name])
    dependencies = _reduced({node.name: node.dependencies for node in folded})
    layers, paths = _layers(folded, dependencies, columns)
    rows = max(map(len, layers))
    positions = {
        slot: (
            column * (_WIDTH + _GAP_X) + 1,
            (row + (rows - len(layer)) / 2) * (_HEIGHT + _GAP_Y) + 1,
        )
        for column, layer in enumerate(layers)
        for row, slot in enumerate(layer)
    }
    width = len(layers) * (_WIDTH + _GAP_X) - _GAP_X + 2
    height = rows * (_HEIGHT + _GAP_Y) - _GAP_Y + 2
    edges = "".join(f'<path d="{_curve([positions[slot] for slot in path])}"/>' for path in paths)
    titles = pretraining_titles(tasks)
    nodes = "".join(_draw(node, *positions[_Slot(node.name, True)], titles) for node in folded)
    return (
        f'<svg viewBox="0 0 {width} {height:g}" style="min-width: {0.67 * width:.0f}px; '
        f'width: {width}px" role="img" aria-label="graph of the tasks">'
        f'<g fill="none" stroke="#b9c5cf" stroke-width="1.5">{edges}</g>{nodes}</svg>'
    )


def _folded(tasks: Sequence[TaskRecord]) -> list[_Node]:
    """Return the nodes; each has the name of its first task."""
    together: dict[tuple[str, Name], list[TaskRecord]] = {}
    for task in tasks:
        together.setdefault((task.step, replace(task.candidate, seed=None)), []).append(task)
    names = {task.name: group[0].name for group in together.values() for task in group}
    return [
        _Node(
            tasks=group,
            name=group[0].name,
            step=group[0].step,
            candidate=group[0].candidate if len(group) == 1 else candidate,
            dependencies=list(
                dict.fromkeys(names[name] for task in group for name in task.dependencies)
            ),
            status=min((task.status for task in group), key=_URGENCY.index),
        )
        for (_, candidate), group in together.items()
    ]


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
    tasks: Sequence[_Node],
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
    candidates: Mapping[str, Name],
) -> None:
    """Sort each column by the mean row of its slots' predecessors.

    On ties, candidates keep the order that they had before.
    """
    rows: dict[_Slot, float] = {}
    standing: dict[Name, float] = {}
    for layer in layers:
        keys = {}
        for slot in layer:
            before = [rows[source] for source in sources[slot]]
            candidate = candidates.get(slot.task, Name())
            keys[slot] = (sum(before) / max(1, len(before)), standing.get(candidate, 0.0))
        layer.sort(key=keys.__getitem__)
        rows |= {slot: (row + 0.5) / len(layer) for row, slot in enumerate(layer)}
        standing |= {candidates[slot.task]: rows[slot] for slot in layer if slot.is_task}


def _curve(positions: Sequence[tuple[float, float]]) -> str:
    def pieces() -> Iterator[str]:
        (x, y), *_ = positions
        middle = y + _HEIGHT / 2
        yield f"M{x + _WIDTH:g} {middle:g}"
        for number, (x, y) in enumerate(positions[1:], start=2):
            bend = _GAP_X / 2
            end = y + _HEIGHT / 2
            yield f"C{x - bend:g} {middle:g} {x - bend:g} {end:g} {x:g} {end:g}"
            if number < len(positions):
                yield f"H{x + _WIDTH:g}"
            middle = end

    return "".join(pieces())


def _draw(node: _Node, x: float, y: float, titles: Mapping[str, str]) -> str:
    color = _COLORS.get(node.status, _OTHER_COLOR)
    dash = "" if node.status in _COLORS else ' stroke-dasharray="4 3"'
    step = STEPS[node.step].title if node.step in STEPS else node.step
    title = _shortened(step, _LONGEST_TITLE)
    candidate = _shortened(node.candidate.title(titles), _LONGEST_TEXT)
    lines = (
        (17, 'font-weight="600" font-size="13" fill="#1b2733"', title),
        (31, 'font-size="11.5" fill="#1b2733"', candidate),
        (45, 'font-size="11.5" fill="#5d6c7b"', _note(node)),
    )
    texts = "".join(
        f'<text x="12" y="{height}" {style}>{html.escape(text)}</text>'
        for height, style, text in lines
    )
    shown = next(task for task in node.tasks if task.status == node.status)
    every = "\n".join(f"{task.name}: {task.status}" for task in node.tasks)
    return (
        f'<a href="#task-{html.escape(shown.name)}" transform="translate({x:g} {y:g})">'
        f"<title>{html.escape(every)}</title>"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="7" fill="#fff" stroke="{color}"{dash}/>'
        f'<path d="M6 0h-1a5 5 0 0 0 -5 5v{_HEIGHT - 10}a5 5 0 0 0 5 5h1z" fill="{color}"/>'
        f"{texts}</a>"
    )


def _note(node: _Node) -> str:
    """Return how a task ended and how long it took; of several, the mean."""
    counts, many = Counter(task.status for task in node.tasks), len(node.tasks)
    if len(counts) > 1:
        return f"{counts[node.status]} of {many} {node.status}"
    times = f"{many} × " if many > 1 else ""
    mean = duration(sum(task.seconds for task in node.tasks) / many)
    match node.status:
        case "ran":
            return times + mean
        case "cached":
            return f"{times}cached ({mean})"
        case status:
            return times + status


def _shortened(text: str, longest: int) -> str:
    """Keep the end of a long text: there, candidates differ."""
    return text if len(text) <= longest else f"…{text[1 - longest :]}"
