"""What people read in place of the names of steps and candidates.

A candidate is named for its backbone and pretraining, and where a recipe has several of these, for
its variant and seed: `resnest101e-wt`, `resnet10t-none-longer-seed3`.
"""

import re
from typing import NamedTuple

PRETRAININGS = {"wt": "WT", "lw": "LW", "multitask": "multi-task", "none": "scratch"}
_NAME = re.compile(
    rf"(?P<backbone>.+?)-(?P<pretraining>{'|'.join(PRETRAININGS)})"
    r"(?:-(?P<variant>(?!seed\d)[a-z0-9]+))?(?:-seed(?P<seed>\d+))?"
)


class Name(NamedTuple):
    """The parts of a candidate's name; without a variant or seed, empty and None."""

    backbone: str
    pretraining: str
    variant: str
    seed: int | None

    @classmethod
    def parse(cls, candidate: str) -> "Name | None":
        """Return the parts of a candidate's name, or None if it is no candidate's."""
        found = _NAME.fullmatch(candidate)
        if found is None:
            return None
        seed = None if found["seed"] is None else int(found["seed"])
        return cls(found["backbone"], found["pretraining"], found["variant"] or "", seed)

    def __str__(self) -> str:
        words = [self.backbone, self.pretraining, self.variant, seed_word(self.seed)]
        return "-".join(filter(None, words))

    @property
    def title(self) -> str:
        """What to call the candidate where the backbone goes without saying, of any seed."""
        return ", ".join([PRETRAININGS[self.pretraining], *filter(None, [self.variant])])


def seed_word(seed: int | None) -> str:
    """Return a seed as a part of names; nothing if there is none."""
    return "" if seed is None else f"seed{seed}"


def seed_of(word: str) -> int | None:
    """Return the seed that `seed_word` has made a word of."""
    return int(word.removeprefix("seed")) if word else None


def step_title(step: str) -> str:
    """Return what to call a step of the method; the later finetunings by what is new in them."""
    words = [PRETRAININGS.get(word, word) for word in step.split("_")]
    if words[0] == "finetune" and len(words) > 1:
        return ", ".join(words[1:])
    return " ".join(words)


def candidate_title(candidate: str) -> str:
    """Return what to call a candidate: `resnet10t, scratch, seed 3`.

    What is not a candidate's name, such as a backbone alone, is kept, but for its seed.
    """
    name = Name.parse(candidate)
    if name is None:
        return re.sub(r"(^|-)seed(\d+)$", lambda m: f"{', ' if m[1] else ''}seed {m[2]}", candidate)
    seed = [] if name.seed is None else [f"seed {name.seed}"]
    return ", ".join([name.backbone, name.title, *seed])
