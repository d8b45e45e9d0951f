"""A tiny data set in WebVision's layouts: 2 classes, 4 queries, 12 training images, faults."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from PIL import Image

Layout = Literal["tars", "folders", "renamed folders", "1.0"]


def jpeg(color: tuple[int, int, int], side: int = 24) -> bytes:
    """Return a square of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), color).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def webvision(root: Path, layout: Layout) -> None:
    """Write the data set; every fault that ingest lists is in it once.

    Of 12 rows, one is repeated, one has no image, one's image is truncated and one cannot be read:
    eight images are left. Of these, one has no record, one's record is repaired and one's is lost.
    """
    queries = ["q0001", "q0002", "q0003", "q0004"]
    if layout != "1.0":
        queries = ["q00001", "q00002", "q00003", "q00004"]
    images: dict[str, bytes] = {}
    lists: dict[str, list[str]] = {"google": [], "flickr": []}
    metas: dict[str, list[str]] = {"google": [], "flickr": []}
    texts: dict[str, str] = {}
    number = 0
    for source in ("google", "flickr"):
        for label, query in enumerate(queries[:2] if source == "google" else queries[2:]):
            rows = []
            for position in range(1, 4):
                id = f"{source}/{query}/-image{position}M.jpg"
                images[id] = jpeg((20 * number, 255 - 20 * number, 128))
                lists[source].append(f"{id} {label}")
                metas[source].append(f"{source}/{query}.json {position}")
                row = {"id": f"-image{position}M", "title": f"title {number}"}
                row |= {"rank": str(position)} if source == "google" else {"tags": ["red", "car"]}
                rows.append(row)
                number += 1
            texts[f"{source}/{query}.json"] = json.dumps(rows, indent=2)
    first, second = queries[:2]
    lists["google"][1] = f"google/{first}/-image1M.jpg 0"  # the first again
    del images[f"google/{first}/-image3M.jpg"]
    images[f"google/{second}/-image1M.jpg"] = images[f"google/{second}/-image1M.jpg"][:400]
    lists["google"][4] = f"google/{second}/-image2M.jpg nine"
    third, fourth = (f"flickr/{query}.json" for query in queries[2:])
    texts[third] = texts[third].replace('"title 7"', r'"title \7"')
    texts[fourth] = texts[fourth].replace('"title 9"', '"title 9')
    metas["flickr"][5] = f"{fourth} 17"
    info = {
        "synsets.txt": "zebra zebra\nrose rose, red rose\n",
        "queries_synsets_map.txt": "",
        "taxonomy.jsonl": "\n".join(
            json.dumps({"wnid": name, "lemmas": [f"a {name}"], "gloss": "", "hypernyms": parents})
            for name, parents in (("zebra", ["thing"]), ("rose", ["thing"]), ("thing", []))
        ),
    }
    words = [f"{i} striped+horse {i}" for i in range(1, 5)]
    if layout == "1.0":
        info |= {"queries_google.txt": "\n".join(words[:2])}
        info |= {"queries_flickr.txt": "\n".join(words[2:])}
    else:
        info["queries.txt"] = "\n".join([words[3], words[0], words[2]])  # one id missing
    for source in lists:
        info[f"train_filelist_{source}.txt"] = "\n".join(lists[source]) + "\n"
        info[f"train_meta_list_{source}.txt"] = "\n".join(metas[source]) + "\n"
    held = {f"{split}{i:06d}.jpg": jpeg((i, 0, 0)) for split in ("val", "test") for i in (1, 2, 3)}
    val_list = "val000003.jpg 1\nval000001.jpg 0\nval000002.jpg 1\n"
    test_list = "test000001.jpg\ntest000002.jpg\ntest000003.jpg\n"
    _write(root, layout, images, texts, info, held, {"val": val_list, "test": test_list})


def _write(
    root: Path,
    layout: Layout,
    images: Mapping[str, bytes],
    texts: Mapping[str, str],
    info: dict[str, str],
    held: Mapping[str, bytes],
    lists: Mapping[str, str],
) -> None:
    if layout == "1.0":
        info |= {f"{split}_filelist.txt": lines for split, lines in lists.items()}
    else:
        files = {f"{split}_filelist.txt": lines.encode() for split, lines in lists.items()}
        _files(root, files)
    if layout == "tars":
        _tar(root / "info.tar", {f"info/{name}": text.encode() for name, text in info.items()})
        for source in ("google", "flickr"):
            some = {name: text.encode() for name, text in texts.items() if name.startswith(source)}
            _tar(root / f"{source}.tar", some)
        backwards = list(images.items())[::-1]
        _tar(root / "webvision_train_00.tar", dict(backwards[:5]))
        _tar(root / "webvision_train_01.tar", dict(backwards[5:]))
        for split in ("val", "test"):
            some = {name: content for name, content in held.items() if name.startswith(split)}
            folder = f"{split}_images_resized"
            _tar(root / f"{folder}.tar", {f"{folder}/{name}": some[name] for name in some})
        return
    _files(root / "info", {name: text.encode() for name, text in info.items()})
    _files(root, {name: text.encode() for name, text in texts.items()})
    if layout == "renamed folders":
        images = {name.replace("/", "_images_resized/", 1): images[name] for name in images}
        held = {f"{name[:3].replace('tes', 'test')}_images_256/{name}": held[name] for name in held}
    elif layout == "1.0":
        images = {f"train_images_256/{name}": images[name] for name in images}
        held = {f"{name[:3]}/{name}": held[name] for name in held}
    _files(root, {**images, **held})


def _files(root: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def _tar(path: Path, files: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
