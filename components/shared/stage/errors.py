"""Errors whose cause is outside the code."""

import reprlib
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """An error that the user can fix; its message names the value and the remedy."""


class TransientError(RuntimeError):
    """Something outside failed: nothing is wrong with the request, try again later."""


class StorageError(TransientError):
    """A store or a hub did not answer, or not as it should."""


_LONGEST = 120  # characters of a value in a message
_MOST = 20  # mistakes that are told at once


class _Shown(reprlib.Repr):
    """Shortens what is long, deep or has many parts, as well as what Python would not print."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist, self.maxtuple = 3, 8, 8, 8
        self.maxstring = self.maxother = _LONGEST

    def repr_int(self, value: int, level: int) -> str:
        if abs(value) < 10**40:
            return repr(value)
        digits = int(value.bit_length() / 3.3219) + 1  # repr refuses more than 4,300
        return f"{'-' if value < 0 else ''}(an integer of about {digits:,} digits)"


def shown(value: object) -> str:
    """Return a value for a message, on one short line, whatever a file or a flag may hold."""
    return _Shown().repr(value)


def shortened(text: str) -> str:
    """Return a text for a message, as it is if it is short and on one line."""
    return text if len(text) <= _LONGEST and text.isprintable() else shown(text)


class Mistakes:
    """Errors of the user's, collected so that all are told at once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._messages: dict[str, None] = {}

    @contextmanager
    def collected(self, where: str = "") -> Iterator[None]:
        """Collect a block's error; its message begins with `where` it is."""
        try:
            yield
        except UserError as error:
            self._messages[f"{where}{error}"] = None

    def tell(self) -> None:
        """Raise one error with all messages, a line for each.

        Raises:
            UserError: There are any.
        """
        if self._messages:
            *first, last = list(self._messages)[:_MOST]
            more = len(self._messages) - _MOST
            raise UserError("\n".join([*first, last, *[f"… and {more} more"] * (more > 0)]))
