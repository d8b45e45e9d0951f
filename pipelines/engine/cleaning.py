"""What in a run's folder is still needed, and what can be freed.

Nothing outside the folder is looked at: links are not followed, only what they point to in the
folder is kept.
"""

import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from components.shared.data import image_set
from components.shared.storage import formats
from pipelines.engine.cache import ENTRY

# The names of what a run leaves in the folders of each kind; what else lies there is others'.
_KEY = re.compile(r"[0-9a-f]{16}")
_STORED = re.compile(r"images/[^/]+/(parts/)?[^/]+\.(tar|parquet|part)|ingest/.+")
_WORK = re.compile(r"\w+-[0-9a-f]+")
_LOG = re.compile(r"[a-z0-9-]+\.log")
_CACHED = re.compile(r"\.?[0-9a-f]{64}\..+|lock|ingest")
# The kinds of what a run leaves, by their folders; all else in a run's folder is small.
KINDS = ("artifacts", "store", "checkpoints", "cache", "logs")


@dataclass(frozen=True, slots=True)
class Needed:
    """A task that a run has, or would have.

    Attributes:
        name: Its name.
        stage: Its stage.
        key: Its cache key, if it is done.
        done: Whether its outputs are there.
    """

    name: str
    stage: str
    key: str
    done: bool


def unneeded(folder: Path, tasks: Collection[Needed]) -> dict[str, list[Path]]:
    """Return the files and folders of each kind that none of the tasks needs.

    Args:
        folder: The run's folder, an absolute path.
        tasks: All tasks that are needed.

    Raises:
        UserError: Another version of webly wrote the images that are needed.
    """
    kept = {*_outputs(folder, tasks), *_linked(folder)}
    shards = [shard for outputs in kept for shard in _shards(outputs)]
    return {
        "artifacts": [path for path in _keys(folder) if path not in kept],
        "store": _of_store(folder, {shard.uri for shard in shards}, tasks),
        "checkpoints": _of_checkpoints(folder, tasks),
        "cache": _of_cache(folder, {shard.sha256 for shard in shards}),
        "logs": _of_logs(folder, {task.name for task in tasks}),
    }


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size if path.is_symlink() or path.exists() else 0
    return sum(
        (Path(above) / name).lstat().st_size for above, _, names in os.walk(path) for name in names
    )


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders, and the folders that are empty then."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        for above in list(path.parents)[:2]:
            if above.name not in KINDS and not any(above.iterdir()):
                above.rmdir()


def _outputs(folder: Path, tasks: Iterable[Needed]) -> Iterator[Path]:
    """Yield the folders of tasks' outputs; of tasks that have yet to run, the newest."""
    for task in tasks:
        of_task = folder / "artifacts" / task.name
        entries = list(of_task.glob(f"{task.key if task.done else '*'}/{ENTRY}"))
        if entries:
            yield max(entries, key=lambda path: path.stat().st_mtime).parent


def _linked(folder: Path) -> Iterator[Path]:
    """Yield the folders of outputs that links in the run's folder lead to."""
    artifacts = (folder / "artifacts").resolve()
    for above, folders, names in os.walk(folder):
        if Path(above) == folder:
            folders[:] = [name for name in folders if name not in KINDS]
        for link in filter(Path.is_symlink, (Path(above) / name for name in (*folders, *names))):
            target = link.resolve()
            if target.is_relative_to(artifacts):
                task, key, *_ = (*target.relative_to(artifacts).parts, "", "")
                yield folder / "artifacts" / task / key


def _shards(outputs: Path) -> Iterator[image_set.Shard]:
    for manifest in outputs.rglob("manifest.json"):
        with formats.reading_file(manifest, image_set.FORMAT) as content:
            yield from image_set.shards(content)


def _keys(folder: Path) -> Iterator[Path]:
    for task in _listed(folder / "artifacts"):
        yield from (path for path in _listed(task) if _KEY.fullmatch(path.name))


def _of_store(folder: Path, uris: Collection[str], tasks: Collection[Needed]) -> list[Path]:
    """Return the shards that no needed image set lists; none while one may still be made."""
    if not all(task.done for task in tasks if task.stage == "ingest"):
        return []
    kept = set(map(os.path.realpath, uris))  # the folder may have been reached by another path
    store = folder / "store"
    return [
        path
        for path in _files(store)
        if _STORED.fullmatch(path.relative_to(store).as_posix())
        and os.path.realpath(path) not in kept
    ]


def _of_checkpoints(folder: Path, tasks: Iterable[Needed]) -> list[Path]:
    """Return the folders of unfinished work whose stage has nothing left to do."""
    unfinished = tuple(f"{task.stage}-" for task in tasks if not task.done)
    return [
        path
        for path in _listed(folder / "checkpoints")
        if _WORK.fullmatch(path.name) and not path.name.startswith(unfinished)
    ]


def _of_cache(folder: Path, digests: Collection[str]) -> list[Path]:
    kept = {f"{digest}{suffix}" for digest in digests for suffix in (".tar", ".verified")}
    return [
        path
        for path in _listed(folder / "cache")
        if _CACHED.fullmatch(path.name) and path.name not in kept
    ]


def _of_logs(folder: Path, names: Collection[str]) -> list[Path]:
    return [
        path
        for path in _listed(folder / "logs")
        if _LOG.fullmatch(path.name)
        and path.stem not in names
        and not path.stem.startswith("forkserver-")  # of no task
    ]


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_symlink():
        for above, _, names in os.walk(folder):
            yield from (Path(above) / name for name in names)


def _listed(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing if it is a link, or not there."""
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []
