"""What a label is called, in whatever form a table or a record of samples has it."""

import math
import re
import unicodedata
from collections.abc import Collection, Iterable

from components.ingest import wording
from components.ingest.dataset import clean
from components.shared.stage.errors import UserError

MOST_CLASSES = 100_000
_SEVERAL = " | "


def class_name(value: object) -> str:
    """Return a class's name; empty where there is none.

    Unlike a text's words, a name is taken as it is: `none` may be a class, and `C%2B` another.
    Whole numbers have no decimals, and letters are composed, as a Mac writes them otherwise.
    Several names are separated by `|`.
    """
    value = wording.parsed(value.strip()) if isinstance(value, str) else value
    match value:
        case None:
            return ""
        case float() if not math.isfinite(value):
            return ""
        case list() | tuple():
            return _SEVERAL.join(dict.fromkeys(filter(None, map(class_name, value))))
        case dict():
            return class_name([each for each in value.values() if isinstance(each, str)])
    text = unicodedata.normalize("NFC", " ".join(clean(str(value)).split()))
    whole, _, zeros = text.replace(",", ".").partition(".")
    if whole.isdecimal() and zeros and not zeros.strip("0"):
        return whole
    return "" if text.casefold() == "nan" else text


def several(names: Collection[str]) -> set[str]:
    """Return the names that stand for several classes each.

    Such as `cat|dog`, `1 5 7`, or `scab rust` where `scab` and `rust` are classes, too.
    """
    known = {*names}
    return {name for name in names if _is_several(name, known)}


def check_distinct(root: str, names: Iterable[str]) -> None:
    """Refuse names that differ only in case or blanks.

    Raises:
        UserError: There are two.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault("".join(name.split()).casefold(), name)
        if other != name:
            raise UserError(
                f"{root}: {other!r:.100} and {name!r:.100} are two classes that differ only in "
                "case or blanks: give them one name"
            )


def _is_several(name: str, known: Collection[str]) -> bool:
    if "|" in name:
        return True
    for separator in (r"[,;]", r"[\s,;]+"):
        parts = [part.strip() for part in re.split(separator, name)]
        if len(parts) > 1 and (all(map(str.isdecimal, parts)) or all(p in known for p in parts)):
            return True
    return False
