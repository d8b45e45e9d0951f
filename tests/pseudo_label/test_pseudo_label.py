import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.pseudo_label.labelling import Labelling, best
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


def run(given: Given, teachers: list[Path], out: Path, **parameters: Any) -> Targets:
    pseudo_label(
        given.images.folder,
        given.folder / "labels",
        teachers,
        out / "pseudo_labels",
        out / "report.html",
        **{"batch_size": 8, **parameters},
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

    found = run(given, teachers, tmp_path, top_k=2, sharpness=1)

    assert found.names == NAMES
    assert found.identity == given.images.identity
    assert not found.chosen
    for image, row in enumerate(means):
        classes, weights = found[image]
        strongest = np.argsort(-row)[:2]
        assert classes.tolist() == strongest.tolist()
        np.testing.assert_allclose(weights, row[strongest] / row[strongest].sum(), atol=1e-5)


def test_labels_are_sharpened_and_heed_texts_and_the_given_labels(
    given: Given, tmp_path: Path
) -> None:
    teacher = tiny_models.save(tmp_path / "teacher", NAMES)
    said = np.zeros((21, 4))
    said[np.arange(0, 21, 2), 3] = 0.6  # every other text speaks of grey
    pairs = [[(3, 0.6)] if row.any() else [(0, 0.4)] for row in said]
    targets(tmp_path / "weights", given.images.identity, pairs, NAMES)

    found = run(
        given,
        [teacher],
        tmp_path,
        top_k=4,
        weights=tmp_path / "weights",
        with_texts=True,
        text_floor=0.1,
        silent_weight=0.4,
        label_share=0.3,
    )

    said[1::2, 0] = 0.4 * (given.labels.classes[1::2] != 0)  # red is what silent texts fall back to
    expected = (tiny_models.naive_probabilities(given.images, [teacher]) * (said + 0.1)) ** 2
    expected *= 0.7 / expected.sum(axis=1, keepdims=True)
    expected[np.arange(21), given.labels.classes] += 0.3
    for image, row in enumerate(expected):
        classes, weights = found[image]
        np.testing.assert_allclose(weights, row[classes], atol=1e-5)


def test_teachers_also_see_mirror_images_where_asked(
    given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = tiny_models.save(tmp_path / "teacher", NAMES)
    views = [
        tiny_models.naive_probabilities(given.images, [teacher], mirrored=mirrored)
        for mirrored in (False, True)
    ]
    values = {"top_k": 4, "sharpness": 1}
    with monkeypatch.context() as patched:
        stopped(patched)  # leaves parts, made of one view
        with pytest.raises(RuntimeError):
            run(given, [teacher], tmp_path, **values)
    found = run(given, [teacher], tmp_path, **values, views="flip")
    for image, row in enumerate(np.mean(views, axis=0)):
        classes, weights = found[image]
        np.testing.assert_allclose(weights, row[classes], atol=1e-5)
    once = run(given, [teacher], tmp_path / "once", **values)
    assert abs(found.weights - once.weights).max() > 0.001


def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the stage end with an error when all teachers have spoken."""

    def refuse(*arguments: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Labelling, "__call__", refuse)


def test_metrics_count_what_was_kept_and_what_agrees(given: Given, tmp_path: Path) -> None:
    teachers = [tiny_models.save(tmp_path / "teacher", NAMES, seed=3)]
    means = tiny_models.naive_probabilities(given.images, teachers)
    first, confidence = means.argmax(axis=1), means.max(axis=1)
    kept = np.zeros(21, bool)
    for number in range(4):
        rows = np.flatnonzero(first == number)
        kept[rows[np.argsort(-confidence[rows])[: round(0.6 * len(rows))]]] = True

    found = run(given, teachers, tmp_path, top_k=4, sharpness=1, keep_share=0.6)

    assert (np.diff(found.offsets) > 0).tolist() == kept.tolist()
    metrics = metadata.read(tmp_path / "pseudo_labels")
    assert metrics["images"] == 21
    assert metrics["labelled"] == kept.sum()
    labels, rows = np.asarray(given.labels.classes), np.arange(21)
    for name, value in {
        "labelled_share": kept.mean(),
        "agreement": (first == labels)[kept].mean(),
        "mean_confidence": confidence.mean(),
        "strongest_weight": confidence[kept].mean(),
        "given_weight": means[rows, labels][kept].mean(),
    }.items():
        assert metrics[name] == pytest.approx(value, rel=1e-3)


def test_one_half_of_the_validation_images_chooses_the_teachers(
    given: Given, tmp_path: Path
) -> None:
    predicted = {"poor": [0.9, 0.1], "best": [0.1, 0.9], "good": [0.3, 0.7]}
    # On all images, and on the half that chooses: these disagree about all of them.
    scores = {"poor": (0.8, 0.2), "best": (0.2, 0.8), "good": (0.3, 0.6)}
    candidates = [
        tiny_models.save(
            tmp_path / name,
            NAMES,
            score=scores[name][0],
            choosing=scores[name][1],
            probabilities=[*row, 1e-6, 1e-6],
        )
        for name, row in predicted.items()
    ]
    found = run(given, candidates, tmp_path, num_teachers=2, top_k=2, sharpness=1)
    assert found.classes[:2].tolist() == [1, 0]
    np.testing.assert_allclose(found.weights[:2], [0.8, 0.2], atol=1e-4)  # of best and good
    assert found.chosen == ("the teachers of the pseudo labels",)
    page = (tmp_path / "report.html").read_text()
    assert "60.0%" in page and "30.0%" not in page
    assert "compared on the other half" in page


def test_without_a_choice_nothing_is_halved(given: Given, tmp_path: Path) -> None:
    pair = [tiny_models.save(tmp_path / str(seed), NAMES, seed=seed) for seed in range(2)]
    assert run(given, pair, tmp_path, num_teachers=2).chosen == ()
    assert run(given, pair, tmp_path / "more", num_teachers=3).chosen == ()
    assert "have chosen nothing" in (tmp_path / "report.html").read_text()


def test_what_chose_the_teachers_targets_is_not_forgotten(given: Given, tmp_path: Path) -> None:
    later = tiny_models.save(tmp_path / "later", NAMES, chosen=["something"])
    assert run(given, [later], tmp_path).chosen == ("something",)


def test_a_model_of_an_earlier_version_cannot_be_chosen(given: Given, tmp_path: Path) -> None:
    pair = [tiny_models.save(tmp_path / str(seed), NAMES, seed=seed) for seed in range(2)]
    path = pair[1] / "training.json"
    record = json.loads(path.read_text())
    del record["metrics"]["choosing_top1"]
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"no choosing_top1.*num_teachers=2"):
        run(given, pair, tmp_path, num_teachers=1)
    run(given, pair, tmp_path, num_teachers=2)


def test_texts_that_are_to_count_must_be_given(given: Given, tmp_path: Path) -> None:
    teacher = tiny_models.save(tmp_path / "teacher", NAMES)
    with pytest.raises(UserError, match="with_texts=true needs weights"):
        run(given, [teacher], tmp_path, with_texts=True)


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


def test_other_options_need_no_model_any_more(
    given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsure = tiny_models.save(tmp_path / "unsure", NAMES, probabilities=[0.25] * 4)
    with monkeypatch.context() as patched:
        stopped(patched)
        with pytest.raises(RuntimeError):
            run(given, [unsure], tmp_path)
    monkeypatch.delattr(Classifier, "load")
    found = run(given, [unsure], tmp_path, sharpness=3, label_share=0.1, keep_share=0.5)
    assert len(found.classes) == 3 * 4 * 4  # of each given class four of seven images


def test_nothing_is_left_of_what_it_could_have_gone_on_from(
    given: Given, tmp_path: Path, checkpoints: Path
) -> None:
    run(given, [tiny_models.save(tmp_path / "teacher", NAMES)], tmp_path)
    assert not any(checkpoints.iterdir())


def test_equal_scores_choose_the_first_model(tmp_path: Path) -> None:
    records = [
        models.read_record(tiny_models.save(tmp_path / str(i), NAMES, choosing=score))
        for i, score in enumerate([0.5, 0.7, 0.7, 0.6])
    ]
    assert best(records, 3) == [1, 2, 3]


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
