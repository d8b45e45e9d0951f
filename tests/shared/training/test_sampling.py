from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from components.shared.data.identity import Identity
from components.shared.data.targets import Targets
from components.shared.stage.errors import UserError
from components.shared.training.sampling import Plan


def targets(classes_of_images: Sequence[Sequence[int]]) -> Targets:
    counts = [len(classes) for classes in classes_of_images]
    flat = np.array([c for classes in classes_of_images for c in classes], np.int32)
    names = [str(c) for c in range(1 + int(flat.max(initial=0)))]
    return Targets(
        offsets=np.cumsum([0, *counts]).astype(np.int64),
        classes=flat,
        weights=np.ones(len(flat), np.float32),
        names=names,
        titles=names,
        identity=Identity(len(counts), ""),
    )


def plan(classes_of_images: Sequence[Sequence[int]], **changes: Any) -> Plan:
    arguments: dict[str, Any] = {
        "balance": 0.0,
        "balance_on": "any",
        "max_repeats": 1000,
        "seed": 0,
    }
    return Plan(targets(classes_of_images), **{**arguments, **changes})


def counts(order: NDArray[np.int32], images: int) -> NDArray[np.int64]:
    return np.bincount(order, minlength=images)


LONG_TAIL = [[0]] * 60 + [[1]] * 30 + [[2]] * 9 + [[3]]  # 100 images of four classes
SEVERAL = [[0, 1], [0], [0, 2], [1, 0], [], [0], [2, 1, 0], [0]]


def test_balanced_draws_take_every_class_equally_often() -> None:
    drawn = counts(plan(LONG_TAIL).order(0), 100)
    per_class = [drawn[a:b].sum() for a, b in [(0, 60), (60, 90), (90, 99), (99, 100)]]
    assert per_class == [25, 25, 25, 25]


def test_one_class_is_drawn_as_images_come() -> None:
    assert counts(plan([[0]] * 9).order(2), 9).tolist() == [1] * 9


def test_classes_without_images_take_no_draws_from_the_others() -> None:
    # Classes 0 and 3 have images, 1 and 2 none: half of the ten draws each.
    drawn = counts(plan([[0]] * 8 + [[3]] * 2).order(0), 10)
    assert [drawn[:8].sum(), drawn[8:].sum()] == [5, 5]


def test_square_root_draws_take_classes_by_the_root_of_their_size() -> None:
    drawn = counts(plan([[0]] * 64 + [[1]] * 16 + [[2]] * 4, balance=0.5).order(0), 84)
    # 84 draws in the ratio 8 : 4 : 2.
    assert [drawn[a:b].sum() for a, b in [(0, 64), (64, 80), (80, 84)]] == [48, 24, 12]


def test_natural_draws_take_every_image_exactly_once() -> None:
    assert counts(plan(LONG_TAIL, balance=1.0).order(3), 100).tolist() == [1] * 100


@pytest.mark.parametrize(
    ("balance_on", "expected"),
    [
        # Seven images; class 0 has all of them, class 1 three, class 2 two. Each class gets 7/3.
        (
            "any",
            [1 / 3 + 7 / 9, 1 / 3, 1 / 3 + 7 / 6, 7 / 9 + 1 / 3, 0, 1 / 3, 7 / 6 + 10 / 9, 1 / 3],
        ),
        # By the strongest class: class 0 has five of them, classes 1 and 2 one each.
        ("strongest", [7 / 15, 7 / 15, 7 / 15, 7 / 3, 0, 7 / 15, 7 / 3, 7 / 15]),
    ],
)
def test_images_of_several_classes_are_drawn_as_often_as_their_classes_ask(
    balance_on: str, expected: list[float]
) -> None:
    drawing = plan(SEVERAL, balance_on=balance_on)
    passes = 2000
    mean = sum(counts(drawing.order(number), 8) for number in range(passes)) / passes
    # A count differs from its expectation by less than 1.5, so five deviations of the mean are:
    assert mean == pytest.approx(expected, abs=5 * 0.75 / passes**0.5)


def test_draws_of_different_images_are_not_tied_to_each_other() -> None:
    # An image of class 0 is drawn in 0.7 of the passes, whatever the others do.
    drawing = plan([[0]] * 100 + [[1]] * 100 + [[2]] * 10, seed=3)
    drawn = np.array([counts(drawing.order(number), 210)[:100] > 0 for number in range(400)])
    correlation = np.corrcoef(drawn.T.astype(float))
    far = np.abs(np.subtract.outer(np.arange(100), np.arange(100))) > 3
    assert np.abs(correlation[far]).max() < 0.3


@pytest.mark.parametrize("max_repeats", [1, 2, 7])
def test_no_image_is_drawn_more_often_than_allowed(max_repeats: int) -> None:
    order = plan(LONG_TAIL, max_repeats=max_repeats).order(0)
    assert len(order) == 100
    assert counts(order, 100).max() == max_repeats


def test_draws_beyond_the_limit_go_to_images_that_had_none() -> None:
    free, limited = (
        counts(plan(LONG_TAIL, max_repeats=limit).order(0), 100) for limit in (1000, 5)
    )
    assert free[99] == 25
    assert limited[99] == 5
    assert (limited[free == 0] <= 1).all()
    assert (limited[(free > 0) & (free <= 5)] == free[(free > 0) & (free <= 5)]).all()


