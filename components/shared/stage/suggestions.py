"""What may have been meant by a name that is none of those known."""

import difflib
import os
import re
from collections.abc import Iterable

_LIKE = 0.6  # as difflib's own
_MOST = 2
_MOST_LISTED = 60
_LONGEST = 100  # characters; what is longer is no misspelt name, and takes long to compare


def meant(wrong: object, known: Iterable[str], otherwise: str = "there are {}") -> str:
    """Return the known names that are most like a wrong one, as a question; or what there is.

    Args:
        wrong: What was given.
        known: The names that it could have been.
        otherwise: What to say if none is like it; `{}` stands for all of them.
    """
    known = list(known)
    given = wrong.lower() if isinstance(wrong, str) and len(wrong) <= _LONGEST else ""
    likeness = {name: _likeness(given, name.lower()) for name in known}
    alike = sorted(known, key=lambda name: -likeness[name])
    near = [name for name in alike[:_MOST] if likeness[name] >= _LIKE]
    if near:
        return f"did you mean {' or '.join(near)}?"
    if len(known) > _MOST_LISTED:
        known = [*sorted(alike[:_MOST_LISTED]), f"… ({len(known)} in all)"]
    return otherwise.format(", ".join(known))


def _likeness(wrong: str, name: str) -> float:
    """Return how alike two names are, beyond the words that both begin with; 1 if equal.

    `finetune_lr` is not like `finetune_seed`, but short for `finetune_learning_rate`.
    """
    shared = os.path.commonprefix([wrong, name]).rfind("_") + 1
    wrong, name = wrong[shared:], name[shared:]
    if len(wrong) > 1 and wrong == "".join(re.findall("(?<![a-z])[a-z]", name)):
        return 1.0
    return difflib.SequenceMatcher(None, name, wrong).ratio()
