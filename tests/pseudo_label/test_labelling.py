import math
from typing import Any

import numpy as np
import pytest

from components.pseudo_label.comparison import Comparison
from components.pseudo_label.labelling import Labelling, Labels, most_confident
from components.shared.data.identity import Identity
from components.shared.data.targets import Targets
from components.shared.training.evidence import Texts
from components.shared.training.inference import ShardPredictions

NAMES = ["red", "green", "blue", "grey", "white"]
Pairs = list[list[tuple[int, float]]]


def of(pairs: Pairs) -> Targets:
    flat = [pair for image in pairs for pair in image]
    return Targets(
        np.cumsum([0, *map(len, pairs)]),
        np.array([number for number, _ in flat], np.int32),
        np.array([weight for _, weight in flat], np.float32),
        NAMES,
        NAMES,
        Identity.of(map(str, range(len(pairs)))),
    )


def label_of(
    q: list[float], said: list[tuple[int, float]] | None = None, given: int = 3, **options: Any
) -> dict[str, float]:
    """Return an image's label, of which teachers have kept the two most probable classes."""
    texts = Texts(None if said is None else of([said]), of([[(given, 1.0)]]), 0.5)
    numbers, all_q = np.arange(1), np.array([q], np.float32)
    top = np.argsort(-all_q, axis=1, kind="stable")[:, :2]
    kept, asked = (np.take_along_axis(all_q, each, axis=1) for each in (top, texts.asked(numbers)))
    part = ShardPredictions(numbers, top[None].astype(np.int32), kept[None], asked)
    found = Labelling(**{"top_k": 2, **options})(texts.evidence(part))
    assert found.weights.sum() == pytest.approx(1)
    pairs = zip(found.classes[0].tolist(), found.weights[0].tolist(), strict=True)
    return {NAMES[number]: weight for number, weight in pairs if weight > 0}


@pytest.mark.parametrize(
    ("said", "options", "expected"),
    [
        # 0.6 and 0.2, of 0.8
        (None, {}, {"red": 0.75, "green": 0.25}),
        (None, {"top_k": 1}, {"red": 1}),
        # 0.36 and 0.04, of 0.4
        (None, {"sharpness": 2}, {"red": 0.9, "green": 0.1}),
        # 0.6 × 0.05 and 0.1 × (0.75 + 0.05), of 0.11; green has 0.2 × 0.05
        ([(2, 0.75)], {"text_floor": 0.05}, {"blue": 8 / 11, "red": 3 / 11}),
        # 0.6 × 0.05 and 0.2 × (0.4 + 0.05) are as one to three, their squares as one to nine
        ([(1, 0.4)], {"text_floor": 0.05, "sharpness": 2}, {"green": 0.9, "red": 0.1}),
        # What fell back, or has no row, says nothing; and nothing does without a floor.
        ([(3, 0.5)], {"text_floor": 0.05}, {"red": 0.75, "green": 0.25}),
        ([], {"text_floor": 0.05}, {"red": 0.75, "green": 0.25}),
        ([(2, 0.75)], {"text_floor": math.inf}, {"red": 0.75, "green": 0.25}),
        # 0.6 × 0.5 / 0.88 and 0.5 + 0.08 × 0.5 / 0.88: of all that is known, grey's 0.08 included
        (
            None,
            {"label_share": 0.5},
            {"grey": 0.48 / 0.78, "red": 0.3 / 0.78},
        ),
    ],
)
def test_labels_are_as_worked_out_by_hand(
    said: list[tuple[int, float]] | None, options: dict[str, float], expected: dict[str, float]
) -> None:
    found = label_of([0.6, 0.2, 0.1, 0.08, 0.02], said, **options)
    assert found == pytest.approx(expected, abs=1e-6)
    assert list(found) == list(expected)  # the strongest first


def test_a_given_class_among_the_most_probable_counts_once() -> None:
    found = label_of([0.6, 0.2, 0.1, 0.08, 0.02], given=1, label_share=0.5)
    # 0.75 and 0.25 are halved
    assert found == pytest.approx({"green": 0.625, "red": 0.375}, abs=1e-6)


def test_a_sharp_label_keeps_nothing_of_what_vanishes() -> None:
    assert label_of([1 - 1e-6, 1e-6, 0, 0, 0], sharpness=10) == {"red": 1}


def test_each_class_keeps_its_most_confident_images() -> None:
    classes = np.array([0, 1, 0, 0, 1, 0, 2], np.int32)
    confidence = np.array([0.9, 0.2, 0.5, 0.9, 0.3, 0.6, 0.1], np.float32)

    def kept(share: float) -> list[int]:
        return np.flatnonzero(most_confident(classes, confidence, share)).tolist()

    assert kept(1) == [*range(7)]
    assert kept(0.5) == [0, 3, 4, 6]  # two of four, one of two, and a class's only one
    assert kept(0.01) == [0, 4, 6]  # of equals, the first


def test_pairs_leave_out_images_that_are_not_kept_and_impossible_classes() -> None:
    labels = Labels(
        np.array([[2, 0], [1, 2], [0, 1]], np.int32),
        np.array([[0.75, 0.25], [0.5, 0.5], [1, 0]], np.float32),
    )
    counts, classes, weights = labels.pairs(np.array([True, False, True]))
    assert counts.tolist() == [2, 0, 1]
    assert classes.tolist() == [2, 0, 0]
    assert weights.tolist() == [0.75, 0.25, 1]


def test_the_most_confident_disagreements_survive_the_batches() -> None:
    comparison = Comparison(of([[(number % 3, 1.0)] for number in range(21)]))
    weights = np.linspace(0.25, 0.95, 21, dtype=np.float32)
    literal = Labels(np.full((21, 2), [3, 0], np.int32), np.full((21, 2), 0.5, np.float32))
    made = Labels(np.full((21, 1), 3, np.int32), weights[:, None])
    for start in range(0, 21, 5):
        rows = np.arange(start, min(start + 5, 21))
        parts = (Labels(*(column[rows] for column in labels)) for labels in (literal, made))
        comparison.update(rows, weights[rows], *parts, rows >= 2)
    assert [each.number for each in comparison.disagreements] == list(range(20, 1, -1))
    assert comparison.labelled == 19
    assert comparison.pseudo.tolist() == [0, 0, 0, 19, 0]
    assert comparison.given.tolist() == [7, 7, 7, 0, 0]
    assert comparison.confidence.sum(axis=1).tolist() == [2, 19]
    assert comparison.literal == pytest.approx((0, 0.5, 6 / 19 * 0.5))  # six are given as red
    assert comparison.labels == pytest.approx((0, weights[2:].mean(), 0))
