"""Folders of weights as people bring them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from components.shared.stage.errors import UserError
from components.shared.training import initial_weights, models
from components.shared.training.settings import TrainingSettings
from tests import tiny_models

SMALL = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 24], "stem_width": 8}
SETTINGS = TrainingSettings(backbone="resnet10t", backbone_args=json.dumps(SMALL), image_size=32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a model that is as it should be."""
    return tiny_models.save(tmp_path / "given", ["a", "b"])


def weights(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)


def rewritten(folder: Path, config: object) -> None:
    (folder / "config.json").write_text(json.dumps(config))


def cut(folder: Path, share: float) -> None:
    content = (folder / "model.safetensors").read_bytes()
    weights(folder, content[: int(share * len(content))])


def transformers(folder: Path) -> None:
    rewritten(folder, {"model_type": "vit", "architectures": ["ViTForImageClassification"]})


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), "not a JSON object"),
    "no text": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "not a JSON object"),
    "a list": (lambda f: rewritten(f, []), "not a JSON object"),
    "empty": (lambda f: rewritten(f, {}), "without timm's architecture"),
    "transformers": (transformers, "transformers' format"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no weights there"),
    "empty weights": (lambda f: weights(f, b""), "model.safetensors: empty"),
    "a pointer": (
        lambda f: weights(f, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "git lfs pull",
    ),
    "half": (lambda f: cut(f, 0.5), "cut: .* copy it again"),
    "a bit": (lambda f: cut(f, 0.001), "not a safetensors file, or cut"),
    "an HTML page": (lambda f: weights(f, b"<html>404</html>"), "not a safetensors file"),
    "a header of no JSON": (
        lambda f: weights(f, (4).to_bytes(8, "little") + b"nope"),
        "not a safetensors file",
    ),
    "a header without offsets": (
        lambda f: weights(f, (8).to_bytes(8, "little") + b'{"a":{}}'),
        "not a safetensors file",
    ),
    "no tensors": (lambda f: weights(f, (2).to_bytes(8, "little") + b"{}"), "no weights in it"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_timm_could_not_load_is_refused_in_a_sentence(name: str, folder: Path) -> None:
    damage, message = DAMAGES[name]
    damage(folder)

    with pytest.raises(UserError, match=message) as refused:
        initial_weights.check(str(folder), "resnet10t")
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(UserError, match=message):
        models.create(SETTINGS, 2, initial_model=folder)


def test_weights_of_any_backbones_tag_are_taken(folder: Path) -> None:
    initial_weights.check(f"{folder}/", "resnet10t.c3_in1k")


def test_another_architecture_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="holds a resnet10t: cannot initialize a resnet18"):
        initial_weights.check(str(folder), "resnet18")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_named(value: float, folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["layer1.0.conv1.weight"].flat[0] = value
    save_file(tensors, folder / "model.safetensors")

    with pytest.raises(UserError, match="layer1.0.conv1.weight has values that are not finite"):
        models.create(SETTINGS, 2, initial_model=folder)


def test_a_pickle_is_not_executed(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    program = b"cposix\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR."
    (folder / "pytorch_model.bin").write_bytes(program)

    with pytest.raises(UserError):
        models.create(SETTINGS, 2, initial_model=folder)
    assert not (tmp_path / "ran").exists()


def test_a_kept_head_without_a_number_of_classes_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["num_classes"]
    rewritten(folder, config)

    with pytest.raises(UserError, match="a head of 0 classes, not 2"):
        models.create(SETTINGS, 2, initial_model=folder, keep_head=True)


def test_a_whole_folder_is_copied_and_still_fits(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    initial_weights.check(str(tmp_path / "copy"), "resnet10t")


@pytest.mark.parametrize(("backbone", "size"), [("efficientformer_l1", 160), ("inception_v4", 64)])
def test_a_backbone_that_takes_no_such_crops_says_so_before_training(
    backbone: str, size: int
) -> None:
    with pytest.raises(UserError, match=f"{backbone} does not take image_size={size}"):
        models.create(TrainingSettings(backbone=backbone, image_size=size), 3)


@pytest.mark.parametrize(
    ("backbone", "size"), [("efficientformer_l1", 224), ("vit_tiny_patch16_224", 160)]
)
def test_a_backbone_that_takes_them_is_tried_without_memory(backbone: str, size: int) -> None:
    models.try_crops(backbone, "{}", size)
