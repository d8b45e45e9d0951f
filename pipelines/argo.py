"""Give Argo the settings that disks of a storage class need.

    python -m pipelines.argo              # what would change
    python -m pipelines.argo apply
    python -m pipelines.argo undo         # take away what `apply` added

Once per cluster, by its administrator, and only for recipes with a `disk_class`: stages' default
disks, on their nodes, need none of it. It adds to the defaults that KFP gives Argo for workflows
(`pipelines/cluster/argo.py`), overwrites nothing, and can be run again at any time, such as after
an upgrade of KFP.

Exits with 0 if the settings are in place (after `undo`: if they are gone), 1 if not, and 2 if the
user can fix the error.
"""

import argparse
import difflib
import logging
import sys
from collections.abc import Sequence

from components.shared.stage.boundary import boundary
from components.shared.stage.errors import UserError
from pipelines.cluster import argo
from pipelines.cluster.kubernetes_api import Namespace, UnknownError

logger = logging.getLogger("pipelines.argo")  # also where this is `__main__`
_TRIES = 5


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.argo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command", nargs="?", choices=["show", "apply", "undo"], default="show", help="(show)"
    )
    parser.add_argument(
        "--namespace", default=argo.NAMESPACE, help=f"KFP's own (default: {argo.NAMESPACE})"
    )
    given = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("pipelines").setLevel(logging.INFO)
    with boundary():
        sys.exit(_run(given.command, Namespace(given.namespace)))


def _run(command: str, namespace: Namespace) -> int:
    for _ in range(_TRIES):
        held = namespace.annotated_config_map(argo.CONFIG_MAP)
        if held is None:
            raise UserError(
                f"no ConfigMap {argo.CONFIG_MAP} in the namespace {namespace.name}: give KFP's own "
                "with --namespace"
            )
        plan = argo.undone if command == "undo" else argo.applied
        change = plan(held.data, held.annotations)
        _show(change)
        recorded = change.annotation == held.annotations.get(argo.ANNOTATION)
        if command == "show" or (recorded and not change.changes):
            return int(change.changes or bool(change.problems))
        content = {argo.DEFAULTS: change.after}
        if namespace.merge_config_map(held, content, {argo.ANNOTATION: change.annotation}):
            logger.info("written; it holds for runs that start from now on")
            return int(bool(change.problems))
        logger.info("somebody else has changed the ConfigMap meanwhile: looking again")
    raise UnknownError(f"the ConfigMap {argo.CONFIG_MAP} changes all the time: nothing is written")


def _show(change: argo.Change) -> None:
    before, after = (text.splitlines() if text else [] for text in (change.before, change.after))
    name = f"{argo.CONFIG_MAP}: {argo.DEFAULTS}"
    for line in difflib.unified_diff(before, after, name, name, lineterm=""):
        logger.info("%s", line)
    if not change.changes:
        logger.info("%s: nothing to change", name)
    for problem in change.problems:
        logger.warning("left as it is: %s", problem)


if __name__ == "__main__":
    main()
