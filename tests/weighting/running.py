"""The stage `weighting` on a few images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.data.identity import Identity
from components.shared.data.targets import CONCEPTS, Targets
from components.shared.data.texts import FORMAT, SCHEMA
from components.shared.stage import metadata
from components.shared.stage.interface import call
from components.weighting.stage import weighting
from tests.synthetic import targets
from tests.weighting.taxonomies import table

BIRDS = table(
    4,
    [
        ("n1", "sparrow, house sparrow", "small brown seed eater", ["n5"]),
        ("n2", "hawk", "hunts mice by day", ["n5"]),
        ("n3", "owl", "hunts mice by night", ["n5"]),
        ("n4", "dog", "barks at night", ["n6"]),
        ("n5", "bird", "has feathers", ["n6"]),
        ("n6", "animal", "", []),
    ],
)
# The slide's weights: cosines as they are.
LITERAL: Mapping[str, float] = {
    "fallback_weight": 0.5,
    "label_weight": 0.0,
    "sharpness": 1.0,
    "naming": False,
}
OWN = table(3, [(name, name.replace("_", " "), "", []) for name in ("red_rose", "tulip", "oak")])


class Run:
    """Inputs of the stage in a folder, and what it makes of them."""

    def __init__(
        self,
        folder: Path,
        concepts: pa.Table,
        images: Sequence[tuple[int, str]],
        row_group_size: int = 7,
    ) -> None:
        self.folder = folder
        ids = [f"{number:03d}.jpg" for number in range(len(images))]
        identity = Identity.of(ids)
        self.titles = [text for _, text in images]
        empty = [""] * len(images)
        columns = [ids, self.titles, empty, empty, empty, empty, [0] * len(images)]
        columns_by_name = dict(zip(SCHEMA.names, columns, strict=True))
        texts = pa.table(columns_by_name, schema=identity.in_schema(SCHEMA, FORMAT))
        pq.write_table(texts, folder / "texts.parquet", row_group_size=row_group_size)
        names = concepts["wnid"].to_pylist()[: len(concepts) - concepts["label"].null_count]
        targets(folder / "labels", identity, [[(label, 1.0)] for label, _ in images], names)
        pq.write_table(concepts, folder / "labels" / CONCEPTS)

    def weights(self, name: str = "weights", **parameters: float | str) -> Targets:
        """Run the stage, by default as the slide has it."""
        files = {
            "texts": "texts.parquet",
            "labels": "labels",
            "weights": name,
            "report": "report.html",
        }
        paths = {name: self.folder / file for name, file in files.items()}
        call(weighting, {**paths, **LITERAL, **parameters})
        return Targets.load(self.folder / name)

    @property
    def metrics(self) -> dict[str, float]:
        return metadata.read(self.folder / "weights")
