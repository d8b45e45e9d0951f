"""Keywords and concepts as one Targets, over the outputs of two heads."""

import secrets
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

from components.shared.data.targets import Targets, TargetsWriter
from components.shared.stage import ranks
from components.shared.training.transforms import device

_BLOCK = 1 << 16


def joined(keywords: Targets, concepts: Targets) -> Targets:
    """Return the Targets of the same images over K + C classes: keywords, then concepts.

    They are memory-mapped from files that a node's processes share. The files are removed once all
    have them open, and go when the last process does, however it ends.
    """
    name = torch.tensor(secrets.randbits(62), device=device())
    ranks.broadcast(name)
    folder = Path(tempfile.gettempdir(), f"webly-{name.item():x}")
    if ranks.local_rank() == 0:
        write(folder, keywords, concepts)
    ranks.barrier()
    targets = Targets.load(folder)
    ranks.barrier()
    if ranks.local_rank() == 0:
        shutil.rmtree(folder)
    return targets


def write(folder: Path, keywords: Targets, concepts: Targets) -> None:
    """Write the joined Targets, some images at a time: each image's keywords, then its concepts."""
    names = [f"keyword:{name}" for name in keywords.names]
    names += [f"concept:{name}" for name in concepts.names]
    titles = [f"{title} (keyword)" for title in keywords.titles] + concepts.titles
    with TargetsWriter(folder, names, titles, keywords.identity) as writer:
        for start in range(0, len(keywords), _BLOCK):
            counts, classes, weights = [], [], []
            for targets, first in ((keywords, 0), (concepts, len(keywords.names))):
                offsets = targets.offsets[start : start + _BLOCK + 1]
                counts.append(np.diff(offsets))
                classes.append(targets.classes[offsets[0] : offsets[-1]] + first)
                weights.append(targets.weights[offsets[0] : offsets[-1]])
            images = np.concatenate([np.repeat(np.arange(len(each)), each) for each in counts])
            order = np.argsort(images, kind="stable")
            pairs = np.concatenate(classes)[order], np.concatenate(weights)[order]
            writer.append(sum(counts), *pairs)
