"""Texts by position: each block of rows becomes a part, sorted by position.

Texts come in the order of the lists, images go to random positions, and neither fits in memory. So
each block of rows is written as one Arrow file in the order of positions; a shard's texts are a
slice of every such file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.ingest.dataset import EXTERNAL, Reject, Text, TextSource, table
from components.ingest.lists import Block
from components.ingest.plan import MISSING, REPEATED, UNREADABLE, Plan
from components.shared.data import texts
from components.shared.stage.parallel import ordered
from components.shared.stage.progress import progress
from components.shared.storage import filesystem, formats

NUM_ROWS = 32_768
_SCHEMA = pa.schema([pa.field("position", pa.int32(), nullable=False), *texts.SCHEMA])
# A reject's kind and detail, by why its row has no position; of others nothing is said.
NO_POSITION = {
    UNREADABLE: ("unreadable row", "a line is an image's id, a blank, and a label that there is"),
    MISSING: ("missing image", "listed, but in no archive and no folder"),
    REPEATED: ("repeated row", "listed before"),
}


@dataclass(frozen=True, slots=True)
class TextParts:
    """Makes the parts, and reads a shard's texts from them.

    Attributes:
        folder: Where the parts are.
        blocks: The lists' rows.
        num_classes: How many classes there are.
        text: Finds an image's text.
        plan: Each row's position.
    """

    folder: Path
    blocks: Sequence[Block]
    num_classes: int
    text: TextSource
    plan: Plan

    def make_all(self) -> None:
        """Make the missing parts, on all cores."""
        made = ordered(self._make, range(len(self.blocks)))
        for _ in progress(made, total=len(self.blocks), unit="block", what="texts"):
            pass

    def rejects(self, number: int) -> pa.Table:
        """Return what is wrong with a block's rows and texts."""
        return _read(self.folder / f"rejects-{number:05d}.arrow")

    def between(self, start: int, end: int) -> pa.Table:
        """Return the texts of the positions from `start` to before `end`, in their order."""
        slices = []
        for number in range(len(self.blocks)):
            part = _read(self.folder / f"texts-{number:05d}.arrow")
            bounds = np.searchsorted(part["position"].to_numpy(), (start, end))
            slices.append(part.slice(bounds[0], bounds[1] - bounds[0]))
        found = pa.concat_tables(slices)
        found = found.take(np.argsort(found["position"]))
        assert len(found) == end - start
        return found.drop_columns("position").combine_chunks()

    def _make(self, number: int) -> None:
        path = self.folder / f"texts-{number:05d}.arrow"
        if not path.is_file():
            rows, rejects = self._rows(self.blocks[number])
            _write(table(rejects), self.folder / f"rejects-{number:05d}.arrow")
            _write(rows.take(np.argsort(rows["position"])), path)

    def _rows(self, block: Block) -> tuple[pa.Table, list[Reject]]:
        split, source = block.file_list.split, block.file_list.source
        positions = self.plan.positions[block.first_row : block.first_row + block.num_rows].tolist()
        rows, rejects = [], []
        for position, (line, record) in zip(positions, block.lines(), strict=True):
            id, _ = block.parse(line, self.num_classes)
            if position >= 0:
                text = Text() if split == EXTERNAL else self.text(id, record)
                words = (text.title, text.description, text.tags)
                rows.append((position, id, *words, source, text.query, text.rank))
                if text.kind:
                    rejects.append(Reject(split, text.kind, source, id, text.detail))
            elif position in NO_POSITION:
                kind, detail = NO_POSITION[position]
                name = line if position == UNREADABLE else id
                rejects.append(Reject(split, kind, source, name, detail))
        columns = zip(*rows, strict=True) if rows else [()] * len(_SCHEMA)
        return pa.table([list(column) for column in columns], schema=_SCHEMA), rejects


def _write(rows: pa.Table, path: Path) -> None:
    with (
        filesystem.complete(path) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, rows.schema) as writer,
    ):
        writer.write_table(rows)


def _read(path: Path) -> pa.Table:
    """Open an Arrow file, memory-mapped."""
    with formats.guarded(path, "remove it, and run ingest again"):
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
