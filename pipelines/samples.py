"""The sample images of a run's report, with what each stage makes of them."""

import io
from collections.abc import Iterator, Mapping

from PIL import Image

from components.shared.html import Card
from components.shared.images import ImageSet
from components.shared.targets import Targets

_SAMPLES = 12  # of each kind
_SEARCHED = 4_000  # images among which disagreements are looked for
_SHOWN_KEYWORDS, _SHOWN_CONCEPTS = 8, 3
_THUMBNAIL = 176  # pixels


def cards(images: ImageSet, given: Targets, opinions: Mapping[str, Targets]) -> list[Card]:
    """Return a card for each of the first images, then for some whose label is contradicted.

    Args:
        images: The training images.
        given: Their labels.
        opinions: By title, what stages say of them: `keywords`, `weights`, `pseudo labels`.
    """
    for title, targets in opinions.items():
        given.numbering.check(targets.numbering, title)
    numbers = list(range(min(_SAMPLES, len(given))))
    if "pseudo labels" in opinions:
        numbers += _contradicted(given, opinions["pseudo labels"])
    return [
        Card(
            _thumbnail(images.peek(number)),
            ", ".join(given.titles[label] for label in given[number][0]),
            list(_lines(number, opinions)),
        )
        for number in numbers
    ]


def _contradicted(given: Targets, pseudo_labels: Targets) -> list[int]:
    """Return images whose strongest pseudo label is not the given one, the surest first."""
    doubts = []
    for number in range(min(_SEARCHED, len(given))):
        classes, weights = pseudo_labels[number]
        if len(classes) and classes[0] not in given[number][0]:
            doubts.append((-float(weights[0]), number))
    return [number for _, number in sorted(doubts) if number >= _SAMPLES][:_SAMPLES]


def _lines(number: int, opinions: Mapping[str, Targets]) -> Iterator[str | tuple[str, float]]:
    for title, targets in opinions.items():
        classes, weights = targets[number]
        names = [targets.titles[name] for name in classes]
        if title == "keywords":
            yield f"keywords: {', '.join(names[:_SHOWN_KEYWORDS]) or '–'}"
            continue
        yield f"{title}:" if names else f"{title}: –"
        pairs = zip(names[:_SHOWN_CONCEPTS], weights.tolist(), strict=False)
        yield from ((f"{name} {weight:.2f}", min(1.0, weight)) for name, weight in pairs)


def _thumbnail(content: bytes) -> bytes:
    image = Image.open(io.BytesIO(content))
    if min(image.size) <= _THUMBNAIL:
        return content
    image.thumbnail((2 * _THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()
