"""Small tables of concepts for the tests of weighting."""

from collections.abc import Sequence

import pyarrow as pa

from components.shared.data.targets import CONCEPTS_SCHEMA


def table(num_classes: int, concepts: Sequence[tuple[str, str, str, Sequence[str]]]) -> pa.Table:
    """Return concepts given as name, lemmas with commas, gloss and hypernyms; classes first."""
    rows = [
        {
            "wnid": name,
            "lemmas": lemmas.split(", "),
            "gloss": gloss,
            "hypernyms": list(hypernyms),
            "label": label if label < num_classes else None,
        }
        for label, (name, lemmas, gloss, hypernyms) in enumerate(concepts)
    ]
    return pa.Table.from_pylist(rows, schema=CONCEPTS_SCHEMA)
