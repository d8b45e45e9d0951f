import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from components.shared.training import models
from components.shared.training.transforms import decoded, evaluation_crop, normalized
from pipelines import export
from tests import tiny_models
from tests.imports import imported
from tests.synthetic import coloured_squares

NAMES = ["red", "green", "blué"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_models.save(tmp_path / "model", NAMES, image_size=48)


def run_export(path: Path, pixels: torch.Tensor) -> torch.Tensor:
    if path.suffix == ".pt":
        found: torch.Tensor = torch.jit.load(str(path))(pixels)
        return found
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `export`")
    session = onnxruntime.InferenceSession(path)
    return torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0])


@pytest.mark.slow  # a new process for its exporter takes seconds
@pytest.mark.parametrize("format", ["onnx", "torchscript"])
def test_an_exported_model_sees_in_pictures_what_the_model_does(
    format: str, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if format == "onnx":
        pytest.importorskip("onnxscript", reason="needs the extra `export`")
    caplog.set_level("INFO", "pipelines")

    path = export.export(model, format, tmp_path / "out" / f"pets{export._SUFFIXES[format]}")

    said = json.loads((tmp_path / "out" / "pets.json").read_text())
    assert (said["classes"], said["image_size"]) == (NAMES, 48)
    own = models.load(model)
    crops = []
    for number, picture in enumerate(coloured_squares(3, 64, seed=0)[0]):
        picture.save(tmp_path / f"{number}.jpg")
        encoded = (tmp_path / f"{number}.jpg").read_bytes()
        crops.append(evaluation_crop(decoded(memoryview(encoded)), said["image_size"]))
    pixels = torch.stack(crops)
    mean, std = (torch.tensor(said[each]).view(3, 1, 1) for each in ("mean", "std"))
    with torch.inference_mode():
        expected = own(normalized(pixels, torch.device("cpu")))
        found = run_export(path, (pixels / 255 - mean) / std)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert sorted(each.name for each in path.parent.iterdir()) == sorted([path.name, "pets.json"])
    assert "pets.json: classes, image size" in caplog.text
    assert "its logits differ from the model's by" in caplog.text


def test_what_computes_something_else_is_not_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(own: torch.nn.Module, example: torch.Tensor, path: Path) -> object:
        path.write_text("wrong")
        return lambda pixels: own(pixels) + torch.nan

    monkeypatch.setitem(export._EXPORTS, "torchscript", wrong)

    with pytest.raises(SystemExit, match="2"):
        export.main(
            [str(model), "--format", "torchscript", "--output", str(tmp_path / "out" / "x.pt")]
        )

    assert "computes other logits than the model" in caplog.text
    assert [*(tmp_path / "out").iterdir()] == []


def test_without_the_packages_a_sentence_says_which(model: Path) -> None:
    absent = """
        import importlib.util, sys

        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name: None if name.startswith("onnx") else find(name)
        from pipelines import export

        export.main(sys.argv[1:])
    """
    argv = [sys.executable, "-c", textwrap.dedent(absent), str(model), "--format", "onnx"]

    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT)

    assert done.returncode == 2
    assert done.stderr == ("--format onnx needs onnx: pip install onnx onnxruntime onnxscript\n")


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["nosuch", "--format", "onnx"], "nosuch: no such folder"),
        (["texts", "--format", "onnx"], "nor a whole model's: config.json, model"),
        (
            ["model", "--format", "torchscript", "--output", "x.onnx"],
            "use a name that ends with .pt",
        ),
    ],
)
def test_what_the_user_can_put_right_is_one_sentence(
    argv: list[str],
    told: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()

    with pytest.raises(SystemExit, match="2"):
        export.main(argv)

    (message,) = caplog.messages
    assert told in message


def test_arguments_are_parsed_before_anything_slow_is_imported() -> None:
    code = "from pipelines.export import parsed; parsed(['m', '--format', 'onnx'])"

    assert imported(code, {"torch", "numpy", "onnx", "kfp"}) == "set()"
