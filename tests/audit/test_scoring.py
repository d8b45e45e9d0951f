import numpy as np
import pytest
from numpy.typing import NDArray

from components.audit.folds import dealt
from components.audit.scoring import NONE, Means, Scores, doubted, scored
from components.shared.data.identity import Identity
from components.shared.data.targets import Targets
from components.shared.training.evidence import Texts
from components.shared.training.inference import ShardPredictions

NAMES = ["red", "green", "blue", "grey"]
Pairs = list[list[tuple[int, float]]]


def of(pairs: Pairs, names: list[str] = NAMES) -> Targets:
    counts = [len(image) for image in pairs]
    flat = [pair for image in pairs for pair in image]
    return Targets(
        np.cumsum([0, *counts]),
        np.array([number for number, _ in flat], np.int32),
        np.array([weight for _, weight in flat], np.float32),
        names,
        names,
        Identity.of(map(str, range(len(pairs)))),
    )


def part_of(q: NDArray[np.float32], texts: Texts, top_k: int) -> ShardPredictions:
    numbers = np.arange(len(q))
    top = np.argsort(-q, axis=1, kind="stable")[:, :top_k]
    kept = np.take_along_axis(q, top, axis=1)
    asked = np.take_along_axis(q, texts.asked(numbers), axis=1)
    return ShardPredictions(numbers, top[None].astype(np.int32), kept[None], asked)


def scores_of(
    q: list[list[float]], labels: list[int], said: Pairs | None = None, top_k: int = 4
) -> Scores:
    given = of([[(label, 1.0)] for label in labels])
    texts = Texts(None if said is None else of(said), given, 0.5)
    return scored(part_of(np.array(q, np.float32), texts, top_k), texts, 0.05)


def test_the_text_multiplies_the_models_probabilities() -> None:
    found = scores_of([[0.6, 0.3, 0.1, 0.0]], [0], [[(1, 0.75), (2, 0.15)]])

    # 0.6 × 0.05, 0.3 × 0.8, 0.1 × 0.2 and nothing, of 0.29 in all
    assert found.classes.tolist() == [[1, 0, 2, 3]]
    assert found.probabilities[0] == pytest.approx([0.24 / 0.29, 0.03 / 0.29, 0.02 / 0.29, 0])
    assert found.label == pytest.approx([0.03 / 0.29])
    assert (found.model_classes[0], found.text_classes[0]) == (0, 1)
    assert (found.model[0], found.model_label[0], found.text[0]) == pytest.approx((0.6, 0.6, 0.75))


@pytest.mark.parametrize("said", [None, [[]], [[(0, 0.5)]]])
def test_where_the_text_says_nothing_the_models_decide(said: Pairs | None) -> None:
    found = scores_of([[0.1, 0.2, 0.3, 0.4]], [0], said)

    assert found.classes.tolist() == [[3, 2, 1, 0]]
    assert found.probabilities[0] == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert found.text_classes.tolist() == [NONE]


@pytest.mark.parametrize("said", [[[(0, 0.4)]], [[(1, 0.5)]], [[(0, 0.5), (1, 0.1)]]])
def test_only_the_fallback_counts_as_nothing(said: Pairs) -> None:
    assert scores_of([[0.1, 0.2, 0.3, 0.4]], [0], said).text_classes.tolist() != [NONE]


def test_few_classes_of_an_image_are_enough_for_exact_probabilities() -> None:
    random = np.random.default_rng(0)
    q = random.dirichlet(np.ones(30), 200).astype(np.float32)
    names = [str(number) for number in range(30)]
    given = of([[(int(label), 1.0)] for label in random.integers(0, 30, 200)], names)
    said = of(
        [
            [(int(c), float(random.random())) for c in random.choice(30, random.integers(0, 6))]
            for _ in range(200)
        ],
        names,
    )
    # A text may name a class twice: the stronger weight counts.
    said = of(
        [
            sorted(dict(sorted(zip(*said[i], strict=True), key=lambda p: p[1])).items())
            for i in range(200)
        ],
        names,
    )
    texts = Texts(said, given, 0.5)

    found = scored(part_of(q, texts, 5), texts, 0.05)

    dense = np.zeros((200, 30))
    for image in range(200):
        classes, weights = said[image]
        dense[image, classes] = weights
    p = q * (dense + 0.05)
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.label, p[np.arange(200), given.classes], rtol=1e-4)
    np.testing.assert_allclose(found.probabilities, -np.sort(-p, axis=1)[:, :5], rtol=1e-4)
    assert found.suggested.tolist() == p.argmax(axis=1).tolist()


def test_a_label_is_judged_beside_others_of_its_class() -> None:
    # Labels of red are predicted with 0.9, 0.8 and 0.1, those of green with 0.3 and 0.3.
    q = [
        [0.9, 0.1, 0, 0],
        [0.8, 0.2, 0, 0],
        [0.1, 0.4, 0.5, 0],
        [0.3, 0.3, 0.4, 0],
        [0.2, 0.3, 0.5, 0],
    ]
    scores, means = scores_of(q, [0, 0, 0, 1, 1]), Means(4)
    means.update(scores)

    means_of = np.sqrt([0.6, 0.6, 0.6, 0.3, 0.3])
    assert means.trust(scores) == pytest.approx([0.9, 0.8, 0.1, 0.3, 0.3] / means_of)
    assert doubted(scores).tolist() == [False, False, True, True, True]
    # The third is claimed by green; blue has no images, so it claims none.
    assert means.claimed(scores).tolist() == [False, False, True, False, False]


def test_the_only_image_of_a_class_is_not_judged() -> None:
    scores, means = scores_of([[0.9, 0.1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]], [1, 0, 0]), Means(4)
    means.update(scores)

    assert means.trust(scores)[0] == np.inf
    assert not means.claimed(scores).any()


def test_each_class_is_dealt_out_evenly() -> None:
    labels = of([[(number % 3 % 2, 1.0)] for number in range(90)] + [[(2, 1.0)], [(3, 1.0)]])

    folds = dealt(labels, 4)

    for number, images in ((0, 60), (1, 30)):
        counts = np.bincount(folds[np.asarray(labels.classes) == number], minlength=4)
        assert sorted(counts) == sorted((images + i) // 4 for i in range(4))
    assert folds[-2:].tolist() == [2, 3]  # single images are not all in one fold


def test_texts_have_one_width_whichever_images_are_asked_for() -> None:
    texts = Texts(of([[(0, 0.3)], [(1, 0.3), (2, 0.2)]]), of([[(0, 1.0)], [(0, 1.0)]]), 0.5)

    one, both = texts.asked(np.arange(1)), texts.asked(np.arange(2))

    assert (one.tolist(), both.tolist()) == ([[0, 0, 0]], [[0, 0, 0], [0, 1, 2]])
