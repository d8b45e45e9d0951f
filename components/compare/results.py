"""The classifiers to compare, by step, candidate and seed, and their differences."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.compare.names import Names
from components.shared.data import halves
from components.shared.data.identity import Identity
from components.shared.data.predictions import History, Set, ids, read
from components.shared.data.statistics import (
    Estimate,
    Interval,
    balanced,
    image_weight,
    interval,
    over_images,
    over_seeds,
    per_class,
)
from components.shared.reports.titles import SCRATCH, Name
from components.shared.stage.errors import UserError

_LEVELS = 3  # of a sweep, or more


class Cell(NamedTuple):
    """A candidate after a step, over all seeds; the ensemble is a step without a candidate."""

    step: str
    candidate: Name

    @property
    def is_ensemble(self) -> bool:
        """Whether it is the ensemble of all candidates."""
        return self.candidate == Name()


@dataclass(frozen=True, slots=True)
class Classifiers:
    """The classifiers of a cell, one per seed.

    Attributes:
        seeds: Their seeds, ascending.
        hits: (S, N) bool: whether each one's top class is the image's label.
        top1: Balanced top-1 accuracy.
        best: The seed of the one with the highest; of equals, the first.
        interval: The interval of top-1 for other images and, of several seeds, for other seeds.
        top5: Balanced top-5 accuracy.
        histories: How they were trained.
    """

    seeds: tuple[int | None, ...]
    hits: NDArray[np.bool_]
    top1: Estimate
    best: int | None
    interval: Interval
    top5: Estimate
    histories: Sequence[History]

    @property
    def images(self) -> int:
        """Images seen by one classifier, over all its trainings."""
        return sum(training.images for training in self.histories[0].lineage)

    @property
    def seconds(self) -> float:
        """Duration of all its trainings, averaged over the seeds."""
        sums = [sum(each.seconds for each in history.lineage) for history in self.histories]
        return float(np.mean(sums))


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference in balanced top-1 accuracy of one cell to another.

    Attributes:
        of: The one.
        to: The other.
        gain: The difference, paired by seed.
        images: The interval of the mean for other images.
        both: Its interval for other seeds and other images.
        classes: (S, C') The difference for each seed, in each class that has images.
    """

    of: Cell
    to: Cell
    gain: Estimate
    images: Interval
    both: Interval
    classes: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All cells, in the order of the pipeline.

    Attributes:
        names: How to show steps and pretrainings.
        labels: (N,) The classes of the validation images that are compared: all, or where one half
            has chosen something, those of the other.
        cells: Their classifiers.
        gains: Differences to training from scratch, after the same step; for each cell the most
            meaningful one first.
        variants: Differences of pretrained variants to the plain candidate, after the same step.
        tricks: Differences to what came before the step, as `_to_before` pairs them.
        chosen: What the half of the validation images that is then left out has chosen.
        title: What the images are called, if they are those of an external validation set.
        external: The same classifiers on an external validation set.
    """

    names: Names
    labels: NDArray[np.int64]
    cells: dict[Cell, Classifiers]
    gains: list[Difference]
    variants: list[Difference]
    tricks: list[Difference]
    chosen: tuple[str, ...] = ()
    title: str = ""
    external: "Comparison | None" = None

    @property
    def steps(self) -> list[str]:
        """The steps, in order."""
        return list(dict.fromkeys(cell.step for cell in self.cells))

    @property
    def trainings(self) -> list[str]:
        """The steps that train candidates, in order: all but the ensemble."""
        return list(dict.fromkeys(each.step for each in self.cells if not each.is_ensemble))

    @property
    def candidates(self) -> list[Name]:
        """The candidates, in order."""
        return list(dict.fromkeys(each.candidate for each in self.cells if not each.is_ensemble))

    @property
    def best(self) -> Cell | None:
        """The best model, with its seed: the best of those whose mean over the seeds is the best.

        Of equals, it is that of the earlier step. None if there are only ensembles.
        """
        return self._best(cell for cell in self.cells if not cell.is_ensemble)

    @property
    def better_ensemble(self) -> Cell | None:
        """The best ensemble, with its seed, if its mean is above that of the best model."""
        ensemble = self._best(cell for cell in self.cells if cell.is_ensemble)
        found = [each for each in (self.best, ensemble) if each]
        means = [self.of(each).top1.mean for each in found]
        return ensemble if means and means[-1] > means[0] else None

    def of(self, cell: Cell) -> Classifiers:
        """Return the classifiers of a cell, whether or not it has a seed."""
        return self.cells[_unseeded(cell)]

    def _best(self, cells: Iterable[Cell]) -> Cell | None:
        found = max(cells, key=lambda cell: self.cells[cell].top1.mean, default=None)
        if found is None:
            return None
        return found._replace(candidate=replace(found.candidate, seed=self.cells[found].best))

    @property
    def sweeps(self) -> dict[str, dict[int, dict[str, Cell]]]:
        """Sweeps: variants that are levels of a parameter, such as `wrong20` and `wrong40`.

        By parameter, level and pretraining: cells after the first step, of one backbone.
        """
        found: dict[str, dict[int, dict[str, Cell]]] = {}
        for cell in self.cells:
            level = re.fullmatch(r"([a-z]+)(\d+)", cell.candidate.variant)
            if level and cell.step == self.steps[0]:
                levels = found.setdefault(level[1], {})
                levels.setdefault(int(level[2]), {}).setdefault(cell.candidate.pretraining, cell)
        return {what: levels for what, levels in found.items() if len(levels) >= _LEVELS}

    @property
    def first_gains(self) -> list[Difference]:
        """Gains of plain pretrained candidates in the first step, over each scratch in turn."""
        gains = (each for each in self.gains if each.of.step == self.steps[0])
        return [each for each in gains if _is_plain(each.of.candidate)]


def compare(
    paths: Sequence[Path], names: Names, identity: Identity, of: Set = "validation"
) -> Comparison:
    """Read predictions and compare them.

    Args:
        paths: The files.
        names: What the pipeline says about them.
        identity: The images'.
        of: Which images.

    Raises:
        UserError: They are for other images, or the number of names differs.
    """
    given = len(names.predictions)
    if len(paths) != given or not paths:
        raise UserError(f"names: {given} of {len(paths)} predictions: name each of them")
    found: dict[Cell, list[tuple[int | None, NDArray[np.bool_], History]]] = {}
    for path, (step, candidate) in zip(paths, names.predictions, strict=True):
        found_identity, labels, predictions, history = read(path, of)
        identity.check(found_identity, f"{step} {candidate}".strip())
        right = predictions.classes == labels[:, None]
        hits = np.stack([right[:, 0], right.any(axis=1)])
        cell = _unseeded(Cell(step, candidate))
        found.setdefault(cell, []).append((candidate.seed, hits, history))
    histories = [history for each in found.values() for _, _, history in each]
    chosen = tuple(dict.fromkeys(what for history in histories for what in history.chosen))
    if chosen and not all(
        halves.REPORTED in each for history in histories for each in history.curve
    ):
        raise UserError(
            "some predictions are of an earlier version, which did not measure each half of the "
            "validation images: train these models again"
        )
    shown = ~halves.choosing(ids(paths[0])) if chosen else np.ones(len(labels), np.bool_)
    classes = labels[shown].astype(np.int64)
    cells = {
        cell: _classifiers(
            [(seed, hits[:, shown], history) for seed, hits, history in each], classes
        )
        for cell, each in found.items()
    }
    gains, variants, tricks = (
        list(_differences(cells, list(pairs), classes))
        for pairs in (_to_scratch(cells), _to_plain(cells), _to_before(cells, names))
    )
    return Comparison(names, classes, cells, gains, variants, tricks, chosen)


def _unseeded(cell: Cell) -> Cell:
    return cell._replace(candidate=replace(cell.candidate, seed=None))


def _is_plain(candidate: Name) -> bool:
    return candidate.is_pretrained and not candidate.variant


def _classifiers(
    found: list[tuple[int | None, NDArray[np.bool_], History]], labels: NDArray[np.int64]
) -> Classifiers:
    ordered = sorted(found, key=lambda each: each[0] or 0)
    seeds, hits, histories = zip(*ordered, strict=True)
    first, among_five = np.stack(hits, axis=1)
    weight = image_weight(labels)
    by_seed, top5 = (balanced(each, labels) for each in (first, among_five))
    top1, best = Estimate.of(by_seed, weight), seeds[int(by_seed.argmax())]
    spreads = over_images(first.mean(axis=0)[None], labels)
    if len(seeds) > 1:
        spreads.append(over_seeds(by_seed, weight))
    low, high = interval(top1.mean, *spreads)
    shown = Interval(low if math.isnan(low) else max(0.0, low), high)
    return Classifiers(seeds, first, top1, best, shown, Estimate.of(top5, weight), histories)


def _to_scratch(cells: dict[Cell, Classifiers]) -> Iterator[tuple[Cell, Cell]]:
    """Pair each cell with those of the same step and backbone that are trained from scratch.

    A pretrained candidate is compared with every variant of scratch, the plain one first; a variant
    with the scratch of the same variant, which may have a data set of its own, else the plain one.
    """
    for cell in cells:
        if cell.is_ensemble:
            continue
        plain, own = (
            Cell(cell.step, replace(cell.candidate, pretraining=SCRATCH, variant=variant))
            for variant in ("", cell.candidate.variant)
        )
        others = [own if own in cells and own != cell else plain]
        if _is_plain(cell.candidate):
            others += [
                other
                for other in cells
                if other._replace(candidate=replace(other.candidate, variant="")) == plain
            ]
        for other in dict.fromkeys(others):
            if other in cells and other != cell:
                yield cell, other


def _to_plain(cells: dict[Cell, Classifiers]) -> Iterator[tuple[Cell, Cell]]:
    """Pair each pretrained variant with the plain candidate; scratch's are among the gains."""
    for cell in cells:
        plain = cell._replace(candidate=replace(cell.candidate, variant=""))
        if cell.candidate.is_pretrained and cell != plain and plain in cells:
            yield cell, plain


