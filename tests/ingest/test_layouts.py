"""Folders as people have them: what is a split, a class and an image, and what is refused."""

import unicodedata
from pathlib import Path

import pytest

from components.ingest import layouts
from components.ingest.dataset import DataSet
from components.ingest.splits import split_of
from components.shared.stage.errors import UserError
from tests.ingest.layouts import jpeg

JPEG = jpeg((9, 9, 9), 8)
OF_CLASSES = ["cat/0.jpg", "cat/1.jpg", "dog/0.jpg"]


def write(root: Path, *names: str, content: bytes = JPEG) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def read(root: Path, layout: str = "auto", label_field: str = "auto") -> DataSet:
    scratch = root.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return layouts.read(str(root), scratch, layout=layout, label_field=label_field)


def ids(data: DataSet) -> dict[str, list[str]]:
    return {
        each.split: [
            line if each.split == "test" else line.rpartition(" ")[0]
            for line in each.path.read_text().splitlines()
        ]
        for each in data.lists
    }


def below(folder: str) -> list[str]:
    return [f"{folder}/{name}" for name in OF_CLASSES]


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["Train", "Val"], {"train": "Train", "validation": "Val"}),
        (["training", "testing"], {"train": "training", "test": "testing"}),
        (["TRAIN", "DEV", "TEST"], {"train": "TRAIN", "validation": "DEV", "test": "TEST"}),
        (["train2017", "val2017"], {"train": "train2017", "validation": "val2017"}),
        (["Training Set", "validation_set"],
         {"train": "Training Set", "validation": "validation_set"}),
        (["train_images", "valid_images"],
         {"train": "train_images", "validation": "valid_images"}),
        (["seg_train/seg_train", "seg_test/seg_test"],
         {"train": "seg_train/seg_train", "test": "seg_test/seg_test"}),
        (["archive/data/train", "archive/data/test"],
         {"train": "archive/data/train", "test": "archive/data/test"}),
    ],
)  # fmt: skip
def test_splits_are_known_by_their_usual_names(
    tmp_path: Path, names: list[str], splits: dict[str, str]
) -> None:
    for name in names:
        write(tmp_path / "data", *below(name))

    data = read(tmp_path / "data")

    assert data.names == ["cat", "dog"]
    assert ids(data) == {split: below(folder) for split, folder in splits.items()}
    assert all(f"{folder}/ is {split}" in data.layout for split, folder in splits.items())


@pytest.mark.parametrize(
    "name", ["train station", "test tube", "values", "devil", "trains", "2017"]
)
def test_names_of_classes_are_no_names_of_splits(name: str) -> None:
    assert split_of(name) == ""


@pytest.mark.parametrize("base", ["images", "archive/images", "my photographs"])
def test_one_folder_too_deep_is_understood(tmp_path: Path, base: str) -> None:
    write(tmp_path / "data", *below(base))
    write(tmp_path / "data", "annotations/all.xml", "notes.txt", content=b"x")

    data = read(tmp_path / "data")

    assert data.names == ["cat", "dog"]
    assert ids(data) == {"train": below(base)}
    assert base in data.layout


