import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.shared.data.targets import Targets
from components.shared.stage import metadata, parallel
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem
from components.weighting.candidates import Candidates
from components.weighting.documents import Documents
from components.weighting.neighbors import nearest
from components.weighting.tf_idf import TfIdfSimilarity
from components.weighting.weights import RowGroupWeigher, sharpened
from tests.killing import Calls, killed_after
from tests.weighting.running import BIRDS, OWN, Run


def _random_images(count: int) -> list[tuple[int, str]]:
    draw = random.Random(0)
    words = ["sparrow", "hawk", "owl", "dog", "mice", "night", "brown", "bird", "canon", "2007"]
    return [
        (draw.randrange(4), " ".join(draw.choices(words, k=draw.randrange(6))))
        for _ in range(count)
    ]


def test_weights_are_the_cosines_with_the_label_and_its_neighbours(tmp_path: Path) -> None:
    images = _random_images(50)
    run = Run(tmp_path, BIRDS, images)

    weights = run.weights(neighbors=2)

    documents = Documents.of(BIRDS)
    near = nearest(BIRDS, documents.vectors, 2)
    cosines = documents.vectors_of(run.titles).toarray() @ documents.vectors.toarray().T
    for image, (label, _) in enumerate(images):
        fits = [(-cosines[image, c], c != label, c) for c in [label, *near[label]]]
        expected = [(c, -cosine) for cosine, _, c in sorted(fits) if cosine < 0]
        classes, found = weights[image]
        assert classes.tolist() == [c for c, _ in expected or [(label, 0.5)]]
        assert found.tolist() == pytest.approx([w for _, w in expected or [(label, 0.5)]])


def test_the_label_goes_when_the_text_speaks_only_for_its_neighbours(tmp_path: Path) -> None:
    weights = Run(tmp_path, BIRDS, [(0, "an owl hunts"), (2, "an owl hunts")]).weights()

    assert weights[0][0].tolist() == [2, 1]  # the owl, then the hawk, which hunts as well
    assert weights[1][0].tolist() == [2, 1]


def test_the_label_stays_when_the_text_fits_others_better_but_fits_it_at_all(
    tmp_path: Path,
) -> None:
    images = [(0, "owl, a bird that hunts at night")]

    weights = Run(tmp_path, BIRDS, images).weights(top_k=2)

    assert weights[0][0].tolist() == [2, 0]  # the hawk fits better than the sparrow


def test_a_text_that_says_nothing_leaves_the_label_with_the_fallback_weight(
    tmp_path: Path,
) -> None:
    images = [(3, ""), (1, "of the"), (0, "IMG_1234 Paris"), (0, "sparrow")]
    run = Run(tmp_path, BIRDS, images)

    weights = run.weights(fallback_weight=0.25)

    for image in range(3):
        classes, found = weights[image]
        assert (classes.tolist(), found.tolist()) == ([images[image][0]], [0.25])
    assert run.metrics["fallback_share"] == 3 / 4


def test_a_fallback_weight_of_0_leaves_out_images_whose_texts_say_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, BIRDS, [(3, ""), (1, "of the"), (0, "sparrow"), (2, "")])
    usual = run.weights()

    weights = run.weights("without", fallback_weight=0, label_weight=0.1)

    assert np.diff(weights.offsets).tolist() == [0, 0, 1, 0]
    assert weights[2][1].tolist() == pytest.approx([usual[2][1][0] + 0.1])
    metrics = metadata.read(tmp_path / "without")
    assert (metrics["images"], metrics["fallback_share"]) == (4, 3 / 4)
    assert metrics["label_is_strongest"] == 1 / 4


def test_nothing_but_texts_that_say_nothing_may_be_left_out(tmp_path: Path) -> None:
    weights = Run(tmp_path, BIRDS, [(3, ""), (1, "")]).weights(fallback_weight=0)

    assert (len(weights), len(weights.classes)) == (2, 0)


