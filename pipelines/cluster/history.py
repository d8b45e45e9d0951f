"""Earlier runs to compare with, on a cluster or on this machine."""

from collections.abc import Sequence
from pathlib import Path

from components.shared.stage.errors import UserError
from components.shared.storage import formats
from pipelines.cluster import watch
from pipelines.cluster.difference import Earlier
from pipelines.cluster.kfp_api import Cluster
from pipelines.run import graph, record
from pipelines.run.record import RunRecord

# Outputs of this many runs are assumed to be still in the cache.
_LATEST = 10


def from_files(path: Path, overrides: Sequence[str]) -> Earlier:
    """Read a run from files.

    Args:
        path: A folder of `pipelines.local`, or a compiled pipeline that ran completely.
        overrides: The pipeline parameters that it ran with.

    Raises:
        UserError: There is none, or it is damaged.
    """
    if path.is_dir():
        kept = record.read(path)
        compiled = path / "pipeline.yaml"
        with formats.guarded(compiled, graph.REMEDY):
            pipeline = graph.from_documents(graph.documents(compiled), kept.parameters)
        return Earlier(str(path), pipeline, _made(kept))
    if not path.is_file():
        raise UserError(f"--against {path}: no such file or folder")
    pipeline = graph.read(path, overrides)
    return Earlier(str(path), pipeline, frozenset(task.name for task in pipeline.tasks))


def of(cluster: Cluster, identity: str, name: str) -> Earlier:
    """Return a run of a cluster.

    Raises:
        UserError: Its pipeline has another name: KFP does not reuse its outputs.
    """
    run = cluster.run(identity)
    pipeline = cluster.graph(run)
    if pipeline.name != name:
        raise UserError(
            f"run {identity} is of {pipeline.name}: KFP reuses none of its outputs in {name}"
        )
    return Earlier(f"run {identity}", pipeline, _made(watch.record(pipeline, run)))


def latest(cluster: Cluster, experiment: str, name: str) -> list[Earlier]:
    """Return the latest runs of an experiment; `name` is the pipeline's."""
    return [of(cluster, identity, name) for identity in cluster.latest(experiment, _LATEST)]


def _made(run: RunRecord) -> frozenset[str]:
    return frozenset(task.name for task in run.tasks if task.status in ("ran", "cached"))
