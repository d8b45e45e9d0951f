"""Damages tar shards of samples at random: what is left of each is read, or it is refused.

    python -m tests.ingest.archive_mutations 100000 [SEED]

Prints how many were read or refused, and stops at the first that ends in another error or takes too
long, whose bytes it leaves in a file.
"""

import faulthandler
import logging
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np

from components.ingest import webdataset
from components.ingest.listing import Listing
from components.shared.stage.errors import UserError
from tests.ingest.mutations import MUTATIONS
from tests.ingest.test_webdataset import img2dataset

MOST_SECONDS = 30.0  # for one archive
_FIELDS = {100: 8, 124: 12, 156: 1, 257: 8, 345: 40}  # of a header, with their lengths
_RECORDS = ["path", "size", "linkpath", "mtime", "hdrcharset", "charset", "GNU.sparse.map"]
_RECORDS += [f"GNU.sparse.{each}" for each in ("size", "realsize", "numblocks", "offset", "major")]
_VALUES = ["0", "1", "-1", "x", "", "1e9", "9" * 30, "../a.jpg", "0,5", "0,x", "a.txt", "\xe9"]
_ODD = [*b"0179 /.\0\xff\x80LxgK5"]


def change_a_header(content: bytes, random: np.random.Generator) -> bytes:
    """Change a field of a header: its size, its type, …"""
    changed = bytearray(content)
    if blocks := len(content) // tarfile.BLOCKSIZE:
        field = int(random.choice(list(_FIELDS)))
        start = tarfile.BLOCKSIZE * int(random.integers(blocks)) + field
        changed[start + int(random.integers(_FIELDS[field]))] = int(random.choice(_ODD))
    return bytes(changed)


def move_blocks(content: bytes, random: np.random.Generator) -> bytes:
    """Insert a copy of some blocks elsewhere."""
    size = tarfile.BLOCKSIZE
    start, place = (size * int(random.integers(len(content) // size + 1)) for _ in range(2))
    return content[:place] + content[start : start + 3 * size] + content[place:]


def add_records(content: bytes, random: np.random.Generator) -> bytes:
    """Insert a header of PAX records, which replace fields of the header after it."""
    records = "".join(
        record for name in random.choice(_RECORDS, random.integers(1, 4))
        if (record := f" {name}={random.choice(_VALUES)}\n")
        and (record := f"{len(record) + 2 + int(random.integers(-1, 2))}{record}")
    )  # fmt: skip
    member = tarfile.TarInfo("././@PaxHeader")
    member.type, member.size = str(random.choice(["x", "g"])).encode(), len(records)
    inserted = member.tobuf() + records.encode().ljust(2 * tarfile.BLOCKSIZE, b"\0")
    place = tarfile.BLOCKSIZE * int(random.integers(len(content) // tarfile.BLOCKSIZE + 1))
    return content[:place] + inserted + content[place:]


def with_checksums(content: bytes) -> bytes:
    """Return an archive whose headers are valid, whatever they say."""
    changed = bytearray(content)
    for start in range(0, len(changed) - tarfile.BLOCKSIZE + 1, tarfile.BLOCKSIZE):
        if changed[start + 257 : start + 262] == b"ustar":
            changed[start + 148 : start + 156] = b" " * 8
            total = sum(changed[start : start + tarfile.BLOCKSIZE])
            changed[start + 148 : start + 156] = b"%06o\0 " % total
    return bytes(changed)


def run(folder: Path, count: int, seed: int) -> Counter[str]:
    """Read so many damaged shards, in this process; return how many were read or refused."""
    random, outcomes = np.random.default_rng(seed), Counter[str]()
    data, scratch = folder / "data", folder / "scratch"
    img2dataset(data, shards=1)
    scratch.mkdir()
    shard = data / "00000.tar"
    whole = shard.read_bytes()
    mutations = [*MUTATIONS, *3 * [change_a_header, move_blocks, add_records]]
    with mock.patch.object(webdataset, "ordered", map):
        for _ in range(count):
            content = whole
            for _ in range(random.integers(1, 6)):
                content = mutations[random.integers(len(mutations))](content, random) or b"\0"
            shard.write_bytes(with_checksums(content) if random.random() < 0.7 else content)
            faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)
            outcomes[_outcome(data, scratch)] += 1
            faulthandler.cancel_dump_traceback_later()
    return outcomes


def _outcome(data: Path, scratch: Path) -> str:
    listing = Listing(str(data), scratch / "names")
    try:
        webdataset.is_there(listing)
        found = webdataset.read(listing, scratch, "auto")
    except UserError:
        return "refused"
    (rows,) = found.lists
    assert rows.records is not None
    lines = [path.read_bytes().count(b"\n") for path in (rows.path, rows.records)]
    assert lines == [len(found.files)] * 2
    return "read, with rejects" if found.rejects else "read"


def main() -> None:
    """Run the command."""
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    logging.disable()
    folder = Path(tempfile.mkdtemp())
    print(f"the last archive is {folder}/data/00000.tar")
    print(dict(run(folder, count, seed)))


if __name__ == "__main__":
    main()
