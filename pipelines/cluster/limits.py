"""How large a pipeline Kubeflow can start.

The root DAG travels in an argument of Argo's: a JSON text within a JSON text, with some 6 kB around
it. What is longer than Linux takes, Argo puts into a ConfigMap, which KFP's service accounts may
not create. All of it is in the workflow, too, of which etcd takes 1.5 MB with its status.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.shared.stage.errors import UserError
from pipelines.run import graph

_MOST_BYTES = 128 * 1024 - 10_000
_MOST_IN_A_WORKFLOW = 750_000


def check(file: Path) -> None:
    """Refuse a compiled pipeline that has too many tasks, or too much text.

    Raises:
        UserError: It has.
    """
    spec, *platforms = graph.documents(file)
    taken, number = size(spec), len(spec["root"]["dag"]["tasks"])
    if taken > _MOST_BYTES:
        raise UserError(
            f"{number} tasks take {taken:,} bytes, but Kubeflow starts at most {_MOST_BYTES:,}, "
            f"here about {number * _MOST_BYTES // taken} tasks: divide seeds or candidates among "
            "recipes of the same name, which share their tasks in the cache"
        )
    whole = len(json.dumps(json.dumps([spec, platforms], ensure_ascii=False)).encode())
    if whole > _MOST_IN_A_WORKFLOW:
        raise UserError(
            f"the pipeline takes {whole:,} bytes, but Kubernetes keeps at most "
            f"{_MOST_IN_A_WORKFLOW:,} beside a workflow's status: shorten the longest parameters"
        )


def size(spec: Mapping[str, Any]) -> int:
    """Return how many bytes the root DAG of a compiled pipeline takes there."""
    text = json.dumps(spec["root"], separators=(",", ":"), ensure_ascii=False)
    return len(json.dumps(text, ensure_ascii=False).encode())
