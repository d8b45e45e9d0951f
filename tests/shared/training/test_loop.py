import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from components.shared.data.identity import Identity
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.stage.errors import UserError
from components.shared.storage.checkpoints import Checkpoints
from components.shared.training import models
from components.shared.training.loop import train
from components.shared.training.losses import TargetsLoss
from components.shared.training.schedule import Schedule, steps_per_epoch
from components.shared.training.settings import TrainingSettings
from components.shared.training.state import TrainingState
from components.shared.training.validation import HeldOutValidation, LabelValidation, held_out
from tests.synthetic import COLOURS, TRAINING, coloured_squares, image_set, targets

SETTINGS = replace(TRAINING, epoch_images=40, decay_epochs=90, learning_rate=0.05)
GOLDEN_LOSSES = [
    *(1.077921, 1.194137, 0.957471, 0.849399, 1.222641),
    *(0.942957, 0.992795, 0.801184, 1.039206, 0.859151),
]


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageSet, Targets]:
    """Sixty pictures of a coloured square, 24 pixels wide, and their colours."""
    folder = tmp_path_factory.mktemp("squares")
    pictures, labels = coloured_squares(60, 24, seed=0)
    images = image_set(folder, pictures, image_side=24)
    pairs = [[(label, 1.0)] for label in labels]
    return images, targets(folder / "labels", images.identity, pairs, COLOURS)


def trained(
    squares: tuple[ImageSet, Targets],
    settings: TrainingSettings = SETTINGS,
    checkpoints: Checkpoints | None = None,
) -> tuple[nn.Module, list[dict[str, float]]]:
    images, labels = squares
    sizes = settings.image_size, settings.micro_batch_size
    validation = LabelValidation(images, labels, COLOURS, *sizes)
    model = models.create(settings, len(COLOURS))
    with tempfile.TemporaryDirectory() as folder:
        curve = train(
            model,
            images,
            labels,
            TargetsLoss(),
            validation,
            settings,
            checkpoints or Checkpoints(folder),
            balance_on="strongest",
        )
    return model, curve


def test_ten_steps_give_the_golden_losses(squares: tuple[ImageSet, Targets]) -> None:
    # A change that means to keep the arithmetic keeps these, on any machine, to fp32 rounding.
    settings = replace(SETTINGS, epochs=10, epoch_images=8, warmup_epochs=2.0, learning_rate=0.01)
    _, curve = trained(squares, settings)
    losses = [entry["loss"] for entry in curve]
    assert losses == pytest.approx(GOLDEN_LOSSES, abs=1e-5)


def test_training_twice_gives_the_same_weights_bit_for_bit(
    squares: tuple[ImageSet, Targets],
) -> None:
    first, second = (trained(squares)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_workers_that_decode_ahead_change_nothing(
    squares: tuple[ImageSet, Targets], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, randaugment=9)
    alone, _ = trained(squares, settings)
    monkeypatch.setattr("components.shared.training.transforms.num_workers", lambda: 2)
    helped, _ = trained(squares, settings)
    weights = helped.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in alone.state_dict().items())


def test_another_seed_gives_another_model(squares: tuple[ImageSet, Targets]) -> None:
    _, first = trained(squares)
    _, second = trained(squares, replace(SETTINGS, seed=1))
    assert first[0]["loss"] != second[0]["loss"]


def test_a_model_learns_the_colours(squares: tuple[ImageSet, Targets]) -> None:
    settings = replace(SETTINGS, epochs=3, epoch_images=160, decay_epochs=2, learning_rate=0.02)
    _, curve = trained(squares, settings)
    assert curve[-1]["loss"] < 0.6 * curve[0]["loss"]
    assert curve[-1]["top1"] >= 0.9
    assert curve[-1]["top5"] == 1.0  # of three classes


@pytest.mark.parametrize(
    ("optimizer", "learning_rate"), [("adamw", 0.005), ("lamb", 0.02), ("nadamw", 0.005)]
)
def test_a_model_learns_the_colours_with_other_optimizers(
    squares: tuple[ImageSet, Targets], optimizer: Any, learning_rate: float
) -> None:
    settings = replace(SETTINGS, epochs=3, epoch_images=160, schedule="cosine", ema=0.9)
    settings = replace(settings, optimizer=optimizer, learning_rate=learning_rate)
    _, curve = trained(squares, settings)
    assert curve[-1]["loss"] < 0.6 * curve[0]["loss"]
    assert curve[-1]["top1"] >= 0.9


