"""Where weights come from: timm's for a backbone, a repository of the hub, or a folder."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from timm import is_model
from timm.models import get_pretrained_cfg

from components.initial_model import hub
from components.shared.stage.errors import StorageError, UserError
from components.shared.storage import filesystem
from components.shared.training import initial_weights

logger = logging.getLogger(__name__)
_HUB = "hf-hub:"


@dataclass(frozen=True, slots=True)
class Found:
    """Weights on this machine's disk.

    Attributes:
        folder: A folder with a `config.json` and weights.
        source: The repository, or the folder as it was given.
        commit: The repository's commit; empty for a folder.
        what: What they are, for people.
    """

    folder: Path
    source: str
    commit: str
    what: str


@contextmanager
def fetched(weights: str, backbone: str) -> Iterator[Found]:
    """Yield weights, as a local folder that is there as long as the block runs.

    Raises:
        UserError: There are none, or a folder's are not for this backbone.
        StorageError: The hub, or S3, does not answer.
    """
    if weights == "imagenet":
        repository, kind = _of_timm(backbone), "ImageNet weights"
    elif weights.startswith(_HUB):
        repository, kind = weights.removeprefix(_HUB), "weights"
    else:
        initial_weights.check(weights, backbone)  # before any of it is copied
        with filesystem.local_folder(weights) as folder:
            yield Found(folder, weights, "", f"weights {weights}")
        return
    name, _, revision = repository.partition("@")
    # Not the library's own cache: a pod's file system is read-only, and the artifact is the cache.
    with tempfile.TemporaryDirectory() as temporary:
        try:
            commit = hub.fetch(name, revision or None, Path(temporary))
        except StorageError as error:
            raise StorageError(f"{error}; {_remedy(weights, backbone)}") from error
        yield Found(Path(temporary), name, commit, f"{kind} {name}")


def _of_timm(backbone: str) -> str:
    """Return the repository of timm's weights for a backbone: of its tag, or of the default one."""
    if not is_model(backbone):
        raise UserError(f"backbone={backbone}: timm has no such model")
    try:
        config = get_pretrained_cfg(backbone)
    except RuntimeError as error:
        raise UserError(f"backbone={backbone}: timm says: {error}") from None
    if config is None or not config.hf_hub_id:
        raise UserError(
            f"backbone={backbone}: timm has no weights for it on the hub: give a folder, "
            f"{_HUB}org/name, or another backbone"
        )
    return str(config.hf_hub_id)


def _remedy(weights: str, backbone: str) -> str:
    return (
        "set HF_ENDPOINT to a mirror of the hub; or run `python -m components.initial_model "
        f"--weights {weights} --backbone {backbone} --model FOLDER` where there is a network, and "
        "give that folder, local or on s3://, as the weights"
    )
