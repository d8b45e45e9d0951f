"""What a run would do, and why, given what is in the cache; nothing is run."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.shared.stage.errors import UserError
from pipelines.engine.cache import Cache, Entry
from pipelines.run import changes
from pipelines.run.graph import Graph, Task

_MOST_NAMED = 2  # tasks in a reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """What would happen to a task.

    Attributes:
        task: The task.
        key: Its cache key; empty if it depends on what others will make.
        reasons: Why it would run; empty if its outputs come from the cache.
    """

    task: Task
    key: str
    reasons: tuple[str, ...]


def planned(pipeline: Graph, cache: Cache) -> list[Verdict]:
    """Return what would happen to each task, in the order in which they run."""
    verdicts: list[Verdict] = []
    found: dict[str, Entry] = {}
    for task in pipeline.tasks:
        inputs = {
            name: found[source.task].digests[source.output]
            for name, source in task.inputs.items()
            if source.task in found
        }
        complete = len(inputs) == len(task.inputs)
        key = cache.key(task, inputs) if complete else ""
        entry = cache.find(task, key) if key and task.enable_cache else None
        if entry is not None:
            found[task.name] = entry
        reasons = () if entry else tuple(_reasons(task, inputs, cache.latest(task)))
        verdicts.append(Verdict(task, key, reasons))
    return verdicts


def lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield a line for each task."""
    width = max(len(verdict.task.name) for verdict in verdicts)
    for verdict in verdicts:
        what = "; ".join(verdict.reasons) or "from the cache"
        yield f"{'+' if verdict.reasons else '='} {verdict.task.name:{width}}  {what}"


def check_cached(pipeline: Graph, verdicts: Sequence[Verdict], only: Collection[str]) -> None:
    """Refuse to run tasks alone whose inputs are not in the cache.

    Raises:
        UserError: There are such inputs.
    """
    tasks = {task.name: task for task in pipeline.tasks}
    needed: set[str] = set()
    waiting = list(only)
    while waiting:
        before = set(tasks[waiting.pop()].dependencies) - needed
        needed |= before
        waiting += before
    missing = [
        verdict.task.name
        for verdict in verdicts
        if verdict.reasons and verdict.task.name in needed - set(only)
    ]
    if missing:
        raise UserError(f"--only: what it reads is not in the cache: {', '.join(missing)} must run")


def _reasons(task: Task, inputs: Mapping[str, str], before: Entry | None) -> Iterator[str]:
    """Yield why a task runs, given its newest entry and the digests of inputs that are known."""
    if not task.enable_cache:
        yield "caching is off"
        return
    if before is None:
        yield "has not run here"
        return
    if not before.made_from:
        yield "ran before the cache kept what outputs are made from"
        return
    found = [*_changes(task, inputs, before.made_from)]
    running = {source.task for name, source in task.inputs.items() if name not in inputs}
    if len(running) > _MOST_NAMED:
        found.append(f"{len(running)} tasks that it reads run")
    else:
        found += [f"{name} runs" for name in sorted(running)]
    yield from found or ["its outputs are gone, or damaged"]


def _changes(task: Task, inputs: Mapping[str, str], before: Mapping[str, Any]) -> Iterator[str]:
    if task.image != before["image"]:
        yield f"code {changes.images(before['image'], task.image)}"
    if list(task.command) != before["command"]:
        yield f"command {changes.words(' '.join(before['command']), ' '.join(task.command))}"
    yield from changes.values(before["parameters"], task.parameters)
    yield from changes.values(before["outputs"], task.outputs)
    for name, source in task.inputs.items():
        if name not in before["inputs"]:
            yield f"reads {source.output} of {source.task} now"
        elif name in inputs and inputs[name] != before["inputs"][name]:
            yield f"{source.output} of {source.task} changed"
    for name in before["inputs"].keys() - task.inputs.keys():
        yield f"does not read {name} any more"