REFUSED = {
    "images without folders": (["0.jpg", "1.jpg"], "2 images, but no folders there"),
    "images in a folder": (["images/0.jpg"], "1 images in images/, but no folders of classes"),
    "splits without classes": (["train2017/0.jpg", "val2017/1.jpg"], "no folders of classes"),
    "images beside masks": (["images/0.jpg", "masks/0.jpg"], "images/ is no name of a class"),
    "train among classes": (["train/0.jpg", "bus/0.jpg"], "layout=classes if train is a class"),
    "train with classes beside": ([*below("train"), "bus/0.jpg"], "bus/ are beside it"),
    "a split without train": (["cat/0.jpg", "val/cat/1.jpg"], "a split, but there is no"),
    "two validation splits": (
        [*below("train"), *below("val"), *below("dev")],
        "dev/, val/ all look like the validation split",
    ),
    "splits below classes": (["cat/train/0.jpg", "dog/train/0.jpg"], "splits lie below classes"),
    "classes of classes": (
        ["animal/cat/0.jpg", "animal/dog/0.jpg", "plant/rose/0.jpg"],
        "hold no images, but cat",
    ),
    "classes of classes beside images": (
        ["large/airport/0.jpg", "large/bridge/0.jpg", "val_large/0.jpg"],
        "large/ hold no images, but airport/, bridge/, which do",
    ),
    "images beside masks in each class": (
        [f"{kind}/{what}/0.jpg" for kind in ("a", "b") for what in ("images", "masks")],
        "hold no images, but images/, masks/",
    ),
    "numbered parts": (["images_001/0.jpg", "images_002/0.jpg"], "but no folders of classes"),
    "one class": (["cat/0.jpg", "cat/1.jpg"], "'cat' is the only class"),
    "one class below a split": (["train/train/0.jpg", "test/0.jpg"], "'train' is the only class"),
    "validation images without classes": ([*below("train"), "val/0.jpg"], "none of its 1 images"),
    "validation classes in other letters": (
        [*below("train"), "val/Cat/0.jpg"],
        "none of its 1 images, such as val/Cat/0.jpg",
    ),
    "classes that differ in case": (["Cat/0.jpg", "cat/1.jpg"], "'Cat' and 'cat' are two classes"),
    "no image": (["cat/a.tif.zip", "b.zip", "c.md"], "2 .zip, 1 .md. none is a JPEG.*unpack"),
    "WebVision without its lists": (["google/q00001/0.jpg", "x/0.jpg"], "add WebVision's"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_be_meant_in_two_ways_is_refused(tmp_path: Path, case: str) -> None:
    names, message = REFUSED[case]
    write(tmp_path / "data", *names)

    with pytest.raises(UserError, match=message):
        read(tmp_path / "data")


def test_images_of_a_class_may_be_in_a_folder_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "data", "n01/images/0.jpg", "n02/images/1.jpg")

    assert read(tmp_path / "data").names == ["n01", "n02"]


def test_splits_may_be_known_by_what_their_names_differ_in(tmp_path: Path) -> None:
    base = "asl_alphabet"
    write(tmp_path / "data", *below(f"{base}_train/{base}_train"), f"{base}_test/0.jpg")

    data = read(tmp_path / "data")

    assert data.names == ["cat", "dog"]
    assert set(ids(data)) == {"train", "test"}


def test_a_set_of_which_much_is_in_formats_that_are_not_read_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "data", *(f"{kind}/{i}.jpg" for kind in ("cat", "dog") for i in range(4)))
    write(tmp_path / "data", "bird/0.heic", "dog/5.tif", content=b"II*\0 and more")

    with pytest.raises(
        UserError, match=r"beside 8 images there are 1 \.\w+, 1 \.\w+, which are not"
    ):
        read(tmp_path / "data")


def test_classes_may_be_deep_down(tmp_path: Path) -> None:
    write(tmp_path / "data", *below("a/b/c/d/e/f/g/h"))

    assert read(tmp_path / "data").names == ["cat", "dog"]


@pytest.mark.parametrize("dataset", ["", " ", "x.zip"])
def test_a_data_set_is_a_folder(tmp_path: Path, dataset: str) -> None:
    write(tmp_path, "x.zip")

    with pytest.raises(UserError, match="where a folder is needed"):
        layouts.root(str(tmp_path / dataset) if dataset.strip() else dataset)


def test_what_may_have_been_meant_to_be_read_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "data", *(f"{kind}/{i}.jpg" for kind in ("cat", "dog") for i in range(9)))
    others = ["bird.zip", "captions.xlsx", "cat/9.heic", "meta/test.txt", "own.csv", "README.md"]
    write(tmp_path / "data", *others, content=b"x,y\n1,2\n")

    assert read(tmp_path / "data").not_read == (
        "bird.zip (unpack it); captions.xlsx (save it as CSV); meta/test.txt; own.csv"
    )
    assert "may say which images are of which split: meta/test.txt" in caplog.text


