"""Where the scores come from, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from components.shared.training.models import Record, read_record


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the scores come from.

    Attributes:
        start: What the models were trained from.
        top1: The validation accuracy of each fold's model, 0 … 1.
        texts: Whether the scores hold what the texts say.
    """

    start: str
    top1: Sequence[float]
    texts: bool

    @classmethod
    def of(cls, records: Sequence[Record], initial_model: Path | None, *, texts: bool) -> Self:
        """Describe the folds' models and the one that they started from."""
        start = read_record(initial_model).title if initial_model else "random weights"
        return cls(start, [record.score for record in records], texts)

    @property
    def sentence(self) -> str:
        """Say it, to be put into or behind a sentence."""
        return (
            "judged by models that did not train on the label they judge: "
            f"{len(self.top1)} folds, from {self.start}"
            + (", and by what the texts say" if self.texts else "")
        )

    def metadata(self) -> dict[str, float | str]:
        """Return what people look for among many runs."""
        return {"top1_percent": 100 * sum(self.top1) / len(self.top1), "labels_are": self.sentence}
