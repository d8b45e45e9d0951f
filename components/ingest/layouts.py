"""How a data set is arranged is recognised here; a module for each layout then reads it."""

from pathlib import Path

from components.ingest import folders, labelled, webvision
from components.ingest.arrangement import Images, arranged
from components.ingest.dataset import DataSet
from components.ingest.listing import Listing
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem


def root(dataset: str) -> str:
    """Return a data set's folder as it is named everywhere: local ones are absolute."""
    return dataset.rstrip("/") if filesystem.is_s3(dataset) else str(Path(dataset).resolve())


def read(root: str, scratch: Path, *, layout: str, label_field: str) -> DataSet:
    """Return what is known of a data set before any of its images is read.

    Args:
        root: Its folder, local or s3://, without a slash at its end.
        scratch: A folder for lists.
        layout: As the parameter of ingest.
        label_field: As the parameter of ingest.

    Raises:
        UserError: It is arranged in no way that is known, or it is not clear in which.
    """
    if layout == "webvision" or (layout == "auto" and webvision.is_there(root)):
        return webvision.read(root, scratch)
    listing = Listing(root, scratch / "names")
    if layout == "auto" and label_field != "auto":
        layout = "table"
    tables = labelled.sources(listing, scratch, label_field) if layout in ("auto", "table") else []
    if layout == "table" and not tables:
        what = "a usual name, such as label" if label_field == "auto" else f"the name {label_field}"
        raise UserError(
            f"{root}: no table there has a column of the images' paths or names, and one of labels "
            f"of {what}"
        )
    if layout == "table":
        return labelled.read(listing, scratch, tables)
    try:
        arrangement = arranged(root, Images(listing), layout)
    except UserError:
        if not tables:
            raise
        return labelled.read(listing, scratch, tables)
    if tables and not labelled.agree(listing, tables, arrangement):
        table = tables[0]
        raise UserError(
            f"{root}: {arrangement.words}, but {table.table.name} has other labels in its column "
            f"{table.label}: set layout=folders or layout=table"
        )
    return folders.read(listing, scratch, arrangement)
