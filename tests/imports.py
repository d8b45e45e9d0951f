import subprocess
import sys

from components.shared.stage.fingerprint import ROOT


def imported(code: str, modules: set[str]) -> str:
    """Return, as it is printed, which of some modules a new interpreter has after some code."""
    command = [sys.executable, "-c", f"import sys; {code}; print({modules} & set(sys.modules))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()
