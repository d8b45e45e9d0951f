"""Values of pod settings as Kubernetes spells them.

It would refuse a wrong one when a stage's pod starts, which may be days after the run did, or
never: KFP drops unknown keys of a toleration. Each function takes a value and raises a UserError
that says what it must be; the caller adds whose value it is.
"""

import re
from collections.abc import Mapping

from components.shared.stage.errors import UserError
from components.shared.stage.suggestions import meant

_NAME = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_SUBDOMAIN = r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
_TOLERATION = ("key", "operator", "value", "effect", "tolerationSeconds")
_OPERATORS = ("Equal", "Exists")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def cpu(value: object) -> None:
    """Refuse what is no number of cores."""
    if not _matches(r"(?=.*[1-9])(\d+(\.\d+)?|\d+m)", value):
        raise UserError("must be a number of cores as text, such as '4' or '500m'")


def memory(value: object) -> None:
    """Refuse what is no size of memory."""
    if not _matches(r"[1-9]\d*[MGT]i?", value):  # KFP takes no fractions
        raise UserError("must be a size as text, in whole numbers, such as '32Gi'")


def disk(value: object) -> None:
    """Refuse what is no size of a disk."""
    if not _matches(r"(?=.*[1-9])\d+(\.\d+)?[MGT]i?", value):
        raise UserError("must be a size as text, such as '128Gi'")


def count(value: object) -> None:
    """Refuse what is no number of devices. KFP's driver takes a number that is no text as none."""
    if not _matches(r"0|[1-9]\d*", value):
        raise UserError("must be a whole number as text, such as '8'")


def nodes(value: object) -> None:
    """Refuse what is no number of nodes."""
    if not _matches(r"[1-9]\d*", value):
        raise UserError("must be a positive integer as text; '1' needs no Trainer")


def resource(value: object) -> None:
    """Refuse what is no extended resource, such as a type of GPU."""
    prefix, separator, name = value.partition("/") if isinstance(value, str) else ("", "", "")
    if not separator or not _matches(_SUBDOMAIN, prefix) or not _matches(_NAME, name):
        raise UserError("must be the name of a resource of the nodes, such as nvidia.com/gpu")


def object_name(value: object) -> None:
    """Refuse what cannot be the name of an object, such as a secret or a storage class."""
    if not _matches(_SUBDOMAIN, value):
        raise UserError("must be a name of a-z, 0-9, '-' and '.'")


def queue(value: object) -> None:
    """Refuse what cannot be the name of a Kueue queue, which is also a label's value."""
    if not _matches(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value):
        raise UserError("must be a name of at most 63 of a-z, 0-9 and '-'")


def node_selector(value: object) -> None:
    """Refuse what is no mapping of nodes' labels to their values."""
    if not isinstance(value, Mapping):
        raise UserError("must map labels of nodes to values, such as {'pool': 'gpu'}")
    for key, label in value.items():
        _check_key(key)
        _check_label(key, label)


def tolerations(value: object) -> None:
    """Refuse what is no list of Kubernetes' tolerations."""
    if not isinstance(value, list):
        raise UserError(
            "must be a list of tolerations, such as [{'key': 'pool', 'operator': 'Exists'}]"
        )
    for each in value:
        try:
            _check_toleration(each)
        except UserError as error:
            raise UserError(f"toleration {each}: {error}") from None


def _check_toleration(given: object) -> None:
    if not isinstance(given, Mapping):
        raise UserError(f"must be a mapping with some of {', '.join(_TOLERATION)}")
    for name in given:
        if name not in _TOLERATION:
            raise UserError(f"no key {name!r}; {meant(name, _TOLERATION)}")
    operator = given.get("operator", "Equal")
    for name, chosen, choices in (
        ("operator", operator, _OPERATORS),
        ("effect", given.get("effect", "NoSchedule"), _EFFECTS),
    ):
        if chosen not in choices:
            raise UserError(f"{name} {chosen!r}: {meant(chosen, choices, 'choose one of {}')}")
    if "key" in given:
        _check_key(given["key"])
    elif operator != "Exists":
        raise UserError("without a key, which tolerates all taints, the operator must be Exists")
    if "value" in given and operator == "Exists":
        raise UserError("the operator Exists takes no value: remove it, or use Equal")
    _check_label(given.get("key", ""), given.get("value", ""))
    if "tolerationSeconds" in given:
        seconds = given["tolerationSeconds"]
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds % 1:
            raise UserError(f"tolerationSeconds {seconds!r}: must be a whole number")
        if given.get("effect") != "NoExecute":
            raise UserError("tolerationSeconds is for the effect NoExecute only")


def _check_key(key: object) -> None:
    prefix, separator, name = key.rpartition("/") if isinstance(key, str) else ("", "", "")
    if not _matches(_NAME, name) or (separator and not _matches(_SUBDOMAIN, prefix)):
        raise UserError(f"{key!r} is no key of a label or taint, such as example.com/pool")


def _check_label(key: object, value: object) -> None:
    if not isinstance(value, str):
        raise UserError(f'{key}: {value!r} must be text: write "{str(value).lower()}" in quotes')
    if value and not _matches(_NAME, value):
        raise UserError(
            f"{key}: {value!r} must be at most 63 letters, digits, '-', '_' and '.', "
            "and begin and end with a letter or digit"
        )


def _matches(pattern: str, value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None
