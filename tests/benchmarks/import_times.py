"""Processor time of what some code imports: `python tests/benchmarks/import_times.py CODE`.

It imports next to nothing itself, and is run as a file, for what is there already costs nothing.
"""

import builtins
import sys
import time

Seconds = dict[str, float]  # by package


def measured(code: str) -> Seconds:
    """Return each package's own time, without that of other packages that it imports."""
    seconds: Seconds = {}
    packages, since = [""], time.process_time()
    original = builtins.__import__

    def switch() -> None:
        nonlocal since
        now = time.process_time()
        seconds[packages[-1]] = seconds.get(packages[-1], 0.0) + now - since
        since = now

    def measuring(name, globals=None, locals=None, fromlist=(), level=0):  # type: ignore[no-untyped-def] # noqa: A002
        where = name if level == 0 else globals["__package__"]
        switch()
        packages.append(".".join(where.split(".")[:2]))
        try:
            return original(name, globals, locals, fromlist, level)
        finally:
            switch()
            packages.pop()

    builtins.__import__ = measuring
    try:
        exec(code, {"__name__": "__main__"})
    finally:
        builtins.__import__ = original
        switch()
    return seconds


if __name__ == "__main__":
    sys.path.insert(0, ".")
    code = sys.argv[1]
    found = measured(code)
    import json

    print(json.dumps(found))
