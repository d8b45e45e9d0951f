"""WebVision 1.0's layout in small, and beside it ImageNet's: folders of validation images by wnid.

Six classes of coloured squares in WebVision, of which mini-WebVision keeps the first three;
ImageNet has two more, and another order of classes.
"""

import json
from pathlib import Path

from PIL import Image

from tests.synthetic import COLOURS, coloured_squares

WNIDS = [f"n0000000{number}" for number in (4, 3, 5, 1, 6, 7)]  # in the order of synsets.txt
KEPT = WNIDS[:3]
OTHERS = ["n00000000", "n00000009"]  # in ImageNet alone
TRAINED, VALIDATED, EXTERNAL = 12, 4, 3  # images of a class


def write(folder: Path, side: int = 40) -> tuple[Path, Path]:
    """Write both data sets, and return WebVision's folder and ImageNet's `val`."""
    webvision, imagenet = folder / "webvision1", folder / "imagenet"
    for source, seed in (("google", 0), ("flickr", 1)):
        _write_training(webvision, source, seed, side)
    lines = []
    for number, (label, picture) in enumerate(_pictures(VALIDATED, side, seed=2), start=1):
        name = f"val{number:06d}.jpg"
        _save(picture, webvision / "val_images_256" / name)
        lines.append(f"{name} {label}")
    info = webvision / "info"
    (info / "val_filelist.txt").write_text("\n".join(lines))
    (info / "synsets.txt").write_text("".join(f"{wnid} {wnid}\n" for wnid in WNIDS))
    (info / "taxonomy.jsonl").write_text(
        "\n".join(
            json.dumps({"wnid": wnid, "lemmas": [_name(i)], "gloss": "", "hypernyms": []})
            for i, wnid in enumerate(WNIDS)
        )
    )
    number = 0
    for label, picture in _pictures(EXTERNAL, side, seed=3):
        number += 1
        _save(picture, imagenet / "val" / WNIDS[label] / _imagenet(number))
    for wnid in OTHERS:
        for _, picture in _pictures(1, side, seed=4):
            number += 1
            _save(picture, imagenet / "val" / wnid / _imagenet(number))
    return webvision, imagenet / "val"


def _write_training(root: Path, source: str, seed: int, side: int) -> None:
    images, records = [], []
    for number, (label, picture) in enumerate(_pictures(TRAINED, side, seed)):
        query = f"q{label + 1:04d}"
        position = number // len(WNIDS)
        id = f"{source}/{query}/image{position}.jpg"
        _save(picture, root / "train_images_256" / id)
        images.append(f"{id} {label}")
        records.append(f"{source}/{query}.json {position + 1}")
    info = root / "info"
    info.mkdir(exist_ok=True)
    (info / f"train_filelist_{source}.txt").write_text("\n".join(images))
    (info / f"train_meta_list_{source}.txt").write_text("\n".join(records))
    words = [f"{label + 1} {_name(label)}" for label in range(len(WNIDS))]
    (info / f"queries_{source}.txt").write_text("\n".join(words))
    for label in range(len(WNIDS)):
        texts = [
            {"title": f"a {_name(label)} square", "description": f"{_name(label)} on noise"}
            for _ in range(TRAINED)
        ]
        path = root / source / f"q{label + 1:04d}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(texts))


def _pictures(of_each: int, side: int, seed: int) -> list[tuple[int, Image.Image]]:
    """Return pictures with their labels; those of labels three apart have the same colours."""
    pictures, _ = coloured_squares(of_each * len(WNIDS), side, seed)
    return [(number % len(WNIDS), picture) for number, picture in enumerate(pictures)]


def _name(label: int) -> str:
    return f"{'pale ' * (label >= len(COLOURS))}{COLOURS[label % len(COLOURS)]}"


def _imagenet(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, "JPEG", quality=95)
