import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from components.finetune.stage import finetune
from components.multitask_pretrain import joining
from components.multitask_pretrain.stage import multitask_pretrain
from components.shared.data.evaluation import LABELS, Evaluation
from components.shared.data.identity import Identity
from components.shared.stage.errors import UserError
from components.shared.storage.checkpoints import Checkpoint, Checkpoints
from components.shared.training import models
from components.shared.training.settings import TrainingSettings
from components.shared.training.transforms import decoded, device, evaluation_crop, normalized
from tests.forked import Forked
from tests.synthetic import COLOURS, TRAINING, ColouredSquares, targets

pytestmark = pytest.mark.slow

KEYWORDS = [*COLOURS, "warm", "cold"]
# One step, at a rate at which nothing moves: the loss is that of the weights at the beginning.
STILL = replace(TRAINING, epochs=1, epoch_images=8, learning_rate=1e-12, weight_decay=0.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ColouredSquares:
    return ColouredSquares.write(tmp_path_factory.mktemp("squares"))


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def inputs(data: ColouredSquares) -> dict[str, Path]:
    names = ("images", "keywords", "weights", "evaluation")
    return {name: getattr(data, name) for name in names}


def outputs(folder: Path) -> dict[str, Path]:
    return {
        "model": folder / "model",
        "report": folder / "report.html",
    }


def pretrained(
    data: ColouredSquares, folder: Path, training: TrainingSettings, **parameters: Any
) -> dict[str, float]:
    multitask_pretrain(**inputs(data), **outputs(folder), training=training, **parameters)
    return models.read_record(folder / "model").metrics


@pytest.mark.parametrize(
    "options",
    [
        {"decay_epochs": 2},
        {
            "optimizer": "adamw",
            "learning_rate": 0.005,
            "schedule": "cosine",
            "ema": 0.9,
            "label_smoothing": 0.1,
            "mixup": 0.2,
            "cutmix": 0.2,
            "randaugment": 1,
        },
    ],
    ids=["plain", "options"],
)
def test_both_heads_learn(
    options: dict[str, Any], data: ColouredSquares, tmp_path: Path, temporary: Path
) -> None:
    settings = replace(TRAINING, epochs=3, epoch_images=160, **options)
    metrics = pretrained(data, tmp_path, settings)

    record = models.read_record(tmp_path / "model")
    assert record.names == [f"keyword:{name}" for name in KEYWORDS] + [
        f"concept:{name}" for name in COLOURS
    ]
    assert [each.what for each in record.lineage] == ["multitask_pretrain 24 px"]
    assert record.score == metrics["top1"] >= 0.9
    assert "best" in (report := (tmp_path / "report.html").read_text())
    assert "(keyword)" not in report  # only of concepts is there an accuracy
    images, labels, *_ = Evaluation.load(data.evaluation)
    crops = [evaluation_crop(decoded(images.read(number)), 24) for number in range(len(images))]
    with torch.no_grad():
        logits = models.load(tmp_path / "model")(normalized(torch.stack(crops), device()))
    found = logits[:, : len(KEYWORDS)].cpu().topk(2).indices.sort().values
    there = torch.tensor([[label, 3 + (label > 0)] for label in labels.classes.tolist()])
    assert (found == there).all(dim=1).double().mean() >= 0.9
    assert not any(temporary.iterdir())


def test_the_concepts_loss_counts_as_much_as_it_is_given(
    data: ColouredSquares, tmp_path: Path
) -> None:
    losses = [
        pretrained(data, tmp_path, STILL, concepts_weight=weight)["loss"] for weight in (1, 2, 3)
    ]
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-3)
    assert losses[1] - losses[0] > 0.1


