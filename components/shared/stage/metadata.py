"""What Kubeflow's UI shows of an artifact besides its name: numbers and texts by name.

A stage writes them beside the artifact, and `container` passes them on. They are for people: no
stage reads another's.
"""

import json
from collections.abc import Mapping
from pathlib import Path

_DIGITS = 4


def write(artifact: Path, values: Mapping[str, float | str]) -> None:
    """Describe an artifact; numbers are rounded to four digits.

    Raises:
        ValueError: A number is not finite: KFP could not read it.
    """
    content = {name: _rounded(value) for name, value in values.items()}
    _path(artifact).write_text(json.dumps(content, indent=1, allow_nan=False))


def read(artifact: Path) -> dict[str, float | str]:
    """Return what a stage has written about an artifact; nothing if it has not."""
    path = _path(artifact)
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def _path(artifact: Path) -> Path:
    return artifact.with_name(f"{artifact.name}.metadata.json")


def _rounded(value: float | str) -> float | str:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
