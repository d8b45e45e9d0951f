"""The sample images of a run's report, with what each stage makes of them."""

from collections.abc import Iterator, Mapping

import numpy as np

from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.reports.html import Card

_SAMPLES = 12  # of each kind
_SEARCHED = 1_000_000  # images among which disagreements are looked for
_SHOWN_KEYWORDS, _SHOWN_CONCEPTS = 8, 4


def cards(images: ImageSet, given: Targets, predicted: Mapping[str, Targets]) -> list[Card]:
    """Return cards for some images whose label is contradicted, then for the first images.

    Args:
        images: The training images.
        given: Their labels.
        predicted: The stages' Targets by title: `keywords`, `weights`, `pseudo labels`.
    """
    for title, targets in predicted.items():
        given.identity.check(targets.identity, title)
    first = range(min(_SAMPLES, len(given)))
    doubted = (
        _contradicted(given, predicted["pseudo labels"]) if "pseudo labels" in predicted else []
    )
    shown = [*dict.fromkeys([*doubted, *first])]
    return [
        Card(
            images.peek(number),
            ", ".join(given.titles[label] for label in given[number][0]),
            list(_lines(number, predicted)),
            id,
        )
        for number, id in zip(shown, images.ids_of(shown), strict=True)
    ]


def _contradicted(given: Targets, pseudo_labels: Targets) -> list[int]:
    """Return images whose top pseudo label is not the given one, the most confident first."""
    offsets = pseudo_labels.offsets[: 1 + _SEARCHED]
    numbers = np.flatnonzero(np.diff(offsets))
    strongest = offsets[numbers]
    labels = given.classes[given.offsets[numbers]]
    doubted = np.flatnonzero(pseudo_labels.classes[strongest] != labels)
    surest = np.argsort(-pseudo_labels.weights[strongest[doubted]], kind="stable")[:_SAMPLES]
    found: list[int] = numbers[doubted[surest]].tolist()
    return found


def _lines(number: int, predicted: Mapping[str, Targets]) -> Iterator[str | tuple[str, float]]:
    for title, targets in predicted.items():
        classes, weights = targets[number]
        names = [targets.titles[name] for name in classes]
        if title == "keywords":
            yield f"keywords: {', '.join(names[:_SHOWN_KEYWORDS]) or '–'}"
            continue
        yield f"{title}:" if names else f"{title}: –"
        pairs = zip(names[:_SHOWN_CONCEPTS], weights.tolist(), strict=False)
        yield from ((f"{name} {weight:.2f}", min(1.0, weight)) for name, weight in pairs)
