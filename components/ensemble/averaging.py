"""The ensemble's predictions, and the accuracy of each model and of their mean.

Shapes: M models, N validation images.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from components.ensemble.opinions import Opinions
from components.ensemble.selection import Labelled, Weights, parts
from components.shared.data import halves
from components.shared.data.evaluation import External
from components.shared.data.predictions import TOP, Predicted, Predictions, Training
from components.shared.data.statistics import Interval, balanced, interval, over_images
from components.shared.data.targets import Targets
from components.shared.stage.errors import UserError
from components.shared.training.inference import Inference
from components.shared.training.models import Record

# Rows of `Validation.hits` after those of the models.
_ADDED = EQUAL, ENSEMBLE, CROSSED, CROSSED_SINGLE = -4, -3, -2, -1


@dataclass(frozen=True, slots=True)
class Selection:
    """The models' shares, as one half of the images has chosen them.

    Attributes:
        parts: (M,) Each model's part of the ensemble.
        others: (M,) Its part if the other half had chosen, for the cross-fitted estimate.
    """

    parts: NDArray[np.int64]
    others: NDArray[np.int64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """The share of each model (M,) of the mean."""
        shares: NDArray[np.float64] = self.parts / self.parts.sum()
        return shares

    @property
    def members(self) -> list[int]:
        """The models that have a share."""
        members: list[int] = np.flatnonzero(self.parts).tolist()
        return members


class Measured(NamedTuple):
    """A balanced top-1 accuracy or a difference of two, with its interval for other images."""

    mean: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Validation:
    """What the models and the ensemble say of the validation images.

    Attributes:
        labels: (N,) The images' true classes.
        predictions: The ensemble's, of all of them.
        hits: (M+4, 2, N) Whether an image's class is the top class, and whether among the top five:
            of each model; `EQUAL`, of the mean by equal shares; `ENSEMBLE`, by the ensemble's;
            `CROSSED`, of an image by the shares that the half has chosen of which it is not, and
            `CROSSED_SINGLE`, by the one model that this half would choose.
        reported: (N,) Whether an image has chosen nothing, so that it measures.
        selection: The members; None if all models have equal shares.
    """

    labels: NDArray[np.int64]
    predictions: Predictions
    hits: NDArray[np.bool_]
    reported: NDArray[np.bool_]
    selection: Selection | None

    @property
    def num_models(self) -> int:
        """The number of models."""
        return len(self.hits) - len(_ADDED)

    def accuracies(self, images: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return balanced top-1 and top-5 accuracies (M+4, 2) on some of the images."""
        return balanced(self.hits[:, :, images], self.labels[images])

    @property
    def single(self) -> int:
        """The model that whoever chooses the ensemble would choose alone.

        It is the best on the images that choose. Where all of them are reported, it is the best of
        these, which flatters it.
        """
        images = self.reported if self.reported.all() else ~self.reported
        return _best(self.hits[: self.num_models], self.labels, images)

    def top1(self, of: int, images: NDArray[np.bool_]) -> Measured:
        """Return the top-1 accuracy of a row of `hits`."""
        mean, (low, high) = self._measured(self.hits[of, 0].astype(np.float64), images)
        return Measured(mean, Interval(low if math.isnan(low) else max(0.0, low), high))

    def above(self, of: int, to: int, images: NDArray[np.bool_]) -> Measured:
        """Return by how much the top-1 accuracy of a row of `hits` is above that of another."""
        return self._measured(self.hits[of, 0].astype(np.float64) - self.hits[to, 0], images)

    def _measured(self, values: NDArray[np.float64], images: NDArray[np.bool_]) -> Measured:
        values, labels = values[images], self.labels[images]
        mean = float(balanced(values, labels))
        return Measured(mean, interval(mean, *over_images(values[None], labels)))

    def metadata(self, titles: Sequence[str], num_classes: int) -> dict[str, float]:
        """Return the scalars: the ensemble's, then those of each model under its title."""
        return dict(self._scalars(titles, num_classes))

    def _scalars(self, titles: Sequence[str], num_classes: int) -> Iterator[tuple[str, float]]:
        reported = self.reported
        percent = (100 * self.accuracies(reported)).tolist()
        yield "images", int(reported.sum())
        yield "missing_classes", num_classes - len(np.unique(self.labels[reported]))
        named = {"": ENSEMBLE}
        if self.selection:
            yield "choosing_images", int((~reported).sum())
            named["equal shares: "] = EQUAL
        for name, row in [*named.items(), *((f"{t}: ", i) for i, t in enumerate(titles))]:
            yield f"{name}top1_percent", percent[row][0]
            yield f"{name}top5_percent", percent[row][1]
            if self.selection and row >= 0:
                yield f"{name}share_percent", 100 * float(self.selection.shares[row])
        above = self.above(ENSEMBLE, self.single, reported)
        yield from _points("points_over_best_model", above)
        if self.selection:
            every = np.ones(len(self.labels), np.bool_)
            yield "cross-fitted: images", len(self.labels)
            yield from _points("cross-fitted: top1_percent", self.top1(CROSSED, every))
            top5 = float(self.accuracies(every)[CROSSED, 1])
            yield "cross-fitted: top5_percent", 100 * top5
            above = self.above(CROSSED, CROSSED_SINGLE, every)
            yield from _points("cross-fitted: points_over_best_model", above)