def test_the_label_weight_adds_to_the_label_alone(tmp_path: Path) -> None:
    run = Run(tmp_path, BIRDS, [(0, "owl, a bird that hunts"), (0, "an owl hunts"), (0, "")])
    usual = run.weights()

    weights = run.weights("prior", label_weight=0.25)

    for image, label in ((0, 0.25), (1, 0.25), (2, 0)):
        before, after = (dict(zip(*each[image], strict=True)) for each in (usual, weights))
        before[0] = before.get(0, 0) + label
        assert after == pytest.approx(before)


def test_a_label_that_the_text_does_not_fit_displaces_no_stronger_concept(tmp_path: Path) -> None:
    run = Run(tmp_path, BIRDS, [(0, "an owl hunts")])

    weights = run.weights(top_k=1, label_weight=0.1)

    assert weights[0][0].tolist() == [2]


def test_the_slides_parameters_write_plain_cosines(tmp_path: Path) -> None:
    run = Run(tmp_path, BIRDS, _random_images(50))

    neutral = run.weights()

    documents = Documents.of(BIRDS)
    classes = Candidates.of(BIRDS, nearest(BIRDS, documents.vectors, 5))
    labels = np.array([label for label, _ in _random_images(50)])
    pairs = TfIdfSimilarity.of(documents, classes).similarities(run.titles, labels)
    cosines = {(i, c): w for i, c, w in zip(*pairs, strict=True)}
    for image in np.unique(pairs.images):
        kept = [cosines[image, label] for label in neutral[image][0]]
        assert neutral[image][1].tobytes() == np.array(kept, np.float32).tobytes()


@pytest.mark.parametrize("sharpness", [0.5, 3, 10])
def test_sharpness_divides_an_images_sum_by_powers_of_its_weights(
    sharpness: float, tmp_path: Path
) -> None:
    run = Run(tmp_path, BIRDS, _random_images(50))
    usual = run.weights()

    weights = run.weights("sharp", sharpness=sharpness)

    assert (weights.offsets == usual.offsets).all()
    assert (weights.classes == usual.classes).all()
    for image in range(50):
        (_, before), (_, after) = usual[image], weights[image]
        powers = before.astype(float) ** sharpness
        assert after == pytest.approx(before.sum() * powers / powers.sum(), rel=1e-5)


@pytest.mark.parametrize("fallback_weight", [0, 0.1])
@pytest.mark.parametrize("label_weight", [0, 0.001, 1])
@pytest.mark.parametrize("sharpness", [0.01, 1, 10])
def test_weights_are_positive_and_the_strongest_first(
    fallback_weight: float, label_weight: float, sharpness: float, tmp_path: Path
) -> None:
    run = Run(tmp_path, BIRDS, _random_images(100))

    weights = run.weights(
        top_k=3,
        fallback_weight=fallback_weight,
        label_weight=label_weight,
        sharpness=sharpness,
    )

    assert np.isfinite(weights.weights).all()
    assert (weights.weights > 0).all()
    for image in range(100):
        assert (np.diff(weights[image][1]) <= 0).all()
        assert len(weights[image][1]) in range(0 if fallback_weight == 0 else 1, 4)


def test_a_weight_that_sharpness_makes_vanish_leaves_a_trace() -> None:
    weights = np.array([1, 1e-6, 0.5], np.float32)

    sharp = sharpened(weights, np.array([2, 0, 1]), 10)

    assert sharp[[0, 2]].tolist() == pytest.approx([1, 0.5], rel=1e-5)
    assert 0 < sharp[1] < 1e-37


def test_concepts_outside_wordnet_are_weighted_by_text_alone(tmp_path: Path) -> None:
    images = [(0, "red tulips"), (0, "roses"), (2, "rose and tulip"), (1, "")]

    weights = Run(tmp_path, OWN, images).weights()

    assert weights[0][0].tolist() == [1, 0]
    assert weights[0][1].tolist() == pytest.approx([0.5**0.5, 0.5])  # red and tulip weigh alike
    assert weights[1][0].tolist() == [0]
    assert weights[2][0].tolist() == [1, 0]
    assert weights[3][0].tolist() == [1]


