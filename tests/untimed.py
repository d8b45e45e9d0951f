"""Outputs of stages without what they tell of how long something took."""

import io
import json

import pyarrow.parquet as pq


def untimed(output: str, content: bytes) -> object:
    """Return what an output says besides; all of it, where it tells of no time."""
    match output:
        case "predictions":
            return pq.read_table(io.BytesIO(content)).to_pylist()
        case "comparison":
            figures = json.loads(content)
            for each in figures["accuracy"]:
                del each["seconds"]
            return figures
        case "summary":
            return content.decode().partition("## Costs")[0]
    return content
