"""What goes wrong outside of the code."""


class UserError(ValueError):
    """Something that the user can put right; its message names the value and the remedy."""


class StorageError(RuntimeError):
    """S3 did not answer for as long as it may: nothing is wrong with the request, try it later."""
