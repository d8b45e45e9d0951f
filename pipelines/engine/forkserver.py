"""The process that stages are forked from: `python -m pipelines.engine.forkserver [MODULE …]`.

It imports the given modules once, so that a stage forked from it need not (torch and timm take
9 s), and it outlives a killed runner just long enough to kill the stages: it leads a session of
its own, notices that its standard input has ended, and kills each stage's process group.

Requests come as lines of JSON on standard input, replies go to standard output:

    {"name": "finetune-a", "module": "components.finetune", "argument": "{…}", "log": "a.log"}
    {"name": "finetune-a", "exit_code": 0, "peak_bytes": 812345344}

The request `{"stop": true}` asks all stages to end by SIGTERM.
"""

import ctypes
import importlib
import json
import os
import runpy
import select
import signal
import sys
from contextlib import suppress
from typing import Any

_SECONDS_BETWEEN_LOOKS = 0.05
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve requests; in the process of a stage, run it."""
    runner = os.getppid()
    for module in sys.argv[1:]:
        importlib.import_module(module)
    if os.getppid() != runner:
        return  # the runner was killed: nobody wants its stages any more
    request = _serve()
    # Only stages get here, and end as with `python -m`: with a traceback, with `atexit`.
    sys.argv[1:] = [request["argument"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def _serve() -> dict[str, Any]:
    """Start stages and report their ends; returns only in a new stage's process."""
    stages: dict[int, str] = {}
    waiting = b""
    while True:
        readable, _, _ = select.select([0], [], [], _SECONDS_BETWEEN_LOOKS if stages else None)
        if readable:
            received = os.read(0, 1 << 16)
            if not received:
                _signal(stages, signal.SIGKILL)
                os._exit(0)
            *lines, waiting = (waiting + received).split(b"\n")
            for line in lines:
                request: dict[str, Any] = json.loads(line)
                if "stop" in request:
                    _signal(stages, signal.SIGTERM)
                    continue
                launcher = os.getpid()
                process = os.fork()
                if process == 0:
                    _become_stage(request["log"], launcher)
                    return request
                with suppress(OSError):  # the stage does the same, whichever comes first
                    os.setpgid(process, process)
                stages[process] = request["name"]
        _report_ends(stages)


def _report_ends(stages: dict[int, str]) -> None:
    while stages:
        process, status, usage = os.wait4(-1, os.WNOHANG)
        if process == 0:
            return
        # Whatever a crashed stage leaves behind, such as a pool's workers, is killed with it.
        _signal({process: ""}, signal.SIGKILL)
        # Linux counts kilobytes, macOS bytes.
        unit = 1024 if sys.platform == "linux" else 1
        reply = {
            "name": stages.pop(process),
            "exit_code": os.waitstatus_to_exitcode(status),
            "peak_bytes": usage.ru_maxrss * unit,
        }
        with suppress(BrokenPipeError):  # the runner is gone, and the stages are about to be killed
            os.write(1, json.dumps(reply).encode() + b"\n")


def _become_stage(log: str, launcher: int) -> None:
    os.setpgid(0, 0)
    if sys.platform == "linux":
        # Should the fork server be killed, too, the kernel kills the stage.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:
            os._exit(1)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)


def _signal(stages: dict[int, str], number: signal.Signals) -> None:
    for process in stages:
        with suppress(ProcessLookupError):
            os.killpg(process, number)


if __name__ == "__main__":
    main()
