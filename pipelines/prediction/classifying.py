"""What pictures show, by one model or by several together."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from components.shared.training.inference import Classifier, most_probable, read_records, scored
from components.shared.training.models import read_record
from components.shared.training.views import Views, crops
from pipelines.prediction import pictures
from pipelines.prediction.tables import Guess, Row


@torch.inference_mode()
def classified(
    models: Sequence[Path], files: Sequence[Path], top: int, workers: int, views: Views
) -> Iterator[list[Row]]:
    """Yield the files' rows in batches, in order.

    Args:
        models: Folders of models; several average their probabilities, each at its image size.
        files: The pictures.
        top: How many classes of each; all if there are fewer.
        workers: How many processes decode; this one with 0.
        views: What a model sees of each.

    Raises:
        UserError: A folder has no model, or models have different classes.
    """
    names = read_record(models[0]).names
    records = read_records(models, names)
    wanted = crops(sorted({record.image_size for record in records}), views)
    # Forked before torch starts threads here; and they decode while the models are loaded.
    batches = pictures.batches(files, wanted, workers)
    classifiers = [Classifier.load(model) for model in models]
    paths = iter(files)
    for found, errors in batches:
        guesses: Iterator[list[Guess]] = iter(())
        if not all(errors):
            probabilities = scored(classifiers, dict(zip(wanted, found, strict=True)), views)
            classes, shares = most_probable(probabilities, top)
            guesses = (
                [Guess(names[label], records[0].titles[label], share) for label, share in pairs]
                for pairs in map(zip, classes[0].tolist(), shares[0].tolist())
            )
        yield [
            Row(_text(path), () if error else next(guesses), error)
            for error, path in zip(errors, paths, strict=False)
        ]


def _text(path: Path) -> str:
    """Return a path as text; names of files may be none."""
    return os.fsencode(path).decode(errors="backslashreplace")
