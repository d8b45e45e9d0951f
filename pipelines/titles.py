"""What people read in place of the names of steps and candidates."""

_WORDS = {"wt": "WT", "lw": "LW", "none": "scratch"}


def step_title(step: str) -> str:
    """Return what to call a step of the method; the later finetunings by what is new in them."""
    words = [_WORDS.get(word, word) for word in step.split("_")]
    if words[0] == "finetune" and len(words) > 1:
        return ", ".join(words[1:])
    return " ".join(words)


def candidate_title(candidate: str) -> str:
    """Return what to call a candidate: `resnet10t, scratch`; a backbone alone keeps its name."""
    backbone, _, pretraining = candidate.rpartition("-")
    return f"{backbone}, {_WORDS[pretraining]}" if pretraining in _WORDS else candidate
