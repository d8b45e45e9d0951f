"""Which images are suspects, from predictions that are read in passes, shard by shard."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.audit.scoring import Means, Scores, doubted, scored
from components.audit.tables import PredictionsWriter
from components.shared.training.evidence import Texts
from components.shared.training.inference import ShardPredictions


@dataclass(frozen=True, slots=True)
class Selection:
    """The suspects among N images.

    Attributes:
        suspects: Their scores, the most suspect first.
        images: (C,) Images by given class.
        agreeing: For how many the models' most probable class is the given one.
    """

    suspects: Scores
    images: NDArray[np.int64]
    agreeing: int

    def metadata(self) -> dict[str, float | str]:
        """Return what people look for among many runs."""
        images, suspects = int(self.images.sum()), len(self.suspects.numbers)
        return {
            "images": images,
            "suspects": suspects,
            "suspects_percent": 100 * suspects / images,
            "models_agree_percent": 100 * self.agreeing / images,
        }


def select(
    parts: Callable[[], Iterable[ShardPredictions]],
    texts: Texts,
    text_floor: float,
    num_classes: int,
    writer: PredictionsWriter,
) -> Selection:
    """Return the suspects, and write the predictions.

    Args:
        parts: Begins a pass over the predictions for all images.
        texts: What the texts say.
        text_floor: As in `scored`.
        num_classes: Number of classes.
        writer: Takes the predictions.
    """
    means = Means(num_classes)
    for part in parts():
        means.update(scored(part, texts, text_floor))
    numbers, trusts, claimed, agreeing = [], [], 0, 0
    for part in parts():
        scores = scored(part, texts, text_floor)
        trust = means.trust(scores)
        writer.append(part, scores.given, trust)
        claimed += int(means.claimed(scores).sum())
        agreeing += int((scores.model_classes == scores.given).sum())
        rows = doubted(scores)
        numbers.append(scores.numbers[rows])
        trusts.append(trust[rows])
    candidates = np.concatenate(numbers)
    order = np.lexsort((candidates, np.concatenate(trusts)))[:claimed]
    chosen = np.sort(candidates[order])
    found = [
        scores.taken(np.isin(scores.numbers, chosen, assume_unique=True))
        for scores in (scored(part, texts, text_floor) for part in parts())
    ]
    suspects = Scores(*(np.concatenate(column) for column in zip(*found, strict=True)))
    ranked = suspects.taken(np.searchsorted(suspects.numbers, candidates[order]))
    return Selection(ranked, means.images, agreeing)
