"""Stages as processes that need not import torch and timm, which takes ten seconds of the CPU.

Such a process is what `python -m MODULE WORD …` is, but forked from one that has imported them. The
ranks that it starts itself are started as ever.
"""

import gc
import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["timm", "boto3", "matplotlib.figure", "pyarrow.parquet"])


class Forked:
    """A process that leads a group of its own."""

    def __init__(
        self, module: str, *argv: str, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        """Start it.

        Args:
            module: What to run.
            argv: Its command line.
            log: The file, or named pipe, that its output is added to.
            env: Its environment; by default, this process's.
        """
        environment = dict(os.environ if env is None else env)
        self._process = _SERVER.Process(target=_run, args=(module, argv, log, environment))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Return its exit code if it has ended; a signal's is negative."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return its exit code."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"process {self.pid} has not ended"
        return self._process.exitcode


def _run(module: str, argv: tuple[str, ...], log: Path, environment: dict[str, str]) -> None:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for target in (sys.stdout, sys.stderr):
        os.dup2(output, target.fileno())
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = argv
    code: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    # Of the frames that led here: multiprocessing would wait for their pools of workers.
    gc.collect()
    sys.exit(code)
