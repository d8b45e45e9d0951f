"""What a check before a run finds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.cluster.kubernetes_api import UnknownError


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check.

    Attributes:
        what: What was checked.
        state: `unknown` if it could not be checked from here.
        detail: What was found, or what to do.
    """

    what: str
    state: Literal["ok", "missing", "unknown"]
    detail: str

    def __str__(self) -> str:
        return f"{self.state:8} {self.what:12} {self.detail}"


def looked_up(request: Callable[..., Any], *args: object) -> Any:
    """Return what a request returns, or the reason why it could not be made."""
    try:
        return request(*args)
    except UnknownError as error:
        return error


def existing(what: str, name: str, found: Any, remedy: str) -> Check:
    """Check that something exists.

    Args:
        what: What is checked.
        name: Which one.
        found: What was looked up: None or False if there is none, or an error.
        remedy: What to do if it does not.
    """
    if isinstance(found, UnknownError):
        return Check(what, "unknown", f"{name}: not checked: {found}")
    if found is None or found is False:
        return Check(what, "missing", f"{name}: {remedy}")
    return Check(what, "ok", name)
