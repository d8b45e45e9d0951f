"""Export a model for other programs: to ONNX or TorchScript, with a JSON file of what it expects.

    python -m pipelines.export runs/demo --format onnx
    python -m pipelines.export runs/demo/models/resnet10t-wt --format torchscript --output pets.pt

The exported model takes batches of any size and gives logits; the JSON file has the classes, the
image size and the normalisation. It is written only if it computes what the model itself does.
"""

import argparse
import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared.stage.boundary import boundary
from components.shared.stage.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from components.shared.training.models import Record

logger = logging.getLogger("pipelines.export")  # also where this is `__main__`
_SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt"}
_NEEDED = {"onnx": ("onnx", "onnxruntime", "onnxscript"), "torchscript": ()}
_INPUT, _OUTPUT = "pixels", "logits"
_TRACED, *_CHECKED = 2, 1, 5  # images in a batch
# Of the largest logit: other kernels sum in another order.
_TOLERANCE = 1e-3


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; exits with 2 and one line if the user can fix the error."""
    given = parsed(argv)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("pipelines").setLevel(logging.INFO)
    with boundary():
        export(given.model, given.format, given.output)


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command's arguments; imports nothing slow."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="a model's folder, or a run's: its best")
    parser.add_argument("--format", choices=_SUFFIXES, required=True)
    parser.add_argument(
        "--output", type=Path, help="the file (default: the folder's name, in this folder)"
    )
    return parser.parse_args(argv)


def export(source: Path, format: str, output: Path | None = None) -> Path:
    """Export a model and return the file's path.

    Raises:
        UserError: There is no model, a package is missing, or the exported model computes something
            else.
    """
    from pipelines.run.models import folder_of

    folder = folder_of(source)
    path = output or Path(f"{source.absolute().name}{_SUFFIXES[format]}")
    if path.suffix != _SUFFIXES[format]:
        raise UserError(f"--output {path}: use a name that ends with {_SUFFIXES[format]}")
    for package in _NEEDED[format]:
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"--format {format} needs {package}: pip install {' '.join(_NEEDED[format])}"
            )
    import torch

    from components.shared.storage import filesystem
    from components.shared.training import models

    record = models.read_record(folder)
    model = models.load(folder).cpu().to(memory_format=torch.contiguous_format)
    shape = (3, record.image_size, record.image_size)
    with filesystem.complete(path) as temporary, _quiet(), torch.inference_mode():
        exported = _EXPORTS[format](model, torch.rand(_TRACED, *shape), temporary)
        batches = [torch.randn(count, *shape) for count in _CHECKED]
        own, theirs = (torch.cat(list(map(each, batches))) for each in (model, exported))
        difference = float((own - theirs).abs().max())
        if not difference <= _TOLERANCE * float(own.abs().max()):  # also where it is no number
            raise UserError(
                f"{path}: not written: {format} computes other logits than the model, by up to "
                f"{difference:.1g}: try another --format"
            )
        with filesystem.complete(path.with_suffix(".json")) as beside:
            beside.write_text(json.dumps(_described(record), indent=1, ensure_ascii=False))
    logger.info("%s: its logits differ from the model's by %.1g at most", path, difference)
    logger.info("%s: classes, image size and normalisation", path.with_suffix(".json"))
    return path


def _onnx(model: "nn.Module", example: "Tensor", path: Path) -> Callable[["Tensor"], "Tensor"]:
    import onnxruntime
    import torch

    torch.onnx.export(
        model,
        (example,),
        path,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=[_INPUT],
        output_names=[_OUTPUT],
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda pixels: torch.from_numpy(session.run(None, {_INPUT: pixels.numpy()})[0])


def _torchscript(
    model: "nn.Module", example: "Tensor", path: Path
) -> Callable[["Tensor"], "Tensor"]:
    import torch

    torch.jit.trace(model, example).save(str(path))  # type: ignore[no-untyped-call]
    loaded: Callable[[Tensor], Tensor] = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
    return loaded


_EXPORTS = {"onnx": _onnx, "torchscript": _torchscript}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what exporters say of their own future."""
    with warnings.catch_warnings(action="ignore"):
        yield


def _described(record: "Record") -> dict[str, Any]:
    from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    from components.shared.training.views import CROP_RATIO

    side = record.image_size
    return {
        "classes": record.names,
        "titles": record.titles,
        "image_size": side,
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "crop": CROP_RATIO,
        "input": f"{_INPUT}: float32 (batch, 3, {side}, {side}), RGB; the centre square of `crop` "
        "of an image's short side, resized; in 0 … 1, less `mean`, divided by `std`",
        "output": f"{_OUTPUT}: float32 (batch, {len(record.names)}); their softmax has the "
        "probabilities",
    }


if __name__ == "__main__":
    main()
