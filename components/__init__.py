"""The stages of the pipeline: one folder each, and what they share."""

import os
import signal
import sys

# `python -m` is about to run a command of this project, and imports this first. Until the command
# has begun (`shared/stage/boundary.py`), Ctrl-C ends it without a traceback of what it imports.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))
