"""Errors whose cause is outside the code."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """An error that the user can fix; its message names the value and the remedy."""


class TransientError(RuntimeError):
    """Something outside failed: nothing is wrong with the request, try again later."""


class StorageError(TransientError):
    """A store or a hub did not answer, or not as it should."""


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
            raise UserError("\n".join(self._messages))