def test_metrics_count_what_was_written(tmp_path: Path) -> None:
    run = Run(tmp_path, BIRDS, [(2, "owl"), (0, "owl"), (3, "dog")])

    weights = run.weights(top_k=1)

    assert run.metrics == {
        "images": 3,
        "pairs_per_image": 1.0,
        "mean_weight": pytest.approx(float(weights.weights.mean()), rel=1e-3),
        "label_is_strongest": 0.6667,
        "fallback_share": 0.0,
    }


@pytest.mark.parametrize("workers", [2, 4])
def test_any_number_of_workers_writes_the_same_bytes(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, BIRDS, _random_images(100))
    for name, number in (("one", 1), ("several", workers)):
        monkeypatch.setattr(parallel, "cores", lambda number=number: number)
        run.weights(name)
    assert _content(tmp_path / "several") == _content(tmp_path / "one")


def _content(folder: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(found) == 4
    return found


def test_a_stage_that_was_killed_goes_on_and_ends_as_one_that_was_not(
    tmp_path: Path, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_CHECKPOINTS", location)
    run = Run(tmp_path, BIRDS, _random_images(100))
    run.weights("undisturbed")
    metrics = run.metrics
    killed_after(6, lambda: run.weights("disturbed"))
    done = len(list(filesystem.listed(location)))
    assert not (tmp_path / "disturbed").exists()
    weighed = Calls(RowGroupWeigher, "_weigh", tmp_path / "weighed", monkeypatch)
    run.weights("disturbed")

    assert 5 <= done < 15
    assert len(weighed.taken()) == 15 - done
    assert _content(tmp_path / "disturbed") == _content(tmp_path / "undisturbed")
    assert run.metrics == metrics
    assert list(filesystem.listed(location)) == []


def test_a_row_group_may_be_empty(tmp_path: Path) -> None:
    run = Run(tmp_path, BIRDS, [(0, "sparrow"), (1, "hawk")])
    path = tmp_path / "texts.parquet"
    texts = pq.read_table(path)
    with pq.ParquetWriter(path, texts.schema) as writer:
        for start, length in ((0, 1), (1, 0), (1, 1)):
            writer.write_table(texts.slice(start, length))
    assert [run.weights()[image][0][0] for image in range(2)] == [0, 1]


def test_weights_carry_the_labels_names_and_numbering(tmp_path: Path) -> None:
    weights = Run(tmp_path, BIRDS, [(0, "owl")]).weights()

    labels = Targets.load(tmp_path / "labels")
    assert (weights.names, weights.titles) == (labels.names, labels.titles)
    assert weights.identity == labels.identity


def test_the_report_escapes_what_the_web_says(tmp_path: Path) -> None:
    Run(tmp_path, BIRDS, [(2, "<script>alert(1)</script> an owl hunts mice")]).weights()

    report = (tmp_path / "report.html").read_text()
    assert "<script" not in report
    assert "&lt;script&gt;alert(1)" in report


def test_the_report_shows_an_images_text_above_its_weights(tmp_path: Path) -> None:
    weights = Run(tmp_path, BIRDS, [(1, "an owl hunts")]).weights()

    report = (tmp_path / "report.html").read_text()
    assert "an owl hunts" in report
    weight = weights[0][1][0]
    assert f'<div class=bar style="--share: {100 * weight:.0f}%">n3 {weight:.2f}</div>' in report


def test_labels_of_other_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    run = Run(tmp_path / "a", BIRDS, [(0, "owl")])
    Run(tmp_path / "b", BIRDS, [(0, "owl"), (1, "hawk")])
    (tmp_path / "b" / "texts.parquet").replace(tmp_path / "a" / "texts.parquet")

    with pytest.raises(UserError, match="made for 2 images"):
        run.weights()


def test_concepts_of_other_classes_are_refused(tmp_path: Path) -> None:
    run = Run(tmp_path, BIRDS, [(0, "owl")])
    pq.write_table(OWN, tmp_path / "labels" / "concepts.parquet")

    with pytest.raises(UserError, match="not the concepts of"):
        run.weights()
