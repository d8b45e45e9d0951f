"""How a data set is arranged is recognised here; a module for each layout then reads it."""

from dataclasses import replace
from pathlib import Path

from components.ingest import (
    columns,
    external,
    folders,
    label_tables,
    labelled,
    leftover,
    webdataset,
    webvision,
)
from components.ingest.arrangement import Images, arranged
from components.ingest.beside import Beside
from components.ingest.class_names import check_distinct
from components.ingest.dataset import DataSet, Reject
from components.ingest.listing import Listing
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem

_REASONS, _LONGEST = 3, 200  # why tables have no labels, and characters of each


def root(dataset: str, parameter: str = "dataset") -> str:
    """Return a data set's folder as it is named everywhere: local ones are absolute.

    Raises:
        UserError: It is a file, or nothing.
    """
    if filesystem.is_s3(dataset):
        return dataset.rstrip("/")
    if not dataset.strip() or Path(dataset).is_file():
        what = "a file" if dataset.strip() else "nothing"
        raise UserError(
            f"{parameter}={dataset!r}: {what}, where a folder is needed; unpack archives"
        )
    return str(Path(dataset).resolve())


def external_root(external_validation: str) -> str:
    """Return the folder of the external validation set, or `none`, as `root` does."""
    if external_validation == "none":
        return external_validation
    return root(external_validation, "external_validation")


def read(
    root: str,
    scratch: Path,
    *,
    layout: str,
    label_field: str = "auto",
    sources: str = "both",
    num_classes: int = 0,
    external_validation: str = "none",
) -> DataSet:
    """Return what is known of a data set before any of its images is read.

    Args:
        root: Its folder, local or s3://, without a slash at its end.
        scratch: A folder for lists.
        layout: As the parameter of ingest.
        label_field: As the parameter of ingest.
        sources: As the parameter of ingest.
        num_classes: As the parameter of ingest.
        external_validation: As the parameter of ingest.

    Raises:
        UserError: It is arranged in no way that is known, it is not clear in which, or it lacks
            what the parameters ask for; or the external validation set does.
    """
    data = _read(root, scratch, layout, label_field, sources)
    check_distinct(root, data.names)
    if num_classes > len(data.names):
        raise UserError(f"num_classes={num_classes}: {root} has {len(data.names)} classes")
    names = data.names[: num_classes or None]
    data = replace(data, names=names, num_unwanted=len(data.names) - len(names))
    if external_validation == "none":
        return data
    other_root, scratch = external_root(external_validation), scratch / "external"
    scratch.mkdir(exist_ok=True)
    try:
        other = _read(other_root, scratch, "auto", "auto", "both")
    except UserError as error:
        raise UserError(
            f"external_validation: {error} (its layout cannot be set: of what has only "
            "validation images, give the folder that holds the classes)"
        ) from None
    return external.joined(data, other, other_root, scratch)


def _read(root: str, scratch: Path, layout: str, label_field: str, sources: str) -> DataSet:
    if layout == "auto" and webvision.is_there(root):  # known without a list of all its images
        layout = "webvision"
    if label_field != "auto" and layout in ("webvision", "folders", "classes"):
        raise UserError(f"label_field={label_field}: with layout={layout} no field has the labels")
    if layout == "webvision":
        return webvision.read(root, scratch, sources)
    listing = Listing(root, scratch / "names")
    data = _of_listing(listing, scratch, layout, label_field, sources)
    data.rejects.extend(
        Reject("", "unreadable name", "", repr(name), "rename the object")
        for name in listing.pathless
    )
    return data


def _of_listing(
    listing: Listing, scratch: Path, layout: str, label_field: str, sources: str
) -> DataSet:
    root = listing.root
    if layout == "auto" and webvision.is_below(file.name for file in listing.others()):
        return webvision.read(root, scratch, sources)
    if sources != "both":
        raise UserError(f"sources={sources}: {root} is not in WebVision's layout")
    if layout == "webdataset" or (layout == "auto" and webdataset.is_there(listing)):
        return webdataset.read(listing, scratch, label_field)
    listing.check()
    if layout == "auto" and label_field != "auto":
        layout = "table"
    tables = []
    if layout in ("auto", "table"):
        tables = label_tables.find(listing, scratch, label_field)
    if layout == "table" and not tables:
        raise UserError(f"{root}: {_why_no_table(listing, scratch, label_field)}")
    if layout == "table":
        return labelled.read(listing, scratch, tables)
    try:
        arrangement = arranged(root, Images(listing.folders), layout)
    except UserError as error:
        if tables:
            return _of_classes(labelled.read(listing, scratch, tables), root)
        raise UserError(f"{error}{_left_over(listing, scratch, label_field)}") from None
    # Columns of 0 and 1 may be something else than classes, if folders are classes.
    tables = [each for each in tables if len(each.labels) < 2]
    if any(each.labels for each in tables):
        if not labelled.agree(listing, tables, arrangement):
            table = next(each for each in tables if each.labels)
            raise UserError(
                f"{root}: {arrangement.words}, but {table.table.name} has other labels in "
                f"{table.column}: set layout=folders or layout=table"
            )
        if len(arrangement.splits) == 1 and any(each.says_splits for each in tables):
            return _of_classes(labelled.read(listing, scratch, tables), root)
    return folders.read(listing, scratch, arrangement)


def _of_classes(data: DataSet, root: str) -> DataSet:
    """Refuse a data set of one class, which is probably none, where nobody has named its layout."""
    if len(data.names) > 1:
        return data
    if not data.names:
        raise UserError(f"{root}: {data.layout}; but then no training image has a label")
    raise UserError(
        f"{root}: {data.layout}; but then {data.names[0]!r:.100} is the only class in training, "
        "with nothing to tell it from: set layout=table if it is so"
    )


def _why_no_table(listing: Listing, scratch: Path, label_field: str) -> str:
    what = "a usual name, such as label, or one for each class with a single 1 in a row"
    what = what if label_field == "auto" else f"the name {label_field}"
    return (
        f"no table there has a column of the images' paths or names, and one of labels of {what}"
        + _left_over(listing, scratch, label_field)
    )


def _left_over(listing: Listing, scratch: Path, label_field: str) -> str:
    """Return, for the end of a message, what else is there, and why that is of no use."""
    reasons = label_tables.explain(listing, scratch, label_field)[:_REASONS]
    if others := leftover.words(listing, columns.tables(listing), Beside(listing)):
        reasons.append(f"not read: {others}")
    return "".join(f"; {each:.{_LONGEST}}" for each in reasons)
