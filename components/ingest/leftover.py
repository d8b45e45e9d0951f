"""What lies in a data set that nothing reads, and what to do where it should have been read."""

import logging
from collections import defaultdict
from collections.abc import Collection

from components.ingest.beside import Beside
from components.ingest.dataset import TAXONOMY
from components.ingest.listing import PACKED, PHOTOS, Listing, suffix
from components.ingest.splits import splits_in
from components.ingest.splits import words as words_of

logger = logging.getLogger(__name__)

_TABLES = {"csv", "tsv", "txt", "json", "jsonl", "ndjson", "parquet", "mat", "pkl", "h5", "xml"}
_REMEDIES = dict.fromkeys(PACKED - _TABLES, "unpack it")
_REMEDIES |= dict.fromkeys(PHOTOS, "convert them to JPEG")
_REMEDIES |= dict.fromkeys(("xlsx", "xls", "ods", "numbers"), "save it as CSV")
_SPLITS = {"split", "splits", "fold", "folds"}
_SHOWN = 3  # of a kind


def words(
    listing: Listing, used: Collection[str], beside: Beside, *, splits_known: bool = True
) -> str:
    """Return the files that may be meant to be read, with the remedy; empty if there are none.

    Args:
        listing: The data set's files.
        used: Those that were read, beside images.
        beside: Texts beside images, which were read, too.
        splits_known: Whether something else says which images are of which split; if not, files
            that may say it are warned of.
    """
    found: dict[str, list[str]] = defaultdict(list)
    splits = []
    for name, _, _ in listing.others():
        kind = suffix(name)
        is_read = name in used or name == TAXONOMY or name in beside
        if not is_read and (kind in _TABLES or kind in _REMEDIES):
            found[kind].append(name)
            if not splits_known and kind in _TABLES and _is_of_splits(name):
                splits.append(name)
    if splits:
        logger.warning(
            "%s: not read, though it may say which images are of which split: %s; if so, move "
            "these to train/, val/ and test/, or give a table of labels with a column split",
            listing.root,
            ", ".join(splits[:_SHOWN]),
        )
    return "; ".join(_kind(kind, names) for kind, names in found.items())


def _is_of_splits(name: str) -> bool:
    found = words_of(name.rpartition("/")[2].rpartition(".")[0])
    return bool(splits_in(name.rpartition("/")[2])) or not _SPLITS.isdisjoint(found)


def _kind(kind: str, names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN:,} more .{kind}" if len(names) > _SHOWN else ""
    remedy = f" ({_REMEDIES[kind]})" if kind in _REMEDIES else ""
    return f"{shown}{more}{remedy}"
