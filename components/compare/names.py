"""What the pipeline says about the predictions: whose they are, and how to show them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from components.shared.reports.titles import SCRATCH, Name

_GREY = "#868e96"


class Step(NamedTuple):
    """How to show a step.

    Attributes:
        title: Its display name.
        color: The ensemble's colour in plots.
        continues: The step whose models it trains further, at a higher resolution; empty if none.
        about: What it does, in a sentence.
    """

    title: str
    color: str = _GREY
    continues: str = ""
    about: str = ""


class Pretraining(NamedTuple):
    """How to show the candidates of a pretraining, and what it is, in a sentence."""

    title: str
    color: str = _GREY
    about: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """What the pipeline says.

    Attributes:
        predictions: Step and candidate of each; an ensemble has at most a seed.
        steps: By name.
        pretrainings: By name, in the order of legends.
        suspects: The task whose output `suspects` lists labels that look wrong; empty if none.
    """

    predictions: Sequence[tuple[str, Name]]
    steps: Mapping[str, Step]
    pretrainings: Mapping[str, Pretraining]
    suspects: str = ""

    @classmethod
    def parse(cls, text: str) -> "Names":
        """Parse the stage's parameter; titles default to names.

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
            content.get("suspects", ""),
        )

    @property
    def about(self) -> str:
        """What the pretrainings and steps are, in sentences."""
        sentences = [each.about for each in self.pretrainings.values()]
        return " ".join(filter(None, [*sentences, *(each.about for each in self.steps.values())]))

    @property
    def baseline(self) -> str:
        """The display name of candidates that are not pretrained."""
        return self.pretrainings[SCRATCH].title if SCRATCH in self.pretrainings else "scratch"

    def title(self, candidate: Name) -> str:
        """Return a candidate's display name."""
        return candidate.title({name: each.title for name, each in self.pretrainings.items()})
