import ast
import subprocess
import sys

from components.shared.stage.fingerprint import ROOT


def imported(code: str, modules: set[str]) -> str:
    """Return, as it is printed, which of some modules a new interpreter has after some code."""
    command = [sys.executable, "-c", f"import sys; {code}; print({modules} & set(sys.modules))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


def first_imports(stage: str) -> str:
    """Return the code of what a stage imports before it does anything."""
    tree = ast.parse((ROOT / "components" / stage / "stage.py").read_text())
    (function,) = (each for each in tree.body if getattr(each, "name", "") == stage)
    found = [each for each in ast.walk(function) if isinstance(each, (ast.Import, ast.ImportFrom))]
    return "; ".join([f"import components.{stage}.stage", *map(ast.unparse, found)])
