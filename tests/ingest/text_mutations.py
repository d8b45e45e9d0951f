"""Damages tables of captions and labels, and taxonomies, at random: each is read, or refused.

    python -m tests.ingest.text_mutations 20000 [SEED]

Prints how many were read or refused, and stops at the first that ends in another error or takes too
long, whose bytes it leaves in a file.
"""

import faulthandler
import io
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest import concepts, layouts
from components.shared.stage.errors import UserError
from tests.ingest.test_captions import IMAGES
from tests.ingest.test_layouts import ids, write

MOST_SECONDS = 30.0  # for one file
_ROWS = [
    {"path": path, "label": label, "title": title, "tags": tags, "split": "train"}
    for path, label, title, tags in zip(
        IMAGES, ("a", "a", "b", "b"), ("A “cat”", 'two,\n"lines"', "", "café %20"),
        (["soft fur", "x"], ["y"], [], ["nan"]), strict=True,
    )
]  # fmt: skip
_ODD = [
    b'"',
    b"\n",
    b"\r",
    b"\0",
    b",",
    b";",
    b"\t",
    b"\\",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\\ud83d",
]
_ODD += [
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"nan",
    b"1e999",
    b"%",
    b"%ff",
    b"/",
    b"..",
    b"-",
    b"9" * 5_000,
]
_ODD += [b"[" * 5_000, b'"' * 3, b"null", b"true", b"\xf0\x9f\x90\x88", b"path", b"label", b"#1"]


def sources() -> dict[str, bytes]:
    """Return whole files by their names."""
    names = list(_ROWS[0])
    lines = [";".join(names)]
    lines += [";".join(json.dumps(row[name], ensure_ascii=False) for name in names)
              for row in _ROWS]  # fmt: skip
    csv = [",".join(names)]
    csv += [",".join('"{}"'.format(str(row[name]).replace('"', '""')) for name in names)
            for row in _ROWS]  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(_ROWS), buffer)
    taxonomy = [{"wnid": name, "lemmas": [name], "gloss": "", "hypernyms": parents}
                for name, parents in (("cat", ["pet"]), ("dog", ["pet"]), ("pet", []))]  # fmt: skip
    table = "\n".join(csv)
    return {
        "captions.csv": table.encode(),
        "metadata.csv": "\n".join(lines).encode(),
        "texts.tsv": table.replace(",", "\t").encode("utf-16"),
        "labels.csv": table.encode("latin-1", errors="replace"),
        "captions.jsonl": "\n".join(map(json.dumps, _ROWS)).encode(),
        "captions.json": json.dumps(_ROWS).encode(),
        "captions.parquet": buffer.getvalue(),
        "info/taxonomy.jsonl": "\n".join(map(json.dumps, taxonomy)).encode(),
    }


def mutated(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield damaged files with their names."""
    random = np.random.default_rng(seed)
    originals = sources()
    for _ in range(count):
        name = str(random.choice(list(originals)))
        content = bytearray(originals[name])
        for _ in range(random.integers(1, 4)):
            start = int(random.integers(len(content) + 1))
            end = min(len(content), start + int(random.integers(0, 20)))
            match random.integers(5):
                case 0:
                    content[start:end] = _ODD[random.integers(len(_ODD))]
                case 1:
                    content[start:start] = content[start:end]
                case 2:
                    del content[start:]
                case 3:
                    content[start:end] = random.bytes(end - start)
                case 4:
                    del content[start:end]
        yield name, bytes(content)


def check(folder: Path, name: str, content: bytes) -> str:
    """Return what becomes of a data set with this file.

    Raises:
        Exception: Other than a UserError.
    """
    write(folder / "data", name, content=content)
    try:
        layout = "table" if name.startswith("labels") else "auto"
        data = layouts.read(str(folder / "data"), folder / "scratch", layout=layout)
        for id in (id for split in ids(data).values() for id in split):
            assert not {"\ud83d", None} & {*data.text(id, "").title}
        concepts.of_classes(data.names, data.taxonomy)
    except UserError as error:
        assert len(str(error)) < 1_000
        return "refused"
    finally:
        (folder / "data" / name).unlink()
    return "read, with rejects" if data.rejects else "read"


def run(folder: Path, count: int, seed: int) -> Counter[str]:
    """Return the outcomes of so many damaged files."""
    write(folder / "data", *IMAGES)
    (folder / "scratch").mkdir()
    found: Counter[str] = Counter()
    for name, content in mutated(count, seed):
        faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)
        try:
            found[check(folder, name, content)] += 1
        except Exception:
            path = Path(tempfile.gettempdir()) / f"failed-{Path(name).name}"
            path.write_bytes(content)
            print(f"{path}: after {found.total():,} files, seed {seed}")
            raise
        faulthandler.cancel_dump_traceback_later()
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        print(run(Path(temporary), int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 0))
