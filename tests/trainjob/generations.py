"""What API servers take for a TrainJob: JSON schemas of Kubeflow Trainer's three generations."""

import json
import sys
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "schemas"
NEWEST = "newest"
# The field by which each of them changes the pods of its runtime.
PATCHES = {
    "2.0.0": "podSpecOverrides",
    "2.1.0": "podTemplateOverrides",
    NEWEST: "runtimePatches",
}
# Models that stand for one of two types have no schema of their own.
_EITHER = {
    "IoK8sApimachineryPkgApiResourceQuantity": ["string", "number"],
    "IoK8sApimachineryPkgUtilIntstrIntOrString": ["string", "integer"],
}


def schema(version: str) -> dict[str, Any]:
    """Return the schema of a version, or of the package that is installed."""
    if version == NEWEST:
        return derived()
    found: dict[str, Any] = json.loads((_FOLDER / f"{version}.json").read_text())
    return found


def derived() -> dict[str, Any]:
    """Return the schema that the models of the installed package have."""
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

    found: dict[str, Any] = _strict(TrainerV1alpha1TrainJob.model_json_schema(by_alias=True))
    found["$defs"] |= {name: {"type": kinds} for name, kinds in _EITHER.items()}
    return found


def _strict(node: Any) -> Any:
    """Leave out what is only said to people, and let no unknown fields in."""
    if isinstance(node, list):
        return [_strict(each) for each in node if each != {"type": "null"}]
    if not isinstance(node, dict):
        return node
    kept = {
        key: _strict(value)
        for key, value in node.items()
        if key not in ("description", "title", "default") or isinstance(value, dict)
    }
    if "properties" in kept:
        kept["additionalProperties"] = False
    match kept:
        case {"anyOf": [only]}:  # it was this or null
            return only
    return kept


if __name__ == "__main__":
    json.dump(derived(), sys.stdout, separators=(",", ":"), sort_keys=True)
    sys.stdout.write("\n")
