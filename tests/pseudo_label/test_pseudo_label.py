import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from components.pseudo_label.comparison import Comparison
from components.pseudo_label.labelling import as_pairs, best
from components.pseudo_label.stage import pseudo_label
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.stage import metadata
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem
from components.shared.training import models
from components.shared.training.inference import Classifier
from tests import tiny_models
from tests.forked import Forked
from tests.synthetic import coloured_squares, image_set, targets

NAMES = ["red", "green", "blue", "grey"]


@dataclass(frozen=True)
class Given:
    folder: Path
    images: ImageSet
    labels: Targets

    @classmethod
    def write(cls, folder: Path, count: int) -> "Given":
        pictures, colours = coloured_squares(count, 48, seed=0)
        images = image_set(folder, pictures, images_per_shard=4)
        pairs = [[(colour, 1.0)] for colour in colours]
        return cls(folder, images, targets(folder / "labels", images.identity, pairs, NAMES))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return Given.write(tmp_path_factory.mktemp("given"), 21)


@pytest.fixture(autouse=True)
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkpoints"
    monkeypatch.setenv("WEBLY_CHECKPOINTS", str(folder))
    return folder


def run(given: Given, teachers: list[Path], out: Path, **parameters: float | str) -> Targets:
    pseudo_label(
        given.images.folder,
        given.folder / "labels",
        teachers,
        out / "pseudo_labels",
        out / "report.html",
        **{"batch_size": 8, **parameters},  # type: ignore[arg-type]
    )
    return Targets.load(out / "pseudo_labels")


def test_labels_are_the_normalised_top_k_of_the_mean_probability(
    given: Given, tmp_path: Path
) -> None:
    teachers = [
        tiny_models.save(tmp_path / str(seed), NAMES, seed=seed, image_size=size)
        for seed, size in [(0, 32), (1, 48)]
    ]
    means = tiny_models.naive_probabilities(given.images, teachers)
    confidence = np.sort(means.max(axis=1))
    threshold = float(confidence[7] + confidence[8]) / 2  # drops eight of the 21

    found = run(given, teachers, tmp_path, top_k=2, min_confidence=threshold)

    assert found.names == NAMES
    assert found.identity == given.images.identity
    for image, row in enumerate(means):
        classes, weights = found[image]
        if row.max() < threshold:
            assert len(classes) == 0
            continue
        strongest = np.argsort(-row)[:2]
        assert classes.tolist() == strongest.tolist()
        np.testing.assert_allclose(weights, row[strongest] / row[strongest].sum(), atol=1e-5)


def test_teachers_also_see_mirror_images_where_asked(given: Given, tmp_path: Path) -> None:
    teacher = tiny_models.save(tmp_path / "teacher", NAMES)
    views = [
        tiny_models.naive_probabilities(given.images, [teacher], mirrored=mirrored)
        for mirrored in (False, True)
    ]
    with pytest.raises(UserError, match="min_confidence"):  # leaves parts, made of one view
        run(given, [teacher], tmp_path, top_k=4, min_confidence=1)
    found = run(given, [teacher], tmp_path, top_k=4, min_confidence=0, views="flip")
    for image, row in enumerate(np.mean(views, axis=0)):
        classes, weights = found[image]
        np.testing.assert_allclose(weights, row[classes], atol=1e-5)
    once = run(given, [teacher], tmp_path / "once", top_k=4, min_confidence=0)
    assert abs(found.weights - once.weights).max() > 0.001


def test_metrics_count_what_was_kept_and_what_agrees(given: Given, tmp_path: Path) -> None:
    teachers = [tiny_models.save(tmp_path / "teacher", NAMES, seed=3)]
    means = tiny_models.naive_probabilities(given.images, teachers)
    labels = np.array([given.labels[i][0][0] for i in range(21)])
    confidence = np.sort(means.max(axis=1))
    threshold = float(confidence[4] + confidence[5]) / 2
    kept = means.max(axis=1) >= threshold

    run(given, teachers, tmp_path, num_teachers=1, min_confidence=threshold)

    metrics = metadata.read(tmp_path / "pseudo_labels")
    assert metrics["images"] == 21
    assert metrics["labelled"] == 16
    assert metrics["labelled_share"] == pytest.approx(16 / 21, rel=1e-3)
    assert metrics["agreement"] == pytest.approx(
        (means.argmax(axis=1) == labels)[kept].mean(), rel=1e-3
    )
    assert metrics["mean_confidence"] == pytest.approx(means.max(axis=1).mean(), rel=1e-3)


