"""Errors whose cause is outside the code."""


class UserError(ValueError):
    """An error that the user can fix; its message names the value and the remedy."""


class StorageError(RuntimeError):
    """S3 did not answer within the timeout: nothing is wrong with the request, try again later."""