def _to_before(cells: dict[Cell, Classifiers], names: Names) -> Iterator[tuple[Cell, Cell]]:
    """Pair each cell with the same candidate's before what the step adds.

    A larger resolution is paired with what it continues, and each step of another round with its
    counterpart of the round before. The ensemble is paired with the best of all its members, the
    classifiers of any step: the one with the best mean over the seeds, as one would ship it.
    """
    last: dict[tuple[Name, bool], Cell] = {}
    for cell in cells:
        if cell.is_ensemble:
            members = [each for each in cells if not each.is_ensemble]
            if members:
                yield cell, max(members, key=lambda each: cells[each].top1.mean)
            continue
        continues = names.steps[cell.step].continues
        counterpart = last.get((cell.candidate, bool(continues)))
        for before in (cell._replace(step=continues), counterpart):
            if before in cells:
                yield cell, before
        last[cell.candidate, bool(continues)] = cell


def _differences(
    cells: dict[Cell, Classifiers], pairs: Sequence[tuple[Cell, Cell]], labels: NDArray[np.int64]
) -> Iterator[Difference]:
    by_seed = [
        cells[of].hits.astype(np.float64) - cells[to].hits.astype(np.float64) for of, to in pairs
    ]
    if not by_seed:
        return
    weight = image_weight(labels)
    spreads = over_images(np.stack([each.mean(axis=0) for each in by_seed]), labels)
    for (of, to), differences, spread in zip(pairs, by_seed, spreads, strict=True):
        classes = per_class(differences, labels)
        values = classes.mean(axis=1)
        gain = Estimate.of(values, weight)
        images = interval(gain.mean, spread)
        both = interval(gain.mean, spread, over_seeds(values, weight))
        yield Difference(of, to, gain, images, both, classes)
