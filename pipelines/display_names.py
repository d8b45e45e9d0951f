"""Short names of tasks, for Kubeflow's graph: it shows some twenty characters of each."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from pipelines.steps import PRETRAINING_TITLES, STEPS
from pipelines.tasks import Task

LONGEST = 20
_SHORT = {
    "again, large": "again+",
    "finetune": "tune",
    "multi-task": "multi",
    "pretrain": "pre",
    "pseudo label": "pseudo",
    "scratch": "scr",
}


def display_names(tasks: Sequence[Task]) -> dict[str, str]:
    """Return a display name of each task by its name: unique, and at most `LONGEST` characters.

    It says what distinguishes the task from the pipeline's others: the way to pretrain and the
    step, then what a recipe has several of: `WT again · resnet10t s1`. Words are shortened if one
    of the names would be too long.
    """
    words = [{name: name for name in each} for each in _vocabularies(tasks)]
    names = {task.name: _display_name(task, *words) for task in tasks}
    if _fit(names.values()):
        return names
    words = [dict(_prefixes(each)) for each in _vocabularies(tasks)]
    names = {task.name: _display_name(task, *words, _SHORT) for task in tasks}
    return names if _fit(names.values()) else dict(_numbered(names))


def _vocabularies(tasks: Sequence[Task]) -> Iterator[set[str]]:
    """Yield the backbones, the variants and the seeds, each if there are several."""
    names = [task.candidate for task in tasks]
    backbones = {name.backbone for name in names if name.backbone}
    seeds = {f"s{name.seed}" for name in names if name.seed is not None}
    yield backbones if len(backbones) > 1 else set()
    yield {name.variant for name in names if name.variant}
    yield seeds if len(seeds) > 1 else set()


def _display_name(
    task: Task,
    backbones: Mapping[str, str],
    variants: Mapping[str, str],
    seeds: Mapping[str, str],
    short: Mapping[str, str] | None = None,
) -> str:
    name, title = task.candidate, STEPS[task.step].title
    what = [PRETRAINING_TITLES.get(name.pretraining, ""), title]
    if short:
        what = [" ".join(short.get(word, word) for word in _words(each)) for each in what]
    of = [backbones.get(name.backbone), variants.get(name.variant), seeds.get(f"s{name.seed}")]
    parts = (" ".join(filter(None, each)) for each in (what, of))
    return (" " if short else " · ").join(filter(None, parts))


def _words(title: str) -> list[str]:
    return [title] if title in _SHORT else title.split()


def _prefixes(words: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield for each word its shortest beginning that no other has, of three letters at least."""
    for word in words:
        others = [other for other in words if other != word]
        for length in range(3, len(word) + 1):
            if not any(other.startswith(word[:length]) for other in others):
                break
        yield word, word[:length] if len(word) > 3 else word


def _fit(names: Collection[str]) -> bool:
    return len(set(names)) == len(names) and all(len(name) <= LONGEST for name in names)


def _numbered(names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for number, (task, name) in enumerate(names.items()):
        tail = f" {number}"
        yield task, name if len(name) <= LONGEST else name[: LONGEST - len(tail)] + tail
