"""Which tasks of a pipeline will run, and why, given what earlier runs have made.

KFP takes a task's outputs from an earlier run if image, command, resolved parameters, output types
and the *ids* of the input artifacts are the same. An id is new if and only if the task that makes
the artifact runs. So a task's identity is all of these, with its producers' identities instead of
the ids, and it runs unless an earlier run has completed a task of the same identity.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.run import changes
from pipelines.run.graph import Graph, Task, canonical


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier run.

    Attributes:
        name: Its name for users.
        graph: The pipeline that it ran, with the values of its form.
        made: The tasks whose outputs it has.
    """

    name: str
    graph: Graph
    made: frozenset[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What will happen to a task.

    Attributes:
        task: Its name.
        reasons: Why it will run; empty if its outputs are taken from an earlier run.
    """

    task: str
    reasons: tuple[str, ...]


def compare(graph: Graph, runs: Sequence[Earlier]) -> list[Verdict]:
    """Return what will happen to each task, in the order in which they run.

    Args:
        graph: The pipeline that is about to run.
        runs: Earlier runs; reasons refer to the first that has the task.
    """
    known: set[str] = set()
    for run in runs:
        identities = _identities(run.graph, run.name)
        known |= {
            identities[task.name]
            for task in run.graph.tasks
            if task.name in run.made and task.enable_cache
        }
    identities = _identities(graph, "")
    verdicts: list[Verdict] = []
    running: set[str] = set()
    for task in graph.tasks:
        reasons: tuple[str, ...] = ()
        if not task.enable_cache or identities[task.name] not in known:
            reasons = tuple(_reasons(task, runs, running))
            running.add(task.name)
        verdicts.append(Verdict(task.name, reasons))
    return verdicts


def lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield a line for each task, and a summary."""
    width = max(len(verdict.task) for verdict in verdicts)
    for verdict in verdicts:
        mark, what = (
            ("+", "runs: " + "; ".join(verdict.reasons)) if verdict.reasons else ("=", "cached")
        )
        yield f"{mark} {verdict.task:{width}}  {what}"
    yield f"{sum(bool(verdict.reasons) for verdict in verdicts)} of {len(verdicts)} tasks will run"


def _identities(graph: Graph, run: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for task in graph.tasks:
        inputs = {name: (found[source.task], source.output) for name, source in task.inputs.items()}
        # A task that runs without the cache shares its outputs with no other run.
        own = None if task.enable_cache else (run, task.name)
        command = [*task.command, *sorted(task.flags)]
        content = [task.image, command, task.parameters, task.outputs, inputs, own]
        found[task.name] = hashlib.sha256(canonical(content).encode()).hexdigest()
    return found


def _reasons(task: Task, runs: Sequence[Earlier], running: set[str]) -> Iterator[str]:
    if not task.enable_cache:
        yield "caching is off"
        return
    for run in runs:
        before = next((each for each in run.graph.tasks if each.name == task.name), None)
        if before is not None:
            break
    else:
        yield f"not in {runs[0].name}" if runs else "there is no earlier run"
        return
    found = [*_changes(task, before)]
    found += [f"{name} runs" for name in sorted({s.task for s in task.inputs.values()} & running)]
    if found:
        yield from found
    elif task.name not in run.made:
        yield f"{run.name} did not complete it"
    else:  # nothing has changed, so the task or one of its producers ran without the cache there
        yield f"{run.name} ran it, or a task that it needs, without the cache"


def _changes(task: Task, before: Task) -> Iterator[str]:
    if task.image != before.image:
        yield f"image {changes.images(before.image, task.image)}"
    if task.command != before.command:
        yield f"command {changes.words(' '.join(before.command), ' '.join(task.command))}"
    yield from changes.values(before.parameters, task.parameters)
    for name in sorted(before.flags ^ task.flags):
        yield f"{name} is {'no longer' if name in task.flags else 'now'} in the form"
    sources = [
        {name: f"{source.task}'s {source.output}" for name, source in each.inputs.items()}
        for each in (before, task)
    ]
    yield from changes.values(*sources)
    yield from changes.values(before.outputs, task.outputs)
