"""What a run on a cluster is started from: a compiled file, parameters, and a version's name."""

import hashlib
import subprocess
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from components.shared.stage.fingerprint import ROOT
from pipelines import task_checks
from pipelines.cluster import limits
from pipelines.run import graph
from pipelines.run.graph import Graph
from pipelines.steps import field_name

_LONGEST_NAME = 60
_LONGEST_DESCRIPTION = 255  # of a run, in KFP's database


@dataclass(frozen=True, slots=True)
class Submission:
    """A run to start.

    Attributes:
        file: The compiled pipeline.
        graph: The same, with the values of the form.
        name: The run's name: what distinguishes it, and the time.
        description: The run's: all that distinguishes it, and what the pipeline is for.
        version: The version's name.
        uncached: The tasks that must not come from KFP's cache. KFP honours this only in runs
            started from a file, not from an uploaded version.
    """

    file: Path
    graph: Graph
    name: str
    description: str
    version: str
    uncached: frozenset[str]


def prepare(
    file: Path,
    overrides: Sequence[str],
    rerun: Sequence[str] = (),
    cache: bool = True,
    title: str = "",
) -> Submission:
    """Prepare a run.

    Args:
        file: A compiled pipeline; rewritten if tasks must not come from the cache.
        overrides: Pipeline parameters, as `name=value`.
        rerun: Stages, steps and tasks to rerun, with all their dependents.
        cache: Whether outputs of earlier runs may be reused at all.
        title: The run's name if nothing else distinguishes it (default: the pipeline's).

    Raises:
        UserError: An override is invalid, `rerun` has an unknown name, or there are too many tasks.
    """
    pipeline = graph.read(file, overrides)
    task_checks.check(pipeline.tasks)
    limits.check(file)
    version = version_name(file)
    summary = pipeline.description.partition("\n\n")[0]
    changes = [*(f"rerun {name}" for name in rerun), *([] if cache else ["no cache"]), *overrides]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    fields = [name for name in rerun if _field(name) in pipeline.form]
    overrides = [*overrides, *(f"{_field(name)}={now}" for name in fields)]
    uncached = {
        task
        for name in rerun
        if name not in fields
        for task in graph.named(pipeline, name, "--rerun")
    }
    if not cache:
        uncached = {task.name for task in pipeline.tasks}
    if uncached:
        _turn_caching_off(file, uncached)
    return Submission(
        file,
        graph.read(file, overrides),
        _run_name(changes, title or pipeline.name),
        _shortened("\n".join([*changes, summary]), _LONGEST_DESCRIPTION),
        version,
        frozenset(uncached),
    )


def _run_name(changes: Sequence[str], title: str) -> str:
    """Return a name for a run: lists cut it, so what distinguishes it comes first.

    Args:
        changes: What it does differently from others, such as `finetune_epochs=2`; where the data
            set is, every run says.
        title: What to call it if that is nothing.
    """
    changes = [change for change in changes if not change.startswith("dataset=")]
    now = time.strftime("%d %b %H:%M").removeprefix("0")
    return f"{_shortened(', '.join(changes) or title, _LONGEST_NAME)} · {now}"


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def version_name(file: Path) -> str:
    """Return a name for a compiled pipeline: the commit, and a hash if the tree differs."""
    try:
        commit = _git("rev-parse", "--short=7", "HEAD")
        changed = _git("status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):  # an archive of the project, not a repository
        return f"content-{digest(file)}"
    return f"{commit}-{digest(file)}" if changed else commit


def digest(file: Path) -> str:
    """Return a short hash of a file's content."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:8]


def _git(*argv: str) -> str:
    command = ["git", "-C", str(ROOT), *argv]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _field(name: str) -> str:
    return field_name(name.replace("-", "_"), "rerun")


def _turn_caching_off(file: Path, tasks: Collection[str]) -> None:
    spec, *platforms = graph.documents(file)
    for name in tasks:
        spec["root"]["dag"]["tasks"][name]["cachingOptions"] = {}
    file.write_text(yaml.safe_dump_all([spec, *platforms], sort_keys=True))
