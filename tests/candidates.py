"""Candidates' names, written short."""

from components.shared.reports.titles import Name


def named(text: str) -> Name:
    """Return `net-wt-longer-seed3` in parts; those at the end may be missing."""
    words = text.split("-") if text else []
    seed = int(words.pop().removeprefix("seed")) if words and words[-1][:4] == "seed" else None
    return Name(*words, seed=seed)
