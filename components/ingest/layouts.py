"""How a data set is arranged is recognised here; a module for each layout then reads it."""

from pathlib import Path

from components.ingest import folders, webvision
from components.ingest.dataset import DataSet
from components.ingest.listing import Listing
from components.shared.storage import filesystem


def root(dataset: str) -> str:
    """Return a data set's folder as it is named everywhere: local ones are absolute."""
    return dataset.rstrip("/") if filesystem.is_s3(dataset) else str(Path(dataset).resolve())


def read(root: str, layout: str, scratch: Path) -> DataSet:
    """Return what is known of a data set before any of its images is read.

    Args:
        root: Its folder, local or s3://, without a slash at its end.
        layout: As the parameter of ingest.
        scratch: A folder for lists.

    Raises:
        UserError: It is arranged in no way that is known, or it is not clear in which.
    """
    if layout == "webvision" or (layout == "auto" and webvision.is_there(root)):
        return webvision.read(root, scratch)
    return folders.read(Listing(root, scratch / "names"), scratch, layout)
