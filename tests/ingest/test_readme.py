"""Each row of the README's table of what people have is a test."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from components.ingest import survey
from components.shared.stage.errors import UserError
from tests.ingest import layouts
from tests.ingest.test_layouts import JPEG, below, write

README = Path(survey.__file__).with_name("README.md")


def _table(root: Path, name: str, *lines: str) -> None:
    write(root, name, content="\n".join(lines).encode())


def _webvision(root: Path) -> list[str]:
    layouts.webvision(root, "tars")
    return _surveyed(root)


def _mini_webvision(root: Path) -> list[str]:
    layouts.webvision(root, "folders")
    return _surveyed(root, sources="google", num_classes="1")


def _external(root: Path) -> list[str]:
    write(root, *below("."))
    write(root.with_name("val"), "cat/0.jpg", "owl/0.jpg")
    return _surveyed(root, external_validation=str(root.with_name("val")))


def _classes(root: Path) -> list[str]:
    write(root, *below("."))
    return _surveyed(root)


def _splits(root: Path) -> list[str]:
    write(root, *below("seg_train"), *below("Valid"), "test_images/0.jpg")
    return _surveyed(root)


def _deeper(root: Path) -> list[str]:
    write(root, *below("archive/data/train"), *below("archive/data/dev"))
    return _surveyed(root)


def _called_train(root: Path) -> list[str]:
    write(root, "train/0.jpg", "bus/0.jpg")
    _refused(root)
    return _surveyed(root, layout="classes")


def _nested(root: Path) -> list[str]:
    write(root, "animal/cat/0.jpg", "animal/dog/0.jpg", "plant/rose/0.jpg")
    _refused(root)
    return _surveyed(root, layout="folders")


def _kaggle(root: Path) -> list[str]:
    write(root, "train_images/0.jpg", "train_images/1.jpg", "test_images/2.jpg")
    _table(root, "train.csv", "image_id,kind", "0,a", "1,b")
    _refused(root)
    return _surveyed(root, label_field="kind")


def _one_hot(root: Path) -> list[str]:
    write(root, "images/0.jpg", "images/1.jpg")
    _table(root, "train.csv", "image_id,healthy,rust", "0,1,0", "1,0,1")
    return _surveyed(root)


def _hugging_face(root: Path) -> list[str]:
    write(root, *below("train"))
    rows = ({"file_name": f"{name}/0.jpg", "text": "a text"} for name in ("cat", "dog"))
    _table(root, "train/metadata.jsonl", *map(json.dumps, rows))
    return _surveyed(root)


def _tables(root: Path) -> list[str]:
    write(root, "all/0.jpg", "all/1.jpg", "all/2.jpg")
    _table(root, "train.csv", "image,label", "0.jpg,a", "1.jpg,b")
    _table(root, "val.csv", "image,label", "2.jpg,a")
    return _surveyed(root)


def _both(root: Path) -> list[str]:
    write(root, *below("."))
    _table(root, "labels.csv", "path,label", "cat/0.jpg,x", "cat/1.jpg,y", "dog/0.jpg,y")
    _refused(root)
    return _surveyed(root, layout="table")


def _captions(root: Path) -> list[str]:
    write(root, *below("."))
    _table(root, "captions.csv", "path,title", "cat/0.jpg,a cat")
    return _surveyed(root)


def _beside(root: Path) -> list[str]:
    write(root, *below("."))
    _table(root, "cat/0.txt", "a cat")
    return _surveyed(root)


def _samples(root: Path) -> list[str]:
    with tarfile.open(root.parent / "00000.tar", "w") as tar:
        for number, kind in enumerate("ab"):
            sample = {"jpg": JPEG, "json": json.dumps({"kind": kind, "caption": "c"}).encode()}
            for suffix, content in sample.items():
                member = tarfile.TarInfo(f"{number}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    root.mkdir()
    (root.parent / "00000.tar").rename(root / "00000.tar")
    _refused(root)
    return _surveyed(root, label_field="kind")


def _coco(root: Path) -> list[str]:
    write(root, "train2017/0.jpg", "train2017/1.jpg")
    found = {"images": [{"id": 1, "file_name": "0.jpg"}],
             "annotations": [{"image_id": 1, "caption": "a cat"}]}  # fmt: skip
    _table(root, "annotations/captions_train2017.json", json.dumps(found))
    _refused(root)
    _table(root, "labels.csv", "file_name,label", "0.jpg,cat", "1.jpg,dog")
    return _surveyed(root)


def _archives(root: Path) -> list[str]:
    write(root, "train.zip", "test.tar.gz")
    return [_refused(root)]


def _formats(root: Path) -> list[str]:
    write(root, "cat/0.tif", "cat/1.heic", content=b"II*\0 and more")
    return [_refused(root)]


def _surveyed(root: Path, **parameters: str) -> list[str]:
    return survey.survey(str(root), validation_share=0, **parameters)


def _refused(root: Path) -> str:
    with pytest.raises(UserError) as refused:
        survey.survey(str(root))
    return str(refused.value)


ROWS: dict[str, tuple[Callable[[Path], list[str]], list[str]]] = {
    "WebVision": (_webvision, ["layout      WebVision's lists"]),
    "WebVision's Google": (_mini_webvision, ["classes     1", "zebra 1"]),
    "labelled images of another data set": (
        _external,
        ["external    1 images of ", ": a folder per class, but for 1 of 1 other classes"],
    ),
    "a folder of images per class": (_classes, ["layout      a folder per class", "cat 2, dog 1"]),
    "`train/<class>/…`, and": (
        _splits,
        ["seg_train/ is train; Valid/ is validation; test_images/ is test", "test        1 images"],
    ),
    "any of these, some folders": (
        _deeper,
        ["archive/data/train/ is train", "validation  3 images"],
    ),
    "folders of classes, one of which": (_called_train, ["classes     2", "bus 1, train 1"]),
    "folders of classes with": (_nested, ["classes     2", "animal", "plant"]),
    "images, and a table": (_kaggle, ["labels in train.csv, column kind", "test        1 images"]),
    "a table with a column": (_one_hot, ["healthy 1, rust 1"]),
    "Hugging Face's": (_hugging_face, ["cat 2, dog 1", "2 of 2 rows of train/metadata.jsonl"]),
    "one table for each split": (_tables, ["a 1, b 1", "validation  1 images"]),
    "folders of classes, and a table": (_both, ["labels in labels.csv", "x 1, y 2"]),
    "texts in a table": (_captions, ["1 of 1 rows of captions.csv belong to images"]),
    "a text file beside": (_beside, ["1 files .txt beside images"]),
    "tar shards of": (_samples, ["a 1, b 1"]),
    "COCO": (_coco, ["cat 1, dog 1", "1 of 2 images have a text"]),
    "archives": (_archives, ["test.tar.gz: compressed; unpack it"]),
    "TIFF": (_formats, ["1 .tif, 1 .heic) none is a JPEG"]),
}


def _row_names() -> list[str]:
    table = README.read_text().split("| what you have | what to give |\n|---|---|\n")[1]
    return [line.split(" | ")[0][2:] for line in table.split("\n\n")[0].splitlines()]


@pytest.mark.parametrize("row", ROWS)
def test_what_people_have_is_understood(tmp_path: Path, row: str) -> None:
    make, expected = ROWS[row]

    lines = "\n".join(make(tmp_path / "data"))

    assert [each for each in expected if each not in lines] == [], lines


def test_each_row_has_a_test() -> None:
    names = _row_names()

    assert len(names) == len(ROWS)
    assert all(name.startswith(row) for name, row in zip(names, ROWS, strict=True)), names
