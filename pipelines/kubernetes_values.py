"""Values of pod settings as Kubernetes spells them.

It would refuse a wrong one when a stage's pod starts, which may be days after the run did, or
never: KFP drops unknown keys of a toleration. Each function takes a value and raises a UserError
that says what it must be; the caller adds whose value it is.
"""

import re
from collections.abc import Mapping

from components.shared.stage.errors import UserError, shown
from components.shared.stage.suggestions import meant

_NAME = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_SUBDOMAIN = r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
_TOLERATION = ("key", "operator", "value", "effect", "tolerationSeconds")
_OPERATORS = ("Equal", "Exists")
_MOST_SECONDS = 1_000_000_000
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def cpu(value: object) -> None:
    """Refuse what is no number of cores."""
    if not _matches(r"(?=.*[1-9])([0-9]{1,4}(\.[0-9]{1,3})?|[0-9]{1,7}m)", value):
        raise UserError("must be a number of cores as text, such as '4' or '500m', at most '9999'")


def memory(value: object) -> None:
    """Refuse what is no size of memory."""
    if not _matches(r"[1-9][0-9]{0,6}[MGT]i?", value):  # KFP takes no fractions
        raise UserError("must be a size as text, in whole numbers, such as '32Gi', of 7 digits")


def disk(value: object) -> None:
    """Refuse what is no size of a disk."""
    if not _matches(r"(?=.*[1-9])[0-9]{1,7}(\.[0-9]{1,3})?[MGT]i?", value):
        raise UserError("must be a size as text, such as '128Gi', of at most 7 digits")


def count(value: object) -> None:
    """Refuse what is no number of devices. KFP's driver takes a number that is no text as none."""
    if not _matches("0|[1-9][0-9]{0,2}", value):
        raise UserError("must be a whole number as text, such as '8', at most '999'")


def nodes(value: object) -> None:
    """Refuse what is no number of nodes."""
    if not _matches("[1-9][0-9]{0,3}", value):
        raise UserError("must be a positive integer as text, at most '9999'; '1' needs no Trainer")


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
            raise UserError(f"toleration {shown(each)}: {error}") from None


def _check_toleration(given: object) -> None:
    if not isinstance(given, Mapping):
        raise UserError(f"must be a mapping with some of {', '.join(_TOLERATION)}")
    for name in given:
        if name not in _TOLERATION:
            raise UserError(f"no key {shown(name)}; {meant(name, _TOLERATION)}")
    operator = given.get("operator", "Equal")
    for name, chosen, choices in (
        ("operator", operator, _OPERATORS),
        ("effect", given.get("effect", "NoSchedule"), _EFFECTS),
    ):
        if chosen not in choices:
            hint = meant(chosen, choices, "choose one of {}")
            raise UserError(f"{name} {shown(chosen)}: {hint}")
    if "key" in given:
        _check_key(given["key"])
    elif operator != "Exists":
        raise UserError("without a key, which tolerates all taints, the operator must be Exists")
    if "value" in given and operator == "Exists":
        raise UserError("the operator Exists takes no value: remove it, or use Equal")
    _check_label(given.get("key", ""), given.get("value", ""))
    if "tolerationSeconds" in given:
        seconds = given["tolerationSeconds"]
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not number or seconds % 1 or abs(seconds) > _MOST_SECONDS:
            raise UserError(
                f"tolerationSeconds {shown(seconds)}: must be a whole number, at most "
                f"{_MOST_SECONDS:,}"
            )
        if given.get("effect") != "NoExecute":
            raise UserError("tolerationSeconds is for the effect NoExecute only")


def _check_key(key: object) -> None:
    prefix, separator, name = key.rpartition("/") if isinstance(key, str) else ("", "", "")
    if not _matches(_NAME, name) or (separator and not _matches(_SUBDOMAIN, prefix)):
        raise UserError(f"{shown(key)} is no key of a label or taint, such as example.com/pool")


def _check_label(key: object, value: object) -> None:
    if not isinstance(value, str):
        said = shown(value)
        raise UserError(f'{key}: {said} must be text: write "{said.lower()}" in quotes')
    if value and not _matches(_NAME, value):
        raise UserError(
            f"{key}: {shown(value)} must be at most 63 letters, digits, '-', '_' and '.', "
            "and begin and end with a letter or digit"
        )


def _matches(pattern: str, value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None
