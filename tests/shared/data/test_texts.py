from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.data import texts
from components.shared.data.identity import Identity
from components.shared.data.texts import SCHEMA, Texts
from components.shared.stage.errors import UserError


def _rows(count: int) -> pa.Table:
    rows = [{name: f"{name}{i}" for name in SCHEMA.names[:-1]} | {"rank": i} for i in range(count)]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@pytest.mark.parametrize("sizes", [[5_000], [1, 0, 2_000, 2_999], [700] * 7 + [100]])
def test_texts_are_the_same_in_whatever_pieces_they_are_written(
    tmp_path: Path, sizes: list[int]
) -> None:
    table = _rows(5_000)
    identity = Identity.of(table["id"].to_pylist())
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    pieces = [table.slice(start, size) for start, size in zip(starts, sizes, strict=True)]

    texts.write(tmp_path / "whole", identity, [table])
    texts.write(tmp_path / "pieces", identity, pieces)

    assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()
    found = Texts(tmp_path / "pieces")
    assert found.identity == identity
    batches = found.batches(["id", "title"], rows=5_000)
    assert [title for batch in batches for title in batch["title"]] == table["title"].to_pylist()


def test_a_small_set_has_row_groups_to_share_out(tmp_path: Path) -> None:
    table = _rows(2_500)

    texts.write(tmp_path / "texts", Identity.of(table["id"].to_pylist()), [table])

    groups = Texts(tmp_path / "texts").row_groups()
    assert groups == [range(0, 1_024), range(1_024, 2_048), range(2_048, 2_500)]


def test_no_texts_at_all_can_be_written_and_read(tmp_path: Path) -> None:
    texts.write(tmp_path / "texts", Identity.of([]), [])

    assert len(Texts(tmp_path / "texts")) == 0


def test_texts_that_are_not_there_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such Texts"):
        Texts(tmp_path / "nowhere")


def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"wnid": ["n1"]}), tmp_path / "concepts.parquet")

    with pytest.raises(UserError, match="a file of wnid"):
        Texts(tmp_path / "concepts.parquet")