def test_only_the_best_models_by_validation_score_teach(given: Given, tmp_path: Path) -> None:
    predicted = {"poor": [0.9, 0.1], "best": [0.1, 0.9], "good": [0.3, 0.7]}
    scores = {"poor": 0.2, "best": 0.8, "good": 0.6}
    candidates = [
        tiny_models.save(
            tmp_path / name, NAMES, score=scores[name], probabilities=[*row, 1e-6, 1e-6]
        )
        for name, row in predicted.items()
    ]
    found = run(given, candidates, tmp_path, num_teachers=2, top_k=2)
    assert found.classes[:2].tolist() == [1, 0]
    np.testing.assert_allclose(found.weights[:2], [0.8, 0.2], atol=1e-4)  # of best and good


def test_the_report_names_teachers_and_shows_disagreements(given: Given, tmp_path: Path) -> None:
    teacher = tiny_models.save(
        tmp_path / "teacher",
        NAMES,
        probabilities=[0.7, 0.1, 0.1, 0.1],
        lineage=["wt_pretrain 32 px", "finetune 48 px"],
    )
    run(given, [teacher], tmp_path, num_teachers=1)
    page = (tmp_path / "report.html").read_text()
    assert "resnet10t: wt_pretrain 32 px, finetune 48 px" in page
    assert page.count("given: green") == page.count("given: blue") == 7  # of seven each
    assert "given: red" not in page


def test_labels_of_other_images_are_refused(given: Given, tmp_path: Path) -> None:
    other = image_set(
        tmp_path / "other", coloured_squares(21, 48, seed=0)[0], list("abcdefghijklmnopqrstu")
    )
    targets(tmp_path / "labels", other.identity, [[(0, 1.0)]] * 21, NAMES)
    teacher = tiny_models.save(tmp_path / "teacher", NAMES)
    with pytest.raises(UserError, match="of the same ingest"):
        run(Given(tmp_path, given.images, given.labels), [teacher], tmp_path)


def test_models_of_other_classes_are_refused(given: Given, tmp_path: Path) -> None:
    keywords = tiny_models.save(tmp_path / "keywords", ["round", "shiny"])
    with pytest.raises(UserError, match="has 2 classes"):
        run(given, [keywords], tmp_path)
    assert not (tmp_path / "pseudo_labels").exists()


def test_when_no_image_is_labelled_nothing_is_written(given: Given, tmp_path: Path) -> None:
    unsure = tiny_models.save(tmp_path / "unsure", NAMES, probabilities=[0.25] * 4)
    with pytest.raises(UserError, match=r"min_confidence=0.5.*on average 0\.25"):
        run(given, [unsure], tmp_path, num_teachers=1, min_confidence=0.5)
    assert not (tmp_path / "pseudo_labels").exists()


