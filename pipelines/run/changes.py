"""What is different between two tasks, in words: why an earlier one's outputs are not reused."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.run.graph import canonical

_LONGEST_VALUE = 60


def values(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield which values have changed, as `epochs 8→20`."""
    for name in sorted({*before, *after}):
        old, new = (
            canonical(each[name]) if name in each else "nothing" for each in (before, after)
        )
        if old == new:
            continue
        if name == "node_image" and name in before and name in after:
            yield f"image {images(before[name], after[name])}"
            continue
        # KFP's prefix of pipeline parameters that set a pod's resources.
        yield f"{name.removeprefix('pipelinechannel--')} {words(old, new)}"


def images(before: str, after: str) -> str:
    """Return how an image has changed: of the same repository, its tags."""
    (old, _, old_tag), (new, _, new_tag) = before.rpartition(":"), after.rpartition(":")
    return words(old_tag, new_tag) if old == new else words(before, after)


def words(before: str, after: str) -> str:
    """Return how a text has changed."""
    return f"{_short(before)}→{_short(after)}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