def test_a_pass_is_a_function_of_seed_and_number() -> None:
    assert plan(LONG_TAIL).order(5).tolist() == plan(LONG_TAIL).order(5).tolist()
    assert plan(LONG_TAIL).order(5).tolist() != plan(LONG_TAIL).order(6).tolist()
    assert plan(LONG_TAIL).order(5).tolist() != plan(LONG_TAIL, seed=1).order(5).tolist()


def test_images_without_targets_or_left_out_are_never_drawn() -> None:
    drawing = plan(SEVERAL, left_out=np.array([6, 1]))
    assert drawing.num_images == 5
    seen = {image for number in range(50) for image in drawing.order(number).tolist()}
    assert seen == {0, 2, 3, 5, 7}


def test_classes_of_left_out_images_only_get_no_draws() -> None:
    drawing = plan(LONG_TAIL, left_out=[99])
    assert [counts(drawing.order(0), 99)[a:b].sum() for a, b in [(0, 60), (60, 90)]] == [33, 33]


def test_nothing_to_draw_is_the_users_error() -> None:
    with pytest.raises(UserError, match="no image has a target"):
        plan([[], []])


@pytest.mark.parametrize("balance_on", ["any", "strongest"])
def test_shards_change_the_order_but_not_what_is_drawn(balance_on: str) -> None:
    images = SEVERAL * 30 + LONG_TAIL
    whole = plan(images, balance_on=balance_on, left_out=[3, 100]).order(4)
    sharded = plan(
        images,
        balance_on=balance_on,
        left_out=[3, 100],
        shard_images=[1, 99, 40, 0, 160, 40],
        window_shards=2,
    ).order(4)
    assert sharded.tolist() != whole.tolist()
    assert sorted(sharded) == sorted(whole)


def test_the_ranks_parts_are_the_plan() -> None:
    drawing = plan(LONG_TAIL)
    shares = [islice(drawing.micro_batches(8, rank=rank, world_size=3), 12) for rank in range(3)]
    parts = [part for step in zip(*shares, strict=True) for part in step]
    drawn = np.concatenate([part.images for part in parts])
    passes = np.concatenate([drawing.order(number) for number in range(3)])
    assert drawn.tolist() == passes[: 3 * 12 * 8].tolist()
    assert [part.first for part in parts] == list(range(0, 3 * 12 * 8, 8))


def test_a_part_can_be_longer_than_a_pass() -> None:
    drawing = plan([[0], [0], [1]])
    (part,) = islice(drawing.micro_batches(8), 1)
    passes = np.concatenate([drawing.order(number) for number in range(3)])
    assert part.images.tolist() == passes[:8].tolist()


def test_a_share_can_begin_at_any_part() -> None:
    whole = [
        part.images.tolist() for part in islice(plan(LONG_TAIL).micro_batches(16, world_size=2), 20)
    ]
    rest = plan(LONG_TAIL).micro_batches(16, world_size=2, skip=13)
    assert [part.images.tolist() for part in islice(rest, 7)] == whole[13:]


def test_a_window_of_shards_is_finished_before_the_next_begins() -> None:
    drawing = plan([[0]] * 60, balance=1.0, shard_images=[10] * 6, window_shards=2)
    orders = [drawing.order(number) // 10 for number in range(4)]
    for shards in orders:
        windows = [set(shards[start : start + 20].tolist()) for start in (0, 20, 40)]
        assert [len(window) for window in windows] == [2, 2, 2]
        assert set.union(*windows) == set(range(6))
    assert len({frozenset(shards[:20].tolist()) for shards in orders}) > 1


def test_a_window_is_shuffled_across_its_shards() -> None:
    shards = plan([[0]] * 60, balance=1.0, shard_images=[10] * 6).order(0) // 10
    assert all(len(set(shards[start : start + 20].tolist())) > 3 for start in (0, 20, 40))


def test_the_windows_of_a_plan_are_those_that_its_draws_come_from() -> None:
    drawing = plan(LONG_TAIL * 3, shard_images=[30] * 10, window_shards=3)
    windows = list(islice(drawing.windows(0), 12))
    assert [len(window) for window in windows] == [3, 3, 3, 1] * 3
    for part in islice(drawing.micro_batches(1), 900):
        assert part.images[0] // 30 in windows[part.window]


def test_windows_can_begin_at_any_draw() -> None:
    drawing = plan(LONG_TAIL * 3, shard_images=[30] * 10, window_shards=3)
    (part,) = islice(drawing.micro_batches(1, skip=777), 1)
    whole = [window.tolist() for window in islice(drawing.windows(0), 20)]
    rest = [window.tolist() for window in islice(drawing.windows(777), 20 - part.window)]
    assert rest == whole[part.window :]


# A window with more draws than it has images draws each as often as it must.
@pytest.mark.parametrize(("max_repeats", "most"), [(1, 2), (3, 3)])
def test_repeats_are_limited_within_windows(max_repeats: int, most: int) -> None:
    shards = {"shard_images": [25] * 4, "window_shards": 2}
    free = counts(plan(LONG_TAIL, **shards).order(1), 100)
    limited = counts(plan(LONG_TAIL, max_repeats=max_repeats, **shards).order(1), 100)
    assert free.max() == 25
    assert limited.max() == most
    assert limited.sum() == 100
