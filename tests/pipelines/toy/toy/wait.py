"""A stage that waits for a file, as a long training does."""

import os
import subprocess
import sys
import time
from pathlib import Path

from components.shared.stage.cli import main
from components.shared.stage.interface import InputModel, OutputModel


def wait(
    numbers: InputModel, waited: OutputModel, *, gate: str = "gate", pids: str = "pids"
) -> None:
    """Wait until a file is there.

    Args:
        numbers: A folder with numbers, copied.
        waited: A folder with the same numbers.
        gate: The file to wait for.
        pids: A file for the ids of this process and of a worker of it.
    """
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(f"{pids}.part").write_text(f"{os.getpid()} {worker.pid}")
    Path(f"{pids}.part").replace(pids)
    try:
        while not Path(gate).exists():
            time.sleep(0.02)
    finally:
        Path(f"{pids}.unwound").touch()
    waited.mkdir(exist_ok=True)
    (waited / "numbers.json").write_bytes((numbers / "numbers.json").read_bytes())


if __name__ == "__main__":
    main(wait)
