"""Where a command's errors end: in one line and an exit code, if their cause is outside the code.

    1    may succeed when tried again: S3 does not answer, a disk is full
    2    something must be put right first: a value, a permission
    130  Ctrl-C
    143  SIGTERM

Anything else is a fault of the code, and ends in a traceback. On the cluster, 2 is not retried.
"""

import errno
import logging
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from components.shared.stage.errors import TransientError, UserError

logger = logging.getLogger(__name__)
TRANSIENT, USER_ERROR = 1, 2  # exit codes; the latter as argparse's
_INTERRUPTED = 128 + signal.SIGINT

# What people, disks and other programs do wrong, and its remedy. Numbers that are not here, such as
# EINVAL, come from wrong calls of ours.
_TO_PUT_RIGHT = {
    errno.ENOENT: "no such file or folder: check the path",
    errno.ENOTDIR: "one of these folders is a file: use another path",
    errno.EISDIR: "a folder, where a file should be: use another path",
    errno.EEXIST: "exists already: use another path",
    errno.ENOTEMPTY: "other files are there: remove them, or use another path",
    errno.EACCES: "no permission: change its owner or mode, or use another path",
    errno.EPERM: "not permitted: change its owner or mode, or use another path",
    errno.EROFS: "the file system is read-only: use another path",
    errno.ELOOP: "links that lead to themselves: remove them",
    errno.ENAMETOOLONG: "a name is too long for the file system: use a shorter one",
    errno.EXDEV: "not on the same file system as its folder: use another path",
    errno.EFBIG: "too large for the file system, or for `ulimit -f`",
    errno.EMLINK: "the file system takes no more links: use another one",
    errno.EMFILE: "too many open files: raise `ulimit -n`",
    errno.ENXIO: "a device or socket, where a file should be: use another path",
    errno.ENODEV: "a device, where a file should be: use another path",
    errno.EOPNOTSUPP: "the file system does not support this: use another one",
    errno.ENOSYS: "the file system does not support this: use another one",
    errno.ENOLCK: "the file system has no locks: use another one",
}
_A_FILE = "a file, where a folder should be: use another path"
_TO_TRY_AGAIN = {
    errno.ENOSPC: "no space is left there: free some, and try again",
    errno.EDQUOT: "the quota is used up there: free some space, and try again",
    errno.EIO: "the disk fails: look at its state (`dmesg`), and try again",
    errno.ESTALE: "the network file system lost it: try again",
    errno.EREMOTEIO: "the network file system fails: try again",
    errno.EBUSY: "in use by another program: try again",
    errno.ETXTBSY: "in use by another program: try again",
    errno.EAGAIN: "the machine is short of processes or memory: try again, with fewer at a time",
    errno.ENOMEM: "the machine is short of memory: try again, with less at a time",
    errno.ENFILE: "the machine has too many open files: try again",
    errno.ETIMEDOUT: "no answer: try again",
    errno.ECONNREFUSED: "no answer: try again",
    errno.ECONNRESET: "the connection broke: try again",
    errno.EHOSTUNREACH: "not reachable: try again",
    errno.ENETUNREACH: "not reachable: try again",
}
# Of a disk: `error.filename` is what was copied there.
_OF_THE_TARGET = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@contextmanager
def boundary(name: str = "", *, stopped: str = "stopped") -> Iterator[None]:
    """Run a block as the body of a command, which exits as the module says.

    Args:
        name: What the line begins with; empty for none.
        stopped: The line after Ctrl-C.
    """
    # A terminated pod unwinds like any other exit: temporary files are removed, locks released.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    prefix = f"{name}: " if name else ""
    try:
        yield
    except KeyboardInterrupt:
        logger.error("%s%s", prefix, stopped)
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            sys.exit(TRANSIENT)
        if (end := ending(error)) is None:
            raise
        code, line = end
        logger.error("%s%s", prefix, line)
        logger.debug("it came from here", exc_info=error)
        sys.exit(code)


def ending(error: Exception) -> tuple[int, str] | None:
    """Return the exit code and the line that an error ends in; None for a fault of the code."""
    match error:
        case UserError():
            return USER_ERROR, str(error)
        case TransientError():
            return TRANSIENT, str(error)
        case FileExistsError(filename=str(path)) if os.path.isfile(path):  # of mkdir
            return USER_ERROR, f"{_where(error)}: {_A_FILE}"
        case OSError(errno=number) if number in _TO_PUT_RIGHT:
            return USER_ERROR, f"{_where(error)}: {_TO_PUT_RIGHT[number]}"
        case OSError(errno=number) if number in _TO_TRY_AGAIN:
            return TRANSIENT, f"{_where(error)}: {_TO_TRY_AGAIN[number]}"
        case MemoryError():
            return USER_ERROR, "the memory is too small: give it more, or fewer at a time"
    # Without importing torch.
    if type(error).__name__ == "OutOfMemoryError":
        return USER_ERROR, (
            "the GPU's memory is too small: use a smaller batch_size or image_size, or more "
            "accumulation_steps"
        )
    return None


def is_transient(error: Exception) -> bool:
    """Return whether what failed may succeed when tried again."""
    end = ending(error)
    return end is not None and end[0] == TRANSIENT


def _where(error: OSError) -> str:
    """Return the path of an error, or what the system says where there is none."""
    of_target = error.errno in _OF_THE_TARGET and error.filename2 is not None
    path = error.filename2 if of_target else error.filename
    if path is None or isinstance(path, int):
        return error.strerror or type(error).__name__
    text = os.fsdecode(path)
    return text if text.isprintable() else ascii(text)


def _reader_is_gone() -> bool:
    """Return whether the reader of the standard output, such as `head`, has had enough."""
    output = sys.stdout.fileno()
    poll = select.poll()
    poll.register(output, 0)
    gone = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    if gone:  # Python flushes what is left at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return gone
