"""A stage on one of the nodes of a TrainJob: `python -m components.finetune s3://bucket/…`.

The argument is the URI of the `handover` with the stage's inputs. A node fetches them and runs the
stage in processes of its own, which are ranks among those of all nodes (`ranks`); rank 0 gives the
outputs back.

A node whose launcher is gone ends itself: KFP kills the pods of a terminated run without notice,
and nobody would end the job.
"""

import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from components.shared.stage import cli
from components.shared.stage.errors import StorageError, UserError
from components.shared.stage.interface import Stage
from components.shared.storage import resume
from components.trainjob.handover import Handover

logger = logging.getLogger(__name__)

# Where to upload the outputs: the ranks, whose argument is the ExecutorInput, inherit it.
_HANDOVER = "WEBLY_HANDOVER"
# Longer than it takes KFP to restart a failed launcher.
_PATIENCE = 15 * 60.0
_PAUSE = 20.0
_PAUSE_AT_THE_END = 2.0


def main(stage: Stage) -> None:
    """Run a stage as a node if the only argument is the URI of a handover, else as `cli.main` does.

    Exits as `cli.main` does; but with 0 if the launcher is gone, because Kubernetes would restart
    the node after any other exit code.
    """
    argv = sys.argv[1:]
    with cli.command(stage.__name__):
        if len(argv) == 1 and argv[0].startswith("s3://"):
            with tempfile.TemporaryDirectory() as folder:
                _run_node(stage, Handover(argv[0]), argv[0], Path(folder))
        else:
            _run(stage)


def _run_node(stage: Stage, handover: Handover, uri: str, folder: Path) -> None:
    if "PET_NNODES" not in os.environ:
        raise UserError(
            f"{uri}: PET_NNODES is not set, so each node would train on its own: give the TrainJob "
            "a runtime whose mlPolicy has `torch`"
        )
    if handover.is_given_back():  # and this node was lost before it could end
        logger.info("%s: the outputs are already there", uri)
        return
    last = handover.last_heartbeat()
    if last is not None and (datetime.now(UTC) - last).total_seconds() > _PATIENCE:
        # Its run was terminated while the job waited for machines.
        logger.warning("%s: no heartbeat since %s: exiting", uri, last)
        return
    watch = _Watch(handover)
    try:
        executor_input = handover.take(folder)
        os.environ[_HANDOVER] = uri
        # Not escaped to ASCII: the kernel accepts no argument of more than 128 KiB.
        sys.argv[1:] = [json.dumps(executor_input, ensure_ascii=False)]
        _run(stage)
    except SystemExit as end:
        if end.code and watch.abandoned:
            logger.warning("%s: no heartbeat for %.0f minutes: exiting", uri, _PATIENCE / 60)
            sys.exit(0)
        raise


def _run(stage: Stage) -> None:
    """Run a stage with this process's arguments, as one of several ranks or on its own."""
    if _HANDOVER not in os.environ:
        cli.main(stage)
        return
    handover = Handover(os.environ[_HANDOVER])
    with resume.kept():
        cli.main(stage)
        if os.environ.get("RANK", "0") == "0":
            handover.give_back(json.loads(sys.argv[1]))
    # A node that has succeeded is not restarted: were the outputs then lost, the others would wait
    # for it in vain. (Should rank 0 fail, the agents end these, too.)
    while not handover.is_given_back():
        time.sleep(_PAUSE_AT_THE_END)


class _Watch:
    """Terminates this process when the launcher's heartbeat has been missing for too long."""

    def __init__(self, handover: Handover) -> None:
        """Begin to watch, in a thread."""
        self._handover = handover
        self._last_change = time.monotonic()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def abandoned(self) -> bool:
        """Whether the nodes are ending themselves.

        They see a heartbeat within a pause of each other: a node that fails because another has
        ended need not have run out of patience itself.
        """
        return time.monotonic() - self._last_change > _PATIENCE - 2 * _PAUSE

    def _watch(self) -> None:
        heartbeat = None
        while time.monotonic() - self._last_change < _PATIENCE:
            time.sleep(_PAUSE)
            try:
                last, heartbeat = heartbeat, self._handover.last_heartbeat()
            except (StorageError, UserError) as error:  # then the launcher cannot write one, either
                logger.warning("%s", error)
                self._last_change = time.monotonic()
            else:
                if heartbeat != last:
                    self._last_change = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)