def test_the_average_is_what_is_validated_and_kept(
    squares: tuple[ImageSet, Targets], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, validated = list[dict[str, torch.Tensor]](), list[nn.Module]()
    take_step, validate = TrainingState.take_step, LabelValidation.__call__

    def taking(state: TrainingState, rate: float, clip_norm: float) -> None:
        take_step(state, rate, clip_norm)
        taken.append({name: each.clone() for name, each in state._model.state_dict().items()})

    def validating(validation: LabelValidation, model: nn.Module) -> dict[str, float]:
        validated.append(model)
        return validate(validation, model)

    monkeypatch.setattr(TrainingState, "take_step", taking)
    monkeypatch.setattr(LabelValidation, "__call__", validating)
    model, _ = trained(squares, replace(SETTINGS, ema=0.6))

    expected = taken[0]
    for step, weights in enumerate(taken[1:], start=1):
        decay = min(0.6, 1 - (1 + step) ** (-2 / 3))
        for name, value in weights.items():
            if value.is_floating_point():  # batch norm's statistics as well
                expected[name] = decay * expected[name] + (1 - decay) * value
    average = validated[-1].state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, average[name])
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name])
    assert not model.training


def test_accumulating_micro_batches_gives_the_gradient_of_the_whole_batch(
    squares: tuple[ImageSet, Targets],
) -> None:
    # Batch norm sees micro-batches; a net without it cannot tell.
    arguments = json.dumps(
        {"patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2, "img_size": 24}
    )
    settings = replace(SETTINGS, backbone="vit_tiny_patch16_224", backbone_args=arguments)
    _, parts = trained(squares, replace(settings, accumulation_steps=4))
    _, whole = trained(squares, replace(settings, accumulation_steps=1))
    assert [e["loss"] for e in parts] == pytest.approx([e["loss"] for e in whole], rel=1e-4)


def test_the_curve_counts_images_and_ends_with_the_last_learning_rate(
    squares: tuple[ImageSet, Targets],
) -> None:
    _, curve = trained(squares, replace(SETTINGS, decay_epochs=1))
    assert [entry["epoch"] for entry in curve] == [1, 2]
    assert [entry["images"] for entry in curve] == [40, 80]
    assert [entry["learning_rate"] for entry in curve] == pytest.approx([0.05, 0.005])


def test_a_loss_that_is_not_finite_names_the_learning_rate(
    squares: tuple[ImageSet, Targets],
) -> None:
    settings = replace(SETTINGS, learning_rate=1_000.0, weight_decay=100.0, warmup_epochs=0.0)
    with pytest.raises(UserError, match="learning_rate"):
        trained(squares, settings)


def test_crops_larger_than_the_stored_images_are_refused(
    squares: tuple[ImageSet, Targets],
) -> None:
    with pytest.raises(UserError, match="image_size=32"):
        trained(squares, replace(SETTINGS, image_size=32))


def test_only_weights_of_several_dimensions_decay(squares: tuple[ImageSet, Targets]) -> None:
    # With a decay of 1/learning rate, a step without gradients takes decayed weights to 0.
    settings = replace(
        SETTINGS,
        epochs=1,
        epoch_images=8,
        weight_decay=20.0,
        clip_norm=1e-9,
        warmup_epochs=0.0,
    )
    model, _ = trained(squares, settings)
    before = dict(models.create(settings, len(COLOURS)).named_parameters())
    for name, parameter in model.named_parameters():
        expected = torch.zeros_like(parameter) if parameter.ndim > 1 else before[name]
        torch.testing.assert_close(parameter, expected, rtol=0, atol=1e-6)


def test_the_learning_rate_warms_up_and_falls_to_a_tenth() -> None:
    lengths = {"epochs": 5, "steps_per_epoch": 8, "warmup_epochs": 0.5, "decay_epochs": 2}
    schedule = Schedule(fall="step", learning_rate=0.4, **lengths)
    rates = [schedule.rate(step) for step in range(34)]
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert (rates[15], rates[16], rates[31]) == pytest.approx((0.4, 0.04, 0.04))
    assert rates[32] == pytest.approx(0.004)


def test_the_learning_rate_warms_up_and_falls_along_a_cosine() -> None:
    lengths = {"epochs": 5, "steps_per_epoch": 8, "warmup_epochs": 0.5, "decay_epochs": 2}
    schedule = Schedule(fall="cosine", learning_rate=0.4, **lengths)
    rates = [schedule.rate(step) for step in range(40)]
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    # A third, half and two thirds of the way from step 4 to step 40.
    assert (rates[16], rates[22], rates[28]) == pytest.approx((0.3, 0.2, 0.1))
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[39] < 0.001


def test_a_training_of_nothing_but_warm_up_reaches_its_learning_rate() -> None:
    lengths = {"epochs": 1, "steps_per_epoch": 4, "warmup_epochs": 1.0, "decay_epochs": 2}
    schedule = Schedule(fall="cosine", learning_rate=0.4, **lengths)
    assert [schedule.rate(step) for step in range(4)] == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(("images", "steps"), [(103, 13), (1000, 125), (3, 1)])
def test_an_epoch_is_as_many_steps_as_its_images_fill(images: int, steps: int) -> None:
    assert steps_per_epoch(images, batch_size=8) == steps


def test_an_epoch_is_by_default_as_many_images_as_there_are(
    squares: tuple[ImageSet, Targets],
) -> None:
    _, curve = trained(squares, replace(SETTINGS, epochs=1, epoch_images=0))
    assert curve[0]["images"] == 64  # sixty, in whole steps of eight


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"balance": -0.5}, "balance"),
        ({"smallest_crop": 1.5}, "smallest_crop"),
        ({"clip_norm": math.nan}, "clip_norm=nan: must be a finite number"),
        ({"backbone_args": "[1]"}, "must be a JSON object"),
        ({"warmup_epochs": 9.5}, "warmup_epochs=9.5: must be at most epochs="),
        ({"accumulation_steps": 3}, "divide batch_size=8"),
        ({"accumulation_steps": 0}, "accumulation_steps=0"),
        ({"accumulation_steps": 8}, "two images"),
        ({"ema": 1.0}, "ema=1.0: must be at least 0 and below 1"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"mixup": -0.1}, "mixup=-0.1"),
        ({"randaugment": 10}, "randaugment=10: must be at least 0 and at most 9"),
        ({"optimizer": "adam"}, "optimizer='adam': did you mean adamw"),
    ],
)
def test_settings_that_cannot_train_are_refused(change: dict[str, float], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        replace(SETTINGS, **change)  # type: ignore[arg-type]


class Fixed(nn.Module):
    """Gives every image the same logits."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(batch), -1)


def test_recall_is_the_share_of_an_images_keywords_among_the_top_five(tmp_path: Path) -> None:
    pictures, _ = coloured_squares(2, 24, seed=0)
    images = image_set(tmp_path, pictures)
    pairs = [[(0, 1.0), (1, 1.0), (6, 1.0)], [(5, 1.0), (6, 1.0)]]
    keywords = targets(tmp_path / "keywords", images.identity, pairs, list("abcdefg"))
    validation = HeldOutValidation(images, keywords, np.array([0, 1]), TargetsLoss(), 24, 2)
    measures = validation(Fixed([7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]))
    # The top five are a … e: two of three keywords, and none of two.
    assert measures["recall5"] == pytest.approx((2 / 3 + 0) / 2)
    log_sum = np.log(np.exp(np.arange(1, 8)).sum())
    assert measures["validation_loss"] == pytest.approx(
        ((3 * log_sum - 14) + (2 * log_sum - 3)) / 2
    )


def test_about_half_a_percent_of_the_images_with_targets_is_held_out(tmp_path: Path) -> None:
    pairs = [[(0, 1.0)] if number % 2 else [] for number in range(1200)]
    numbers = held_out(targets(tmp_path, Identity(1200, "d"), pairs, ["a"]))
    assert numbers.tolist() == [1, 3, 5]


def test_an_image_is_held_out_even_if_no_early_one_has_targets(tmp_path: Path) -> None:
    pairs: list[list[tuple[int, float]]] = [[]] * 50 + [[(0, 1.0)]] * 2
    assert held_out(targets(tmp_path, Identity(52, "d"), pairs, ["a"])).tolist() == [50]


def test_validation_labels_over_other_classes_are_refused(
    squares: tuple[ImageSet, Targets],
) -> None:
    with pytest.raises(UserError, match="of the same ingest"):
        LabelValidation(*squares, ["red", "blue", "green"], image_size=24, batch_size=4)
