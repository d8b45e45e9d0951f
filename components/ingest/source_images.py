"""The images as they are in the data set, wherever that is.

S3 takes some ten milliseconds for each, several times as long as decoding: so the next ones are
requested ahead.
"""

import tarfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from components.ingest import archives
from components.ingest.dataset import Files
from components.ingest.encoding import MAX_BYTES, InvalidImageError
from components.shared.storage import filesystem

_AHEAD = 16  # images that a process requests at once and holds in memory


def readers(
    files: Files, numbers: Sequence[int], ids: Sequence[str]
) -> Iterator[Callable[[], bytes]]:
    """Yield a function for each image that returns its bytes, or raises InvalidImageError.

    Args:
        files: Where the images are.
        numbers: Which of them, in the order in which they are wanted.
        ids: Their ids.
    """
    jobs = (partial(_read, files, number, id) for number, id in zip(numbers, ids, strict=True))
    containers = files.columns()["container"][numbers[:1]]  # those of a shard are in one data set
    if not any(filesystem.is_s3(files.containers[each]) for each in containers):
        yield from jobs
        return
    pending: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(_AHEAD) as pool:
        try:
            for job in jobs:
                pending.append(pool.submit(job))
                if len(pending) == _AHEAD:
                    yield pending.popleft().result
            while pending:
                yield pending.popleft().result
        finally:
            for future in pending:
                future.cancel()


def _read(files: Files, number: int, id: str) -> bytes:
    columns = files.columns()
    container = files.containers[columns["container"][number]]
    most = MAX_BYTES + 1  # enough to see that it is too large
    if block := int(columns["block"][number]):
        length = min(int(columns["length"][number]), most)
        return archives.read(container, tarfile.BLOCKSIZE * block, length)
    try:
        return filesystem.read(f"{container}/{id.rpartition('/')[2]}", 0, most)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        # Not any OSError: a disk that fails for an hour must end ingest, not lose its images.
        raise InvalidImageError("unreadable file", str(error)) from None
