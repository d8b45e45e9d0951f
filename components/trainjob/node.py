"""A stage on one of the nodes of a TrainJob: `python -m components.finetune s3://bucket/…`.

The word is where the job's launcher has handed over the stage's inputs (`handover`). A node fetches
them and runs the stage with them in processes of its own, which are ranks among those of all nodes
(`distributed`); the first rank gives the outputs back.

A node whose launcher has gone ends itself: KFP kills the pods of a run that is terminated without
telling them, and nobody would end the job.
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

# Where to give back: the ranks, whose word is the ExecutorInput, are told by their environment.
_HANDOVER = "WEBLY_HANDOVER"
# Longer than it takes KFP to start a launcher again that has failed.
_PATIENCE = 15 * 60.0
_PAUSE = 20.0
_PAUSE_AT_THE_END = 2.0


def main(stage: Stage) -> None:
    """Run a stage as a node, if the command line's only word is a hand-over's, else as any other.

    Exits as `cli.main` does; but with 0 if nobody follows the job any more, for Kubernetes would
    start the node again after any other end.
    """
    words = sys.argv[1:]
    with cli.command(stage.__name__):
        if len(words) == 1 and words[0].startswith("s3://"):
            with tempfile.TemporaryDirectory() as folder:
                _run_node(stage, Handover(words[0]), words[0], Path(folder))
        else:
            _run(stage)


def _run_node(stage: Stage, handover: Handover, uri: str, folder: Path) -> None:
    if "PET_NNODES" not in os.environ:
        raise UserError(
            f"{uri}: PET_NNODES is not set, each node would train on its own: give the TrainJob a "
            "runtime whose mlPolicy has `torch`"
        )
    if handover.is_given_back():  # and this node was lost before it could end
        logger.info("%s: the outputs are there already", uri)
        return
    signed = handover.signature()
    if signed is not None and (datetime.now(UTC) - signed).total_seconds() > _PATIENCE:
        # Its run was terminated while the job waited for machines.
        logger.warning("%s: nobody has signed since %s: ending", uri, signed)
        return
    watch = _Watch(handover)
    try:
        executor_input = handover.take(folder)
        os.environ[_HANDOVER] = uri
        # Not in ASCII: the kernel takes no word of more than 128 KiB.
        sys.argv[1:] = [json.dumps(executor_input, ensure_ascii=False)]
        _run(stage)
    except SystemExit as end:
        if end.code and watch.abandoned:
            logger.warning("%s: nobody has signed for %.0f minutes: ending", uri, _PATIENCE / 60)
            sys.exit(0)
        raise


def _run(stage: Stage) -> None:
    """Run a stage with this process's words, as one of several ranks or on its own."""
    if _HANDOVER not in os.environ:
        cli.main(stage)
        return
    handover = Handover(os.environ[_HANDOVER])
    with resume.kept():
        cli.main(stage)
        if os.environ.get("RANK", "0") == "0":
            handover.give_back(json.loads(sys.argv[1]))
    # A node that has ended well is not started again: had the outputs been lost meanwhile, the
    # others would wait for it in vain. (Should the first rank fail, the agents end these, too.)
    while not handover.is_given_back():
        time.sleep(_PAUSE_AT_THE_END)


class _Watch:
    """Terminates this process when nobody has signed the hand-over for too long."""

    def __init__(self, handover: Handover) -> None:
        """Begin to watch, in a thread."""
        self._handover = handover
        self._signed = time.monotonic()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def abandoned(self) -> bool:
        """Whether the nodes are ending themselves.

        They see a signature within a pause of each other: one that fails because another has ended
        need not have lost its own patience yet.
        """
        return time.monotonic() - self._signed > _PATIENCE - 2 * _PAUSE

    def _watch(self) -> None:
        signature = None
        while time.monotonic() - self._signed < _PATIENCE:
            time.sleep(_PAUSE)
            try:
                last, signature = signature, self._handover.signature()
            except (StorageError, UserError) as error:  # then nobody can sign
                logger.warning("%s", error)
                self._signed = time.monotonic()
            else:
                if signature != last:
                    self._signed = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)
