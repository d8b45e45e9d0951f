"""Classify pictures with one trained model, or with several together.

    python -m pipelines.predict runs/demo/…/model --images photo.jpg holiday/

Prints the five most probable classes of each picture with their probability; several models
average theirs, each at its own image size.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from components.ingest.encoding import InvalidImageError, stored
from components.shared.stage.errors import UserError
from components.shared.training import models, transforms
from components.shared.training.inference import Classifier, most_probable, read_records, softmax

logger = logging.getLogger(__name__)
_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}
_TOP = 5
# The short side, in pixels: networks take less, and a phone's photographs much memory as they are.
_IMAGE_SIDE = 1_024


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; exits with 2 and one line if the user can fix the error."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="+", type=Path, help="model folders")
    parser.add_argument(
        "--images", nargs="+", type=Path, required=True, help="pictures, or folders of them"
    )
    arguments = parser.parse_args(argv)
    logging.basicConfig(format="%(levelname)s %(message)s")
    try:
        for line in predictions(arguments.models, find(arguments.images)):
            sys.stdout.write(line + "\n")
    except UserError as error:
        logger.error("%s", error)
        sys.exit(2)


def find(paths: Sequence[Path]) -> list[Path]:
    """Return the given files, and the pictures in the given folders and below, in order.

    Raises:
        UserError: There are none.
    """
    found = []
    for path in paths:
        if path.is_dir():
            below = sorted(each for each in path.rglob("*") if each.suffix.lower() in _SUFFIXES)
            if not below:
                raise UserError(f"{path}: no pictures there ({', '.join(sorted(_SUFFIXES))})")
            found += below
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file or folder")
    return found


@torch.inference_mode()
def predictions(folders: Sequence[Path], files: Sequence[Path]) -> Iterator[str]:
    """Yield the lines to print: each file's name, then a line for each of its top classes."""
    names = models.read_record(folders[0]).names
    titles = read_records(folders, names)[0].titles
    classifiers = [Classifier.load(folder) for folder in folders]
    device = transforms.device()
    for file in files:
        yield str(file)
        try:
            # As ingest does: turned upright, white where transparent; but hardly made smaller.
            encoded = stored(file.read_bytes(), _IMAGE_SIDE)
        except InvalidImageError as error:
            logger.warning("%s: not a readable picture: %s", file, error.detail)
            continue
        image = transforms.decoded(memoryview(encoded))
        probabilities = [
            softmax(
                each.model,
                transforms.normalized(
                    transforms.evaluation_crop(image, each.record.image_size)[None], device
                ),
            )
            for each in classifiers
        ]
        classes, means = most_probable(torch.stack(probabilities), _TOP)
        for label, share in zip(classes[0, 0].tolist(), means[0, 0].tolist(), strict=True):
            yield f"  {share:6.1%}  {titles[label]} ({names[label]})"


if __name__ == "__main__":
    main()
