import json
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from components.shared.data.predictions import Training
from components.shared.stage.errors import UserError
from components.shared.training import models
from components.shared.training.models import Record
from components.shared.training.settings import TrainingSettings

SMALL = json.dumps({"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 24], "stem_width": 8})
SETTINGS = TrainingSettings(backbone="resnet10t", backbone_args=SMALL, image_size=32)


def record(num_classes: int = 3) -> Record:
    return Record(
        stage="finetune",
        backbone="resnet10t",
        image_size=32,
        names=[f"n{i:08d}" for i in range(num_classes)],
        titles=[f"thing {i}" for i in range(num_classes)],
        score=0.5,
        metrics={"top1": 0.5, "top5": 0.75},
        last_learning_rate=0.001,
        curve=[{"epoch": 1, "loss": 2.0}],
        settings={"backbone": "resnet10t", "learning_rate": 0.01},
        lineage=[Training("finetune 32 px", 100, 1.5)],
    )


def outputs(model: nn.Module) -> torch.Tensor:
    torch.manual_seed(7)
    with torch.inference_mode():
        return model.eval()(torch.randn(2, 3, 32, 32))


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, nn.Module]:
    torch.manual_seed(0)
    model = models.create(SETTINGS, 3)
    models.save(tmp_path / "model", model, record())
    return tmp_path / "model", model


def test_timm_alone_loads_a_saved_model_exactly(saved: tuple[Path, nn.Module]) -> None:
    folder, model = saved
    again = timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert torch.equal(outputs(again), outputs(model))


def test_a_model_loaded_by_us_gives_the_same_outputs(saved: tuple[Path, nn.Module]) -> None:
    folder, model = saved
    torch.testing.assert_close(outputs(models.load(folder)), outputs(model))


def test_a_channels_last_model_survives_saving(tmp_path: Path) -> None:
    model = models.create(SETTINGS, 3).to(memory_format=torch.channels_last)
    models.save(tmp_path / "model", model, record())
    assert next(model.parameters()).is_contiguous(memory_format=torch.channels_last)
    again = models.load(tmp_path / "model").state_dict()
    assert all(torch.equal(again[name], value) for name, value in model.state_dict().items())


def test_a_model_of_fixed_input_size_is_built_for_the_image_size(tmp_path: Path) -> None:
    arguments = json.dumps({"patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2})
    settings = TrainingSettings(
        backbone="vit_tiny_patch16_224", backbone_args=arguments, image_size=32
    )
    model = models.create(settings, 3)
    models.save(tmp_path / "model", model, record())
    torch.testing.assert_close(outputs(models.load(tmp_path / "model")), outputs(model))


def test_a_larger_image_size_resamples_the_position_embedding(tmp_path: Path) -> None:
    arguments = json.dumps({"patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2})
    small, large = (
        TrainingSettings(backbone="vit_tiny_patch16_224", backbone_args=arguments, image_size=size)
        for size in (32, 64)
    )
    models.save(tmp_path / "model", models.create(small, 3), record())
    model = models.create(large, 3, initial_model=tmp_path / "model", keep_head=True).eval()
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_the_folder_names_the_classes_for_timm(saved: tuple[Path, nn.Module]) -> None:
    config = json.loads((saved[0] / "config.json").read_text())
    assert config["label_names"] == ["n00000000", "n00000001", "n00000002"]
    assert config["label_descriptions"]["n00000001"] == "thing 1"


def test_a_record_is_read_as_it_was_written(saved: tuple[Path, nn.Module]) -> None:
    assert models.read_record(saved[0]) == record()


@pytest.mark.parametrize("num_classes", [3, 5])
def test_all_weights_but_the_last_layer_come_from_the_initial_model(
    saved: tuple[Path, nn.Module], num_classes: int
) -> None:
    folder, model = saved
    started = models.create(SETTINGS, num_classes, initial_model=folder)
    before, after = model.state_dict(), started.state_dict()
    assert after["fc.weight"].shape == (num_classes, 24)
    assert all(torch.equal(before[k], after[k]) for k in before if not k.startswith("fc."))
    if num_classes == 3:
        assert not torch.equal(before["fc.weight"], after["fc.weight"])


def test_keeping_the_head_gives_the_whole_model(saved: tuple[Path, nn.Module]) -> None:
    folder, model = saved
    started = models.create(SETTINGS, 3, initial_model=folder, keep_head=True)
    assert torch.equal(outputs(started), outputs(model))


def test_a_kept_head_must_have_the_right_number_of_classes(
    saved: tuple[Path, nn.Module],
) -> None:
    with pytest.raises(UserError, match="3 classes, not 4"):
        models.create(SETTINGS, 4, initial_model=saved[0], keep_head=True)


def test_another_backbones_weights_are_refused(saved: tuple[Path, nn.Module]) -> None:
    settings = TrainingSettings(backbone="resnet18", image_size=32)
    with pytest.raises(UserError, match="resnet10t: cannot initialize a resnet18"):
        models.create(settings, 3, initial_model=saved[0])


@pytest.mark.parametrize(
    ("backbone", "arguments", "complaint"),
    [
        ("resnet9000", "{}", "Unknown model"),
        ("resnet10t", '{"wings": 2}', "wings"),
    ],
)
def test_a_wrong_backbone_is_the_users_error(backbone: str, arguments: str, complaint: str) -> None:
    settings = TrainingSettings(backbone=backbone, backbone_args=arguments)
    with pytest.raises(UserError, match=complaint):
        models.create(settings, 3)


def test_a_folder_without_a_model_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        models.load(tmp_path)


def test_the_seed_makes_the_random_weights() -> None:
    first, again, other = (models.create(replace(SETTINGS, seed=seed), 3) for seed in (1, 1, 2))
    assert torch.equal(outputs(first), outputs(again))
    assert not torch.equal(outputs(first), outputs(other))
