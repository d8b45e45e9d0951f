"""Retrying a failed stage within its pod, where Argo does not.

KFP says how often Argo may retry a task, but not when. Argo's own default, and KFP's until 2.16,
is whenever a container fails. KFP 2.17 configures `OnError`: only when a pod is lost. So the policy
is looked up where Argo's executor finds it, and exactly one of the two retries a stage that fails.

What ends the whole pod cannot be retried within it: a time limit, an eviction, or a lack of memory,
for which newer Kubernetes kills all of a container's processes.
"""

import json
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from components.shared.stage import environment
from components.shared.stage.interface import Range

logger = logging.getLogger(__name__)
_TEMPLATE = Path("/var/run/argo/template")  # what Argo's executor runs, in each of its pods
_POLICIES_FOR_LOST_PODS = ("OnError", "OnTransientError")
_TERMINATED = 128 + signal.SIGTERM
_FIRST_PAUSE = 60.0  # seconds; doubled each time, as Argo does (`pod_settings`)


def retries() -> int:
    """Return how often this pod must retry a stage that fails: `WEBLY_RETRIES` times, or never."""
    number = environment.integer("WEBLY_RETRIES", 0, Range(at_least=0, at_most=100))
    if not number:
        return 0
    try:
        policy = json.loads(_TEMPLATE.read_text())["retryStrategy"]["retryPolicy"]
    except (OSError, ValueError, LookupError, TypeError):  # Argo's default, or no pod of Argo's
        return 0
    return number if policy in _POLICIES_FOR_LOST_PODS else 0


def in_child_processes(number: int, hopeless: int) -> None:
    """Return in a child process, and in another one for each time that it fails.

    The parent does not return: it exits as the last child does.

    Args:
        number: How often to retry; with 0 this process itself goes on.
        hopeless: The exit code of failures that are not worth a retry.
    """
    if number < 1:
        return
    for attempt in range(number + 1):
        child = _Child()
        if child.id == 0:
            del os.environ["WEBLY_RETRIES"]  # its own children are not to retry
            return
        code = child.wait()
        if child.terminated or code in (0, hopeless, _TERMINATED) or attempt == number:
            sys.exit(code)
        pause = _FIRST_PAUSE * 2**attempt
        logger.warning("exit code %d; retry %d of %d in %.0f s", code, attempt + 1, number, pause)
        time.sleep(pause)


class _Child:
    """A child process, to which SIGTERM is passed on.

    Attributes:
        id: Its id; in the child itself 0.
        terminated: Whether there was one.
    """

    def __init__(self) -> None:
        """Fork."""
        self.id, self.terminated = -1, False
        self._before = signal.signal(signal.SIGTERM, self._pass_on)
        self.id = os.fork()
        if self.id == 0 or self.terminated:  # the signal came before there was a child
            signal.signal(signal.SIGTERM, self._before)
        if self.terminated:
            os.kill(self.id or os.getpid(), signal.SIGTERM)

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        _, status = os.waitpid(self.id, 0)
        signal.signal(signal.SIGTERM, self._before)
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.terminated = True
        if self.id > 0:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.id, signal.SIGTERM)