def _best(hits: NDArray[np.bool_], labels: NDArray[np.int64], images: NDArray[np.bool_]) -> int:
    """Return the model with the highest top-1 accuracy on some of the images."""
    return int(balanced(hits[:, 0, images], labels[images]).argmax())


def _points(name: str, measured: Measured) -> Iterator[tuple[str, float]]:
    """Yield a figure in percent and the ends of its interval, if that is known."""
    yield name, 100 * measured.mean
    if not math.isnan(measured.interval.low):
        yield f"{name}_low", 100 * measured.interval.low
        yield f"{name}_high", 100 * measured.interval.high


def select(inference: Inference, labels: Targets, weights: Weights) -> Selection:
    """Choose the members on the half of the labelled images that may choose.

    Raises:
        UserError: A half has no image.
    """
    chooses = halves.choosing(inference.images.ids())
    if not 0 < (count := np.count_nonzero(chooses)) < len(chooses):
        raise UserError(
            f"weights={weights}: {count} of {len(chooses)} validation images choose the members, "
            "and the others are to measure them: use weights=equal"
        )
    truth = np.asarray(labels.classes, np.int64)

    def shards(half: NDArray[np.bool_]) -> Iterator[Labelled]:
        for part in inference:
            rows = half[part.numbers]
            opinions = Opinions.of(part.classes[:-1, rows], part.probabilities[:-1, rows])
            yield opinions, truth[part.numbers[rows]]

    found = [parts(weights, shards(half), len(inference.folders)) for half in (chooses, ~chooses)]
    return Selection(*found)


def validate(
    inference: Inference, labels: Targets, selection: Selection | None, *, halved: bool
) -> Validation:
    """Return what the models and the ensemble say of all labelled images.

    Args:
        inference: What the models say.
        labels: The images' true classes.
        selection: The members; None if all models have equal shares.
        halved: Whether one half of the images has chosen anything, members or teachers.
    """
    assert (np.diff(labels.offsets) == 1).all(), "ingest gives each validation image one label"
    truth = np.asarray(labels.classes, np.int64)
    chooses = halves.choosing(inference.images.ids())
    num_models = len(inference.folders)
    hits = np.empty((num_models + len(_ADDED), 2, len(truth)), np.bool_)
    found = []
    for part in inference:
        together = Predictions(part.classes[-1, :, :TOP], part.probabilities[-1, :, :TOP])
        crossed = together.classes
        if selection:
            opinions = Opinions.of(part.classes[:-1], part.probabilities[:-1])
            together = opinions.mean(selection.shares)
            others = opinions.mean(selection.others / selection.others.sum())
            crossed = np.where(chooses[part.numbers, None], others.classes, together.classes)
        found.append(together)
        ranked = np.stack([*part.classes[:, :, :TOP], together.classes, crossed])
        hits[:CROSSED_SINGLE, :, part.numbers] = _hits(ranked, truth[part.numbers])
    hits[CROSSED_SINGLE] = False
    if selection:
        chosen, other = (_best(hits[:num_models], truth, half) for half in (chooses, ~chooses))
        hits[CROSSED_SINGLE] = np.where(chooses, hits[other], hits[chosen])
    reported = ~chooses if halved else np.ones(len(truth), np.bool_)
    return Validation(truth, Predictions.joined(found), hits, reported, selection)


def _hits(ranked: NDArray[np.int32], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether classes (…, N, K) have the label first, and at all: (…, 2, N)."""
    right = ranked == labels[:, None]
    return np.stack([right[..., 0], right.any(axis=-1)], axis=-2)


def trainings(members: Sequence[Record]) -> list[Training]:
    """Return the members' trainings, each once: several may continue the same."""
    found = {
        tuple(record.lineage[: last + 1]): training
        for record in members
        for last, training in enumerate(record.lineage)
    }
    return list(found.values())


def predict(inference: Inference) -> Predictions:
    """Return the ensemble's predictions for images that choose nothing."""
    return Predictions.joined(
        [Predictions(part.classes[-1], part.probabilities[-1]) for part in inference]
    )


@dataclass(frozen=True, slots=True)
class ExternalValidation:
    """The evaluation of the ensemble on an external validation set.

    Attributes:
        title: What its images are called.
        predicted: The images and the ensemble's predictions.
        top1: Its balanced top-1 accuracy.
        top5: And top-5.
    """

    title: str
    predicted: Predicted
    top1: float
    top5: float

    @classmethod
    def of(cls, external: External, inference: Inference) -> Self:
        """Evaluate an ensemble that has seen the images."""
        predicted = Predicted(external.images, external.labels, predict(inference))
        labels = np.asarray(external.labels.classes, np.int64)
        top1, top5 = balanced(_hits(predicted.predictions.classes, labels), labels).tolist()
        return cls(external.title, predicted, top1, top5)

    def metadata(self) -> dict[str, float]:
        """Return the scalars."""
        return {
            "external_images": len(self.predicted.images),
            "external_top1_percent": 100 * self.top1,
            "external_top5_percent": 100 * self.top5,
        }
