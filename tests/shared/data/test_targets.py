import numpy as np
import pyarrow.parquet as pq
import pytest

from components.shared.data.identity import Identity
from components.shared.data.targets import Targets, TargetsWriter
from components.shared.stage.errors import UserError

IDS = ["a", "b", "c", "d"]


def _write(folder):
    with TargetsWriter(folder, ["n1", "n2", "n3"], ["cat", "dog", "elk"], Identity.of(IDS)) as out:
        out.append([2, 0], [2, 0], [0.9, 0.1])
        out.append([1, 1], [2, 1], [1.0, 0.5])


def test_targets_come_back_as_they_were_written(tmp_path):
    _write(tmp_path / "t")

    targets = Targets.load(tmp_path / "t")

    assert len(targets) == 4
    assert targets.offsets.tolist() == [0, 2, 2, 3, 4]
    assert [targets[i][0].tolist() for i in range(4)] == [[2, 0], [], [2], [1]]
    assert targets[0][1].tolist() == pytest.approx([0.9, 0.1])
    assert (targets.names, targets.titles) == (["n1", "n2", "n3"], ["cat", "dog", "elk"])
    assert targets.identity == Identity.of(IDS)


def test_the_class_table_counts_images(tmp_path):
    _write(tmp_path / "t")

    table = pq.read_table(tmp_path / "t" / "classes.parquet")

    assert table["images"].to_pylist() == [1, 1, 2]


def test_arrays_are_memory_mapped_and_of_the_documented_types(tmp_path):
    _write(tmp_path / "t")

    targets = Targets.load(tmp_path / "t")

    arrays = (targets.offsets, targets.classes, targets.weights)
    assert all(isinstance(array, np.memmap) for array in arrays)
    assert [array.dtype for array in arrays] == [np.int64, np.int32, np.float32]


def test_a_batch_is_padded_with_weight_zero(tmp_path):
    _write(tmp_path / "t")
    targets = Targets.load(tmp_path / "t")

    classes, weights = targets.padded(np.array([1, 0, 3]))

    assert classes.tolist() == [[0, 0], [2, 0], [1, 0]]
    assert weights.tolist() == [[0, 0], pytest.approx([0.9, 0.1]), [0.5, 0]]


def test_a_batch_without_any_target_still_has_a_column(tmp_path):
    _write(tmp_path / "t")

    classes, weights = Targets.load(tmp_path / "t").padded(np.array([1]))

    assert classes.shape == weights.shape == (1, 1)
    assert weights.sum() == 0


def test_the_folder_does_not_appear_when_writing_fails(tmp_path):
    with (
        pytest.raises(RuntimeError),
        TargetsWriter(tmp_path / "t", ["n1"], ["cat"], Identity.of(IDS)) as out,
    ):
        out.append([1], [0], [1.0])
        raise RuntimeError

    assert not list(tmp_path.iterdir())


def test_a_folder_without_targets_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        Targets.load(tmp_path / "nowhere")


def test_numberings_that_differ_are_refused_with_both_counts():
    with pytest.raises(UserError, match=r"keywords: made for 3 images .* here are 4"):
        Identity.of(IDS).check(Identity.of(IDS[:3]), "keywords")


def test_the_numbering_depends_on_the_order_of_ids():
    assert Identity.of(IDS) != Identity.of(reversed(IDS))
