"""What the ensemble's figures are, worked out by hand, and what its report says of them."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from components.ensemble.averaging import ENSEMBLE, Selection, Validation, trainings
from components.ensemble.report import verdict
from components.shared.data.predictions import Predictions, Training
from components.shared.training import models
from tests import tiny_models

TITLES = ["one", "two"]
# Two classes, of four images and of two; those with an odd number choose.
LABELS = np.array([0, 0, 0, 0, 1, 1])
CHOOSES = np.array([False, True] * 3)


def validation(
    *right: list[int], selection: bool = True, labels: NDArray[np.int64] = LABELS
) -> Validation:
    """Return what two models, and the four after them in `hits`, get right."""
    hits = np.array(right, bool)[:, None].repeat(2, axis=1)
    none = np.empty((len(labels), 0))
    chosen = Selection(np.array([3, 1]), np.array([1, 0])) if selection else None
    reported = ~CHOOSES if selection else np.ones(len(labels), np.bool_)
    return Validation(labels, Predictions(none.astype(np.int32), none), hits, reported, chosen)


ONE, TWO = [1, 1, 0, 1, 0, 1], [1, 0, 1, 0, 0, 1]


def test_accuracies_are_balanced_and_of_the_half_that_has_not_chosen() -> None:
    found = validation(ONE, TWO, TWO, [1, 0, 1, 0, 1, 0], [1, 1, 1, 0, 1, 0], TWO)
    # Images 0, 2 and 4 are reported, of which the first two are of the first class.
    scalars = found.metadata(TITLES, num_classes=3)
    assert (scalars["images"], scalars["choosing_images"], scalars["missing_classes"]) == (3, 3, 1)
    assert scalars["top1_percent"] == 100
    assert scalars["one: top1_percent"] == 25
    assert scalars["two: top1_percent"] == scalars["equal shares: top1_percent"] == 50
    assert scalars["one: share_percent"] == 75
    # The other half would choose model one.
    assert found.single == 0
    assert scalars["points_over_best_model"] == 75
    # Of all images, three of four and one of two; by the half's one model, two and one.
    assert scalars["cross-fitted: images"] == 6
    assert scalars["cross-fitted: top1_percent"] == 62.5
    assert scalars["cross-fitted: points_over_best_model"] == 12.5


def test_with_equal_shares_all_images_are_reported() -> None:
    scalars = validation(ONE, TWO, ONE, ONE, ONE, ONE, selection=False).metadata(TITLES, 2)
    assert scalars["images"] == 6
    assert scalars["top1_percent"] == 62.5
    assert not any("cross" in name or "share" in name for name in scalars)


def test_figures_have_the_interval_for_other_images_and_differences_are_paired() -> None:
    labels = np.arange(4000) % 2
    one, both = (labels[:, None] // 2 < 0, np.arange(4000) % 10 < 6)
    rows = [np.arange(4000) % 10 < 5, one[:, 0], both, both, both, both]
    every, none = np.ones(4000, bool), Predictions(*np.empty((2, 4000, 0)))  # type: ignore[arg-type]
    found = Validation(labels, none, np.array(rows)[:, None], every, None)
    mean, (low, high) = found.top1(ENSEMBLE, every)
    assert mean == pytest.approx(0.6)
    assert [low, high] == pytest.approx([0.6 - 0.0152, 0.6 + 0.0152], abs=5e-4)  # √(.6 · .4 / 4000)
    mean, (low, high) = found.above(ENSEMBLE, 0, every)
    assert mean == pytest.approx(0.1)
    assert [low, high] == pytest.approx([0.1 - 0.0093, 0.1 + 0.0093], abs=5e-4)  # √(.1 · .9 / 4000)


@pytest.mark.parametrize(
    ("ensemble", "selection", "said"),
    [
        (
            [1, 0, 1, 0, 1, 0],
            True,
            "best model on the half that chooses, one, to the ensemble it is +75.0 points",
        ),
        ([1, 1, 0, 1, 0, 1], True, "on the half that chose the shares it is +25.0 points"),
        ([1, 0, 0, 0, 0, 0], True, "nor does it on the half that chose the shares (-75.0)"),
        (TWO, False, "all models have equal shares, and the others have 50.0% on average"),
    ],
)
def test_the_report_says_whether_the_ensemble_beats_the_best_model_and_else_why(
    ensemble: list[int], selection: bool, said: str
) -> None:
    one = [1, 1, 0, 0, 0, 1]
    found = validation(one, TWO, TWO, ensemble, TWO, TWO, selection=selection)
    text = verdict(found, TITLES)
    assert said in text


def test_a_training_that_several_members_continue_counts_once(tmp_path: Path) -> None:
    ways = [["wt", "given"], ["wt", "given", "large"], ["lw", "given"]]
    records = [
        models.read_record(tiny_models.save(tmp_path / way[-1] / way[0], ["a", "b"], lineage=way))
        for way in ways
    ]
    found = trainings(records)
    assert [each.what for each in found] == ["wt", "given", "large", "lw", "given"]
    assert found[0] == Training("wt", 1234, 5.6)
