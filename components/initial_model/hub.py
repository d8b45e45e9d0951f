"""Fetching a model's files from Hugging Face's hub, or a mirror of it, by its own library.

HF_ENDPOINT says where it is, and HF_TOKEN who asks; the library reads both.
"""

import hashlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi, ModelInfo, constants, errors
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]
from huggingface_hub.utils.tqdm import disable_progress_bars

from components.shared.stage import retry
from components.shared.stage.errors import StorageError, UserError
from components.shared.training.models import RECORD

logger = logging.getLogger(__name__)
_PATIENCE = 10.0  # seconds: who has no network shall know soon, and a pod is retried anyway
_TIMEOUT = 10.0  # of a request
_PASSING = (408, 429)  # and 500 and above: statuses of requests that may succeed later
_CONFIG = "config.json"
# In timm's order: those that it knows by name, then by their endings.
_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
_ENDINGS = (".safetensors", ".pth", ".pt", ".bin")


class File(NamedTuple):
    """A file of a repository: its SHA-256 is empty where the hub does not say it."""

    name: str
    sha256: str


def fetch(name: str, revision: str | None, folder: Path) -> str:
    """Copy a timm model's configuration, weights and record, if it has one, into a folder.

    Returns:
        The commit that they are of.

    Raises:
        UserError: There is no such repository or revision, or it holds no weights.
        StorageError: The hub does not answer, or what it sends is damaged.
    """
    _configure()
    api = HfApi(endpoint=_endpoint())
    info = _info(api, name, revision)
    commit = str(info.sha)
    for file in _wanted(name, [_file(each) for each in info.siblings or ()]):
        started = time.monotonic()
        path = folder / file.name
        with _explained(f"{name}/{file.name}"):
            api.hf_hub_download(name, file.name, revision=commit, local_dir=folder)
        _check(path, f"{name}/{file.name}", file.sha256)
        megabytes, seconds = path.stat().st_size / 1e6, time.monotonic() - started
        logger.info("fetched %s/%s: %.1f MB in %.1f s", name, file.name, megabytes, seconds)
    return commit


def _file(sibling: Any) -> File:
    return File(sibling.rfilename, sibling.lfs.sha256 if sibling.lfs else "")


def _wanted(name: str, files: Sequence[File]) -> Iterator[File]:
    there = {file.name: file for file in files if "/" not in file.name}
    if _CONFIG not in there:
        raise UserError(f"{name}: not a timm model ({_CONFIG} is missing)")
    known = [each for each in _WEIGHTS if each in there]
    others = [each for end in _ENDINGS for each in sorted(there) if each.endswith(end)]
    if not known + others:
        raise UserError(f"{name}: no weights there (model.safetensors is missing)")
    yield from (there[each] for each in (_CONFIG, RECORD, (known + others)[0]) if each in there)


def _check(path: Path, what: str, sha256: str) -> None:
    with path.open("rb") as file:
        if sha256 and hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise StorageError(f"{_endpoint()}: {what} is damaged: its checksum is not the hub's")


def _info(api: HfApi, name: str, revision: str | None) -> ModelInfo:
    """Ask what is in a repository, again for a short time while the hub does not answer."""
    pauses = retry.pauses(_PATIENCE, first=1.0, longest=4.0)
    while True:
        try:
            with _explained(f"{name}@{revision}" if revision else name):
                return api.model_info(
                    name, revision=revision, files_metadata=True, timeout=_TIMEOUT
                )
        except StorageError:
            pause = next(pauses, None)
            if pause is None:
                raise
            time.sleep(pause)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn the library's errors into ours."""
    try:
        yield
    except (HTTPError, OSError, ValueError) as error:
        raise _failure(what, error) from error


def _failure(what: str, error: Exception) -> UserError | StorageError:
    hub = _endpoint()
    match error:
        case errors.OfflineModeIsEnabled():
            return UserError("HF_HUB_OFFLINE is set: unset it, or give a folder as the weights")
        case errors.GatedRepoError():
            return UserError(f"{hub}: {what}: accept its terms there, then set HF_TOKEN")
        case errors.RevisionNotFoundError():
            return UserError(f"{hub}: {what}: no such revision")
        case errors.RepositoryNotFoundError():
            return UserError(f"{hub}: {what}: no such repository, or a private one: set HF_TOKEN")
        case errors.HFValidationError():
            return UserError(f"{what}: no repository's name: hf-hub:org/name[@revision] is one")
    # The library hides it where it has looked in its own cache, too.
    cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) else error
    if isinstance(cause, errors.HfHubHTTPError):
        status = cause.response.status_code
        if status < 500 and status not in _PASSING:
            return UserError(f"{hub} answers {status} for {what}: is HF_ENDPOINT that of a hub?")
        return StorageError(f"{hub} answers {status} for {what}")
    if isinstance(cause, ValueError):
        return UserError(f"{hub}: what it answers for {what} is no hub's: see HF_ENDPOINT")
    reason = str(cause or error).splitlines()[0] or type(cause).__name__
    return StorageError(f"{hub}: {what} could not be fetched ({reason})")


def _endpoint() -> str:
    """Return the hub's address: the library reads the variable when it is first imported."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or constants.ENDPOINT


def _configure() -> None:
    """Make the library silent, and fetch files by HTTP from the endpoint alone.

    Its other protocol, Xet, asks servers that a mirror does not have, and writes a cache into the
    home directory, which pods may not.
    """
    constants.HF_HUB_DISABLE_XET = True
    disable_progress_bars()
    for name in ("huggingface_hub", "httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.ERROR)
