"""The metrics that a stage writes: a flat JSON file of named numbers, shown in KFP's UI."""

import json
from collections.abc import Mapping
from pathlib import Path

from components.shared.storage import filesystem


def write(path: Path, scalars: Mapping[str, float]) -> None:
    """Write metrics to `path`, complete or not at all.

    Raises:
        ValueError: A metric is not a number: KFP could not read the file.
    """
    with filesystem.complete(path) as temporary:
        temporary.write_text(json.dumps(dict(scalars), indent=1, allow_nan=False))
