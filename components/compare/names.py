"""What the pipeline says of the predictions: whose they are, and how that shows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from components.shared.reports.titles import Name

_GREY = "#868e96"


class Step(NamedTuple):
    """How a step shows.

    Attributes:
        title: What to call it.
        color: Of what all candidates are together after it.
        continues: The step whose models it goes on with, at a higher resolution; empty if none.
    """

    title: str
    color: str = _GREY
    continues: str = ""


class Pretraining(NamedTuple):
    """How the candidates of a pretraining show."""

    title: str
    color: str = _GREY


@dataclass(frozen=True, slots=True)
class Names:
    """What the pipeline says.

    Attributes:
        predictions: Step and candidate of each; an ensemble has no more than a seed.
        steps: By name.
        pretrainings: By name, in the order of legends.
    """

    predictions: Sequence[tuple[str, Name]]
    steps: Mapping[str, Step]
    pretrainings: Mapping[str, Pretraining]

    @classmethod
    def parse(cls, text: str) -> "Names":
        """Read the stage's parameter; what it leaves out is called by its name.

        {"predictions": [{"step": "finetune", "backbone": "net", "pretraining": "wt"}],
         "steps": {"finetune": {"title": "finetuning"}},
         "pretrainings": {"wt": {"title": "WT", "color": "#0b7285"}}}
        """
        content = json.loads(text)
        predictions = [(each.pop("step"), Name(**each)) for each in content["predictions"]]
        steps, pretrainings = content.get("steps", {}), content.get("pretrainings", {})
        for step, candidate in predictions:
            steps.setdefault(step, {"title": step})
            pretrainings.setdefault(candidate.pretraining, {"title": candidate.pretraining})
        return cls(
            predictions,
            {name: Step(**step) for name, step in steps.items()},
            {name: Pretraining(**each) for name, each in pretrainings.items()},
        )

    def title(self, candidate: Name) -> str:
        """Return what to call a candidate."""
        return candidate.title({name: each.title for name, each in self.pretrainings.items()})
