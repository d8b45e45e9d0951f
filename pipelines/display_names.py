"""Short names of tasks, for Kubeflow's graph: it shows some twenty characters of each."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from pipelines.steps import STEPS
from pipelines.tasks import Task, pretraining_titles

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
    step, then what a recipe has several of: `WT again · resnet10t s1`. If one would be too long,
    all are shortened, each as far as it must.
    """
    titles = pretraining_titles(tasks)
    backbones, variants, seeds = _vocabularies(tasks)
    whole = {name: name for name in (*backbones, *variants, *seeds)}
    names = {task.name: _display_name(task, titles, whole, {}) for task in tasks}
    if _fit(names.values()):
        return names
    for task in tasks:
        for length in range(LONGEST, 2, -1):
            words = whole | _cut(backbones, length) | _cut(variants, length)
            names[task.name] = _display_name(task, titles, words, _SHORT)
            if len(names[task.name]) <= LONGEST:
                break
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
    task: Task, titles: Mapping[str, str], words: Mapping[str, str], short: Mapping[str, str]
) -> str:
    name = task.candidate
    what = [titles.get(name.pretraining, ""), STEPS[task.step].title]
    of = [words.get(each, "") for each in (name.backbone, name.variant, f"s{name.seed}")]
    if short:
        whole = [word for each in what for word in ([each] if each in short else each.split())]
        return " ".join(filter(None, [*(short.get(word, word) for word in whole), *of]))
    return " · ".join(filter(None, (" ".join(filter(None, part)) for part in (what, of))))


def _cut(words: Collection[str], length: int) -> dict[str, str]:
    """Return each word's beginning: so many letters, or as many as no other word begins with."""
    cut = {}
    for word in words:
        others = [other for other in words if other != word]
        own = (
            n for n in range(length, len(word)) if not any(o.startswith(word[:n]) for o in others)
        )
        cut[word] = word[: next(own, len(word))].rstrip("-")
    return cut


def _fit(names: Collection[str]) -> bool:
    return len(set(names)) == len(names) and all(len(name) <= LONGEST for name in names)


def _numbered(names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for number, (task, name) in enumerate(names.items()):
        tail = f" {number}"
        yield task, name[: LONGEST - len(tail)] + tail