def test_all_folders_are_classes_where_the_layout_says_so(tmp_path: Path) -> None:
    write(tmp_path / "data", "train/0.jpg", "bus/0.jpg", "images/a/0.jpg")

    assert read(tmp_path / "data", "classes").names == ["bus", "images", "train"]


def test_folders_of_splits_may_have_others_beside_them(tmp_path: Path) -> None:
    write(tmp_path / "data", *below("train"), *below("test"), "unlabeled/0.jpg")

    data = read(tmp_path / "data")

    assert set(ids(data)) == {"train", "test"}
    assert "not read, as in no split: unlabeled/" in data.layout


def test_a_folder_without_an_image_is_no_class(tmp_path: Path) -> None:
    write(tmp_path / "data", *OF_CLASSES)
    write(tmp_path / "data", "scripts/Makefile", "scripts/a.py", "empty/0.jpg.txt", content=b"x")

    data = read(tmp_path / "data")

    assert data.names == ["cat", "dog"]
    assert {reject.kind for reject in data.rejects} == {"not an image"}


def test_what_systems_leave_is_skipped_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "data", *OF_CLASSES, "cat/@eaDir/0.jpg/THUMB_M.jpg", "cat/._0.jpg")
    write(tmp_path / "data", "dog/Thumbs.db", "__MACOSX/cat/0.jpg", ".ipynb_checkpoints/0.jpg")
    (tmp_path / "data" / "lost+found").mkdir(mode=0)

    data = read(tmp_path / "data")

    assert (ids(data), data.rejects) == ({"train": OF_CLASSES}, [])
    assert data.skipped == dict.fromkeys(
        ["@eaDir", "._0.jpg", "Thumbs.db", "__MACOSX", ".ipynb_checkpoints", "lost+found"], 1
    )


def test_images_are_told_by_content_where_the_name_does_not_tell(tmp_path: Path) -> None:
    images = ["cat/0", "cat/1.jpg?w=640", "cat/2.jfif", "dog/3.php", "dog/4.jpeg_large"]
    write(tmp_path / "data", *images)
    write(tmp_path / "data", "cat/README", "dog/index.html", content=b"<html>")

    data = read(tmp_path / "data")

    assert ids(data) == {"train": images}
    assert [reject.id for reject in data.rejects] == ["cat/README", "dog/index.html"]


def test_names_in_any_writing_lose_nothing(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    names = [f"train/{composed}/0.jpg", f"train/{decomposed}/1.jpg"]
    names += ["train/ice\u3000cream/a\xa0b.jpg", "train/\u0645\u06cc\u200c\u0631/a\u200db.jpg"]
    names += [f"train/{composed}/blank behind.jpg ", f"train/{composed}/ blank before.jpg"]
    write(tmp_path / "data", *names, f"val/{decomposed}/2.jpg")

    data = read(tmp_path / "data")

    assert sorted(ids(data)["train"]) == sorted(names)
    assert data.names == [composed, "ice\u3000cream", "\u0645\u06cc\u200c\u0631"]
    assert ids(data)["validation"] == [f"val/{decomposed}/2.jpg"]
    assert data.rejects == []


def test_names_that_no_list_can_hold_are_rejects(tmp_path: Path) -> None:
    write(tmp_path / "data", *OF_CLASSES, "cat/a\nb.jpg", "cat/caf\udce9.jpg")

    data = read(tmp_path / "data")

    assert [reject.kind for reject in data.rejects] == ["unreadable name"] * 2


def test_links_that_lead_in_a_circle_are_named_and_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "data", *OF_CLASSES)
    (tmp_path / "data/cat/again").symlink_to("..")
    (tmp_path / "data/dog/own.jpg").symlink_to("own.jpg")

    assert ids(read(tmp_path / "data")) == {"train": OF_CLASSES}
    assert "cat/again: not followed" in caplog.text


@pytest.mark.parametrize("layout", ["folders", "classes"])
def test_one_class_is_a_class(tmp_path: Path, layout: str) -> None:
    write(tmp_path / "data", "cat/0.jpg")

    assert read(tmp_path / "data", layout).names == ["cat"]
