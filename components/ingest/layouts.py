"""How a data set is arranged is recognised here; a module for each layout then reads it."""

from dataclasses import replace
from pathlib import Path

from components.ingest import folders, labelled, webdataset, webvision
from components.ingest.arrangement import Images, arranged
from components.ingest.dataset import DataSet
from components.ingest.listing import Listing
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem


def root(dataset: str) -> str:
    """Return a data set's folder as it is named everywhere: local ones are absolute."""
    return dataset.rstrip("/") if filesystem.is_s3(dataset) else str(Path(dataset).resolve())


def read(
    root: str,
    scratch: Path,
    *,
    layout: str,
    label_field: str = "auto",
    sources: str = "both",
    num_classes: int = 0,
) -> DataSet:
    """Return what is known of a data set before any of its images is read.

    Args:
        root: Its folder, local or s3://, without a slash at its end.
        scratch: A folder for lists.
        layout: As the parameter of ingest.
        label_field: As the parameter of ingest.
        sources: As the parameter of ingest.
        num_classes: As the parameter of ingest.

    Raises:
        UserError: It is arranged in no way that is known, it is not clear in which, or it lacks
            what the parameters ask for.
    """
    data = _read(root, scratch, layout, label_field, sources)
    if num_classes > len(data.names):
        raise UserError(f"num_classes={num_classes}: {root} has {len(data.names)} classes")
    names = data.names[: num_classes or None]
    return replace(data, names=names, num_unwanted=len(data.names) - len(names))


def _read(root: str, scratch: Path, layout: str, label_field: str, sources: str) -> DataSet:
    if layout == "auto" and webvision.is_there(root):  # known without a list of all its images
        layout = "webvision"
    if label_field != "auto" and layout in ("webvision", "folders", "classes"):
        raise UserError(f"label_field={label_field}: with layout={layout} no field has the labels")
    if layout == "webvision":
        return webvision.read(root, scratch, sources)
    listing = Listing(root, scratch / "names")
    if layout == "auto" and webvision.is_below(file.name for file in listing.others()):
        return webvision.read(root, scratch, sources)
    if sources != "both":
        raise UserError(f"sources={sources}: {root} is not in WebVision's layout")
    if layout == "webdataset" or (layout == "auto" and webdataset.is_there(listing)):
        return webdataset.read(listing, scratch, label_field)
    listing.check()
    if layout == "auto" and label_field != "auto":
        layout = "table"
    tables = labelled.sources(listing, scratch, label_field) if layout in ("auto", "table") else []
    if layout == "table" and not tables:
        what = "a usual name, such as label, or one for each class with a single 1 in a row"
        what = what if label_field == "auto" else f"the name {label_field}"
        raise UserError(
            f"{root}: no table there has a column of the images' paths or names, and one of labels "
            f"of {what}"
        )
    if layout == "table":
        return labelled.read(listing, scratch, tables)
    try:
        arrangement = arranged(root, Images(listing.folders), layout)
    except UserError:
        if not tables:
            raise
        return labelled.read(listing, scratch, tables)
    if tables and not labelled.agree(listing, tables, arrangement):
        table = tables[0]
        raise UserError(
            f"{root}: {arrangement.words}, but {table.table.name} has other labels in "
            f"{table.column}: set layout=folders or layout=table"
        )
    return folders.read(listing, scratch, arrangement)