def test_finetune_starts_from_it_with_a_new_head(data: ColouredSquares, tmp_path: Path) -> None:
    pretrained(data, tmp_path / "pretrained", STILL)
    finetune(
        data.images,
        data.labels,
        data.evaluation,
        predictions=tmp_path / "finetuned" / "predictions",
        **outputs(tmp_path / "finetuned"),
        initial_model=tmp_path / "pretrained" / "model",
        training=STILL,
    )
    before, after = (
        load_file(tmp_path / folder / "model" / "model.safetensors")
        for folder in ("pretrained", "finetuned")
    )
    assert (before["fc.weight"].shape, after["fc.weight"].shape) == ((8, 24), (3, 24))
    torch.testing.assert_close(after["layer4.0.conv1.weight"], before["layer4.0.conv1.weight"])
    record = models.read_record(tmp_path / "finetuned" / "model")
    assert [training.what for training in record.lineage] == [
        "multitask_pretrain 24 px",
        "finetune on given labels 24 px",
    ]


def test_one_that_is_ended_goes_on_though_it_joins_its_targets_anew(
    data: ColouredSquares,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("WEBLY_CHECKPOINT_MINUTES", "1e-9")
    pretrained(data, tmp_path / "undisturbed", TRAINING)
    save = Checkpoints.save

    def ending(self: Checkpoints, checkpoint: Checkpoint) -> None:
        save(self, checkpoint)
        if checkpoint.step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoints, "save", ending)
        pretrained(data, tmp_path / "ended", TRAINING)
    caplog.set_level("INFO", "components")
    pretrained(data, tmp_path / "again", TRAINING)

    assert "resuming after step 5" in caplog.text
    undisturbed, again = (
        load_file(tmp_path / each / "model" / "model.safetensors")
        for each in ("undisturbed", "again")
    )
    assert all(torch.equal(again[name], tensor) for name, tensor in undisturbed.items())


@pytest.mark.parametrize("what", ["keywords", "weights"])
def test_targets_of_other_images_are_refused(
    what: str, data: ColouredSquares, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"{what}: made for 30 images"):
        pretrained(replace(data, **{what: data.evaluation / LABELS}), tmp_path, TRAINING)
    assert not any(tmp_path.iterdir())


def test_joined_targets_have_each_images_keywords_then_its_concepts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "_BLOCK", 2)  # three blocks, the last of one image
    identity = Identity.of("abcde")
    keywords = [[(2, 1.0), (0, 1.0)], [], [(1, 1.0)], [], [(0, 1.0)]]
    concepts = [[(1, 0.5)], [(0, 0.75), (1, 0.25)], [], [], [(1, 1.5)]]
    joined = joining.joined(
        targets(tmp_path / "keywords", identity, keywords, ["jay", "red", "sky"]),
        targets(tmp_path / "concepts", identity, concepts, ["jay", "owl"]),
    )
    pairs = [list(zip(*(part.tolist() for part in joined[i]), strict=True)) for i in range(5)]
    assert pairs == [
        [(2, 1.0), (0, 1.0), (4, 0.5)],
        [(3, 0.75), (4, 0.25)],
        [(1, 1.0)],
        [],
        [(0, 1.0), (4, 1.5)],
    ]
    assert joined.names[::3] == ["keyword:jay", "concept:jay"]
    assert joined.titles[::3] == ["jay (keyword)", "jay"]
    assert joined.identity == identity


@pytest.mark.processes
def test_two_processes_share_the_joined_targets(
    data: ColouredSquares, tmp_path: Path, temporary: Path
) -> None:
    pretrained(data, tmp_path / "alone", STILL)
    values = inputs(data) | outputs(tmp_path / "together") | asdict(STILL)
    argv = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    two = {"WEBLY_PROCESSES": "2", "TMPDIR": str(temporary)}
    log = tmp_path / "log"
    stage = Forked("components.multitask_pretrain", *argv, log=log, env=os.environ | two)
    assert stage.wait() == 0, log.read_text()
    alone, together = (
        models.read_record(tmp_path / each / "model") for each in ("alone", "together")
    )
    assert together.curve[0]["loss"] == pytest.approx(alone.curve[0]["loss"], rel=1e-4)
    assert not list(temporary.glob("*webly-*"))
