"""Errors whose cause is outside the code."""


class UserError(ValueError):
    """An error that the user can fix; its message names the value and the remedy."""


class StorageError(RuntimeError):
    """A store or a hub did not answer: nothing is wrong with the request, try again later."""
