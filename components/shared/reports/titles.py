"""Names of candidates, and their display names.

A candidate is named after its backbone and pretraining and, if a recipe has several of these, after
its variant and seed: `resnest101e-wt`, `resnet10t-none-longer-seed3`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# The pretraining of candidates that are trained from scratch.
SCRATCH = "none"


@dataclass(frozen=True, slots=True)
class Name:
    """The parts of a candidate's name; parts that do not matter are empty or None.

    Candidates share a keyword pretraining: its name has a backbone and a seed. What exists once,
    such as the data set, has none of the parts.
    """

    backbone: str = ""
    pretraining: str = ""
    variant: str = ""
    seed: int | None = None

    def __str__(self) -> str:
        """Return the name as it is in task names; empty if all parts are."""
        seed = "" if self.seed is None else f"seed{self.seed}"
        return "-".join(filter(None, [self.backbone, self.pretraining, self.variant, seed]))

    @property
    def is_pretrained(self) -> bool:
        """Whether the candidate is not trained from scratch."""
        return self.pretraining not in ("", SCRATCH)

    def task(self, step: str) -> str:
        """Return the name of a step's task for it, such as `finetune-large-resnest101e-wt`."""
        return "-".join(filter(None, [step.replace("_", "-"), str(self)]))

    def title(self, pretrainings: Mapping[str, str]) -> str:
        """Return the display name, such as `resnet10t, scratch, longer, seed 3`.

        Args:
            pretrainings: Titles of pretrainings by name.
        """
        pretraining = pretrainings.get(self.pretraining, self.pretraining)
        seed = "" if self.seed is None else f"seed {self.seed}"
        return ", ".join(filter(None, [self.backbone, pretraining, self.variant, seed]))

    def parts(self) -> dict[str, Any]:
        """Return the parts that matter, as `Name` takes them."""
        return {part: value for part, value in asdict(self).items() if value not in ("", None)}
