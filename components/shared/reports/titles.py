"""Whose a task or a model is, and what people read in place of that.

A candidate is named for its backbone and pretraining, and where a recipe has several of these, for
its variant and seed: `resnest101e-wt`, `resnet10t-none-longer-seed3`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# Says of a candidate that it is trained from scratch.
SCRATCH = "none"


@dataclass(frozen=True, slots=True)
class Name:
    """The parts of a candidate's name; empty or None are those that do not matter to what has it.

    Candidates share a keyword pretraining: it has a backbone and a seed. What is there once, such
    as the data set, has none of the parts.
    """

    backbone: str = ""
    pretraining: str = ""
    variant: str = ""
    seed: int | None = None

    def __str__(self) -> str:
        """Return the name as a part of task names; empty if all parts are."""
        seed = "" if self.seed is None else f"seed{self.seed}"
        return "-".join(filter(None, [self.backbone, self.pretraining, self.variant, seed]))

    @property
    def is_pretrained(self) -> bool:
        """Whether it is of a candidate that is not trained from scratch."""
        return self.pretraining not in ("", SCRATCH)

    def title(self, pretrainings: Mapping[str, str]) -> str:
        """Return what to call it, such as `resnet10t, scratch, longer, seed 3`.

        Args:
            pretrainings: Titles of pretrainings by name.
        """
        pretraining = pretrainings.get(self.pretraining, self.pretraining)
        seed = "" if self.seed is None else f"seed {self.seed}"
        return ", ".join(filter(None, [self.backbone, pretraining, self.variant, seed]))

    def parts(self) -> dict[str, Any]:
        """Return the parts that matter, as `Name` takes them."""
        return {part: value for part, value in asdict(self).items() if value not in ("", None)}
