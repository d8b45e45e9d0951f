import csv
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.audit import tables
from components.audit.stage import audit
from components.shared.data.evaluation import LABELS, TEST, VALIDATION
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.stage import metadata
from components.shared.stage.errors import UserError
from components.shared.storage.resume import Parts
from components.shared.training.state import TrainingState
from components.wt_pretrain.stage import wt_pretrain
from tests.forked import Forked
from tests.html_reader import Reader
from tests.synthetic import COLOURS, TRAINING, coloured_squares, image_set, targets

SETTINGS = replace(TRAINING, epochs=4, epoch_images=96, decay_epochs=3)
WRONG = (4, 17, 33, 50, 68, 81)  # of ninety images
IDS = {4: "=1+2.jpg", 17: "<script>alert(1)</script>.jpg", 33: "-verdant/ü 1.jpg"}


@dataclass(frozen=True)
class Given:
    """What the stage reads; the labels of `WRONG` are those of the next colour."""

    folder: Path

    @classmethod
    def write(cls, folder: Path) -> "Given":
        pictures, colours = coloured_squares(90, 32, seed=0)
        ids = [IDS.get(number, f"squares/{number}.jpg") for number in range(90)]
        images = image_set(folder, pictures, ids, image_side=32, images_per_shard=30)
        labels = [(c + (number in WRONG)) % 3 for number, c in enumerate(colours)]
        given = [[(label, 1.0)] for label in labels]
        targets(folder / "labels", images.identity, given, COLOURS)
        # Every third text says nothing, and others what the picture shows.
        said = [
            [(label, 0.5)] if number % 3 == 0 else [(colour, 0.9), ((colour + 1) % 3, 0.1)]
            for number, (label, colour) in enumerate(zip(labels, colours, strict=True))
        ]
        targets(folder / "weights", images.identity, said, COLOURS)
        keywords = [[(colour, 1.0)] for colour in colours]
        targets(folder / "keywords", images.identity, keywords, ["warm", "leafy", "cold"])
        evaluation = folder / "evaluation"
        shown, true = coloured_squares(30, 32, seed=1)
        held_out = image_set(evaluation, shown, image_side=32, at=evaluation / VALIDATION)
        known = [[(label, 1.0)] for label in true]
        targets(evaluation / LABELS, held_out.identity, known, COLOURS)
        image_set(evaluation, [], image_side=32, at=evaluation / TEST)
        outputs = folder / "wt", folder / "wt.html"
        training = replace(TRAINING, epochs=6, decay_epochs=5)
        wt_pretrain(folder / "images", folder / "keywords", *outputs, training=training)
        return cls(folder)

    @property
    def labels(self) -> Targets:
        return Targets.load(self.folder / "labels")

    def audit(self, out: Path, *, texts: bool = True, **changes: Any) -> Path:
        inputs = {name: self.folder / name for name in ("images", "labels", "evaluation")}
        optional = {"weights": self.folder / "weights"} if texts else {}
        outputs = ("suspects", "predictions", "report")
        arguments: dict[str, Any] = {name: out / name for name in outputs}
        arguments |= inputs | optional | {"initial_model": self.folder / "wt"}
        audit(**arguments | {"training": SETTINGS} | changes)
        return out


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return Given.write(tmp_path_factory.mktemp("given"))