def test_a_lower_min_confidence_then_needs_no_model_any_more(
    given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsure = tiny_models.save(tmp_path / "unsure", NAMES, probabilities=[0.25] * 4)
    with pytest.raises(UserError):
        run(given, [unsure], tmp_path, num_teachers=1, min_confidence=0.5)
    monkeypatch.delattr(Classifier, "load")
    found = run(given, [unsure], tmp_path, num_teachers=1, min_confidence=0.2)
    assert len(found.classes) == 21 * 4


def test_nothing_is_left_of_what_it_could_have_gone_on_from(
    given: Given, tmp_path: Path, checkpoints: Path
) -> None:
    run(given, [tiny_models.save(tmp_path / "teacher", NAMES)], tmp_path)
    assert not any(checkpoints.iterdir())


def test_equal_scores_choose_the_first_model(tmp_path: Path) -> None:
    records = [
        models.read_record(tiny_models.save(tmp_path / str(i), NAMES, score=score))
        for i, score in enumerate([0.5, 0.7, 0.7, 0.6])
    ]
    assert best(records, 3) == [1, 2, 3]


def test_pairs_leave_out_unsure_images_and_impossible_classes() -> None:
    classes = np.array([[2, 0], [1, 2], [0, 1]])
    probabilities = np.array([[0.6, 0.2], [0.3, 0.3], [1.0, 0.0]], np.float32)
    counts, kept, weights = as_pairs(classes, probabilities, 0.5)
    assert counts.tolist() == [2, 0, 1]
    assert kept.tolist() == [2, 0, 0]
    np.testing.assert_allclose(weights, [0.75, 0.25, 1.0])


def test_the_most_confident_disagreements_survive_the_batches(given: Given) -> None:
    comparison = Comparison(given.labels, min_confidence=0.3)
    confidence = np.linspace(0.25, 0.95, 21, dtype=np.float32)  # two images are below 0.3
    everywhere_grey = np.full((21, 1), 3)
    for start in range(0, 21, 5):
        numbers = np.arange(start, min(start + 5, 21))
        comparison.update(numbers, everywhere_grey[numbers], confidence[numbers, None])
    assert [each.number for each in comparison.disagreements] == list(range(20, 1, -1))
    assert comparison.labelled == 19
    assert comparison.pseudo.tolist() == [0, 0, 0, 19]
    assert comparison.given.tolist() == [7, 7, 7, 0]
    assert comparison.confidence.sum() == 21


def started(given: Given, teachers: list[Path], out: Path, location: str, log: Path) -> Forked:
    """Start the stage as a command that goes on in two processes."""
    arguments: dict[str, list[object]] = {
        "images": [given.images.folder],
        "labels": [given.folder / "labels"],
        "models": list(teachers),
        "pseudo_labels": [out / "pseudo_labels"],
        "report": [out / "report.html"],
        "batch_size": [8],
    }
    words = [word for name, values in arguments.items() for word in (f"--{name}", *values)]
    two = {"WEBLY_CHECKPOINTS": location, "WEBLY_PROCESSES": "2"}
    return Forked("components.pseudo_label", *map(str, words), log=log, env=os.environ | two)


def wait_until(holds) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def mention(text: str) -> bool:
    """Return whether a process has this text in its command line."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_text())
    return any(text in line for line in lines)


@pytest.mark.processes
def test_two_processes_that_are_killed_label_the_rest_and_end_as_one_that_was_not(
    tmp_path: Path,
) -> None:
    given = Given.write(tmp_path / "given", 48)
    teachers = [tiny_models.save(tmp_path / str(seed), NAMES, seed=seed) for seed in (0, 1)]
    run(given, teachers, tmp_path / "alone")
    together, location = tmp_path / "together", str(tmp_path / "location")
    # Each of the two waits in its fourth shard for what nobody writes.
    for shard in given.images.shards[6:8]:
        Path(shard.uri).rename(f"{shard.uri}.away")
        os.mkfifo(shard.uri)

    logs = [tmp_path / "killed.log", tmp_path / "again.log"]
    killed = started(given, teachers, together, location, logs[0])
    wait_until(lambda: killed.poll() is not None or len(list(filesystem.listed(location))) == 6)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -9, logs[0].read_text()
    wait_until(lambda: not mention(str(together)))
    assert len(list(filesystem.listed(location))) == 6
    assert not together.exists()

    for shard in given.images.shards[6:8]:
        Path(f"{shard.uri}.away").rename(shard.uri)
    again = started(given, teachers, together, location, logs[1])
    assert again.wait() == 0, logs[1].read_text()
    # The first rank speaks for both.
    assert logs[1].read_text().count("3 of 6 shards are already done") == 1
    for name in ("offsets.npy", "classes.npy", "weights.npy", "../pseudo_labels.metadata.json"):
        expected = (tmp_path / "alone" / "pseudo_labels" / name).read_bytes()
        assert (together / "pseudo_labels" / name).read_bytes() == expected
    assert not any(filesystem.listed(location))