@pytest.fixture(scope="module")
def made(given: Given, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return given.audit(tmp_path_factory.mktemp("made"))


@pytest.fixture(autouse=True)
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkpoints"
    monkeypatch.setenv("WEBLY_CHECKPOINTS", str(folder))
    return folder


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def content(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "report"
    }


pytestmark = pytest.mark.slow


# Of ninety labels six are wrong; without texts, two of them are not among the suspects.
@pytest.mark.parametrize(("texts", "at_least"), [(True, 6), (False, 4)])
def test_wrong_labels_are_found_with_what_is_right(
    given: Given, texts: bool, at_least: int, tmp_path: Path
) -> None:
    out = given.audit(tmp_path, texts=texts)

    found = rows(out / "suspects" / "suspects.parquet")
    ids = ImageSet.load(given.folder / "images").ids()
    wrong = {ids[number]: number for number in WRONG}
    first = found[: len(WRONG)]
    assert [row["rank"] for row in found] == list(range(1, len(found) + 1))
    assert sum(row["id"] in wrong for row in first) >= at_least
    for row in first:
        if row["id"] in wrong:
            assert row["suggested"] == COLOURS[wrong[row["id"]] % 3] != row["label"]
            assert row["confidence"] > row["label_probability"]
    assert metadata.read(out / "suspects")["suspects"] == len(found) <= 12


def test_a_text_is_shown_where_it_says_something(made: Path) -> None:
    by_id = {row["id"]: row for row in rows(made / "suspects" / "suspects.parquet")}

    assert (by_id["=1+2.jpg"]["text_says"], by_id["=1+2.jpg"]["text_weight"]) == (
        "green",
        pytest.approx(0.9),
    )
    assert by_id["-verdant/ü 1.jpg"]["text_says"] is None


def test_predictions_are_those_of_models_that_have_not_seen_the_label(
    given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With the same folds, whatever the labels.
    monkeypatch.setattr(
        "components.audit.folds.dealt",
        lambda labels, folds: np.arange(len(labels), dtype=np.int32) % folds,
    )
    labels, other = given.labels, tmp_path / "labels"
    changed = [
        [((label + (number % 2 == 0 and number < 40)) % 3, 1.0)]
        for number, label in enumerate(labels.classes.tolist())
    ]
    targets(other, labels.identity, changed, COLOURS)

    before = rows(given.audit(tmp_path / "before") / "predictions")
    after = rows(given.audit(tmp_path / "after", labels=other) / "predictions")

    for fold, equal in ((0, True), (1, False)):
        one, two = (
            [row["probabilities"] for row in found if row["fold"] == fold]
            for found in (before, after)
        )
        assert len(one) == 45
        assert (one == two) is equal


def test_predictions_cover_all_images_in_their_order(given: Given, made: Path) -> None:
    found = rows(made / "predictions")

    assert [row["id"] for row in found] == ImageSet.load(given.folder / "images").ids()
    assert [row["label"] for row in found] == [COLOURS[c] for c in given.labels.classes]
    for row in found:
        assert sorted(row["concepts"]) == sorted(COLOURS)
        assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-5)
        assert row["probabilities"] == sorted(row["probabilities"], reverse=True)
        of_label = row["probabilities"][row["concepts"].index(row["label"])]
        assert row["label_probability"] == pytest.approx(of_label)
    by_score = sorted(found, key=lambda row: row["score"])
    listed = [row["id"] for row in rows(made / "suspects" / "suspects.parquet")]
    assert {row["id"] for row in by_score[: len(listed)]} >= set(listed[:5])


def test_a_spreadsheet_takes_no_cell_for_a_formula(made: Path) -> None:
    with (made / "suspects" / "suspects.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))

    exact = [row["id"] for row in rows(made / "suspects" / "suspects.parquet")]
    assert "=1+2.jpg" in exact and "-verdant/ü 1.jpg" in exact
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in found for cell in row.values())
    assert [os.path.normpath(row["id"]) for row in found] == [os.path.normpath(id) for id in exact]


@pytest.mark.parametrize("text", ["=A1", "+1", "-1", "@SUM(A1)", "\t=A1", "\r=A1", "\uff1dA1"])
def test_a_text_like_a_formula_is_quoted(text: str) -> None:
    assert tables.cell(text) == f"'{text}"
    assert tables.cell(text, is_path=True) == f"./{text}"


def test_the_report_shows_ids_and_says_where_scores_come_from(made: Path) -> None:
    page = (made / "report").read_text()
    texts = " ".join(Reader(page).texts)

    assert Reader(page).count("script") == 0
    assert "<script>alert(1)</script>.jpg" in texts
    assert "=1+2.jpg" in texts
    assert "did not train on the label they judge: 2 folds, from resnet10t: wt_pretrain 24" in texts
    assert "by what the texts say" in texts
    assert "green → red" in texts or "red → blue" in texts or "blue → green" in texts


def test_without_texts_and_pretraining_the_report_says_so(given: Given, tmp_path: Path) -> None:
    given.audit(tmp_path, texts=False, initial_model=None)

    page = (tmp_path / "report").read_text()
    assert "2 folds, from random weights." in page
    assert "what the texts say" not in page
    assert {row["text_says"] for row in rows(tmp_path / "suspects" / "suspects.parquet")} <= {None}


def test_of_one_class_no_label_is_suspect(given: Given, tmp_path: Path) -> None:
    images = ImageSet.load(given.folder / "images")
    labels, evaluation = tmp_path / "labels", tmp_path / "evaluation"
    targets(labels, images.identity, [[(0, 1.0)]] * 90, ["thing"])
    shown, _ = coloured_squares(4, 32, seed=5)
    held_out = image_set(evaluation, shown, image_side=32, at=evaluation / VALIDATION)
    targets(evaluation / LABELS, held_out.identity, [[(0, 1.0)]] * 4, ["thing"])
    image_set(evaluation, [], image_side=32, at=evaluation / TEST)

    given.audit(tmp_path, texts=False, labels=labels, evaluation=evaluation)

    assert rows(tmp_path / "suspects" / "suspects.parquet") == []
    assert metadata.read(tmp_path / "suspects")["suspects"] == 0
    assert "0 of 90 labels look wrong" in (tmp_path / "report").read_text()


def test_texts_of_other_images_are_refused(given: Given, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="of the same ingest"):
        given.audit(tmp_path, weights=given.folder / "evaluation" / LABELS)


class Interruption(BaseException):
    pass


def interrupted(
    run: Callable[[], object], owner: type, method: str, when: Callable[..., bool]
) -> None:
    """Run a stage until a method is called for the first time that `when` says."""
    called = getattr(owner, method)

    def breaking(self: Any, *arguments: Any) -> Any:
        if when(self):
            raise Interruption
        return called(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, breaking)
        with pytest.raises(Interruption):
            run()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The step of each training that is taken."""
    taken: list[int] = []
    take = TrainingState.take_step

    def counting(self: TrainingState, *arguments: Any) -> None:
        taken.append(self.step)
        take(self, *arguments)

    monkeypatch.setattr(TrainingState, "take_step", counting)
    return taken


def test_a_killed_stage_trains_no_finished_fold_again(
    given: Given, made: Path, checkpoints: Path, tmp_path: Path, steps: list[int]
) -> None:
    def in_second_fold(state: TrainingState) -> bool:
        return len(steps) == 48 + 30

    out = tmp_path / "out"
    interrupted(lambda: given.audit(out), TrainingState, "take_step", in_second_fold)
    steps.clear()
    given.audit(out)

    # Four epochs of twelve steps; the second fold goes on after its second epoch.
    assert steps == list(range(24, 48))
    assert content(out) == content(made)
    assert not any(checkpoints.iterdir())


def test_a_stage_killed_at_its_predictions_trains_nothing_again(
    given: Given, made: Path, tmp_path: Path, steps: list[int]
) -> None:
    out = tmp_path / "out"
    interrupted(
        lambda: given.audit(out), Parts, "save", lambda parts: parts._uri.endswith("training")
    )
    steps.clear()
    given.audit(out)

    assert steps == []
    assert content(out) == content(made)


@pytest.mark.processes
def test_two_processes_find_what_one_finds(given: Given, made: Path, tmp_path: Path) -> None:
    settings = {name: getattr(SETTINGS, name) for name in SETTINGS.__slots__}
    inputs = {name: given.folder / name for name in ("images", "labels", "evaluation", "weights")}
    outputs = {name: tmp_path / name for name in ("suspects", "predictions", "report")}
    words = inputs | outputs | {"initial_model": given.folder / "wt"} | settings
    argv = [f"--{name}={value}" for name, value in words.items()]
    log = tmp_path / "log"

    stage = Forked("components.audit", *argv, log=log, env=os.environ | {"WEBLY_PROCESSES": "2"})

    assert stage.wait() == 0, log.read_text()
    assert "continuing in 2 processes" in log.read_text()
    # Not the same bits: batch norm's running statistics are the first process's.
    one, two = (rows(out / "suspects" / "suspects.parquet")[:6] for out in (made, tmp_path))
    assert {row["id"] for row in one} == {row["id"] for row in two}
    assert len(rows(tmp_path / "predictions")) == 90
