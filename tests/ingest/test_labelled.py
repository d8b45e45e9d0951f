"""Images whose labels are in a table, as on Kaggle, on Hugging Face and in people's exports."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest.dataset import DataSet
from components.shared.stage.errors import UserError
from tests.ingest.running import rejects, rows, run
from tests.ingest.test_captions import titles
from tests.ingest.test_layouts import read, write


def labels(data: DataSet) -> dict[str, dict[str, str]]:
    """Return each split's ids, with the names of their classes."""
    found: dict[str, dict[str, str]] = {}
    for each in data.lists:
        lines = each.path.read_text().splitlines()
        pairs = [(line, "0") if each.split == "test" else line.rsplit(" ", 1) for line in lines]
        found[each.split] = {id: data.names[int(label)] for id, label in pairs}
    return found


def table(root: Path, name: str, content: str) -> None:
    write(root, name, content=content.encode())


def test_a_table_as_on_kaggle_is_read(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(
        root, *(f"train_images/{i}.jpg" for i in range(3)), "test_images/0.jpg", "test_images/9.jpg"
    )
    table(root, "train.csv", "image_id,label\n0.jpg,10\n1.jpg,9\n2.jpg,10\n7.jpg,9\n")
    table(root, "sample_submission.csv", "image_id,label\n0.jpg,4\n9.jpg,4\n")

    data = read(root)

    assert labels(data)["train"] == {
        "train_images/0.jpg": "10", "train_images/1.jpg": "9", "train_images/2.jpg": "10"
    }  # fmt: skip
    assert list(labels(data)["test"]) == ["test_images/0.jpg", "test_images/9.jpg"]
    assert data.names == ["9", "10"]
    assert (
        data.layout
        == "labels in train.csv, column label, of the images in column image_id, all train"
    )
    assert [(each.kind, each.id) for each in data.rejects] == [("missing image", "7.jpg")]


def test_metadata_as_on_hugging_face_is_read_with_its_texts(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for split, names in (("train", "ab"), ("validation", "c")):
        write(root, *(f"{split}/{name}.png" for name in names))
        found = [{"file_name": f"{name}.png", "label": f"is {name}", "text": f"a {name}"}
                 for name in names]  # fmt: skip
        table(root, f"{split}/metadata.jsonl", "\n".join(map(json.dumps, found)))
    table(root, "validation/metadata.jsonl", '{"file_name":"c.png","label":"is a","text":"a c"}')

    data = read(root)

    assert labels(data) == {
        "train": {"train/a.png": "is a", "train/b.png": "is b"},
        "validation": {"validation/c.png": "is a"},
    }
    assert titles(data) == {"train/a.png": "a a", "train/b.png": "a b", "validation/c.png": "a c"}


def test_a_column_may_say_the_split_and_a_file_parquet(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, *(f"all/{i}.jpg" for i in range(4)))
    columns = {"path": [f"all/{i}.jpg" for i in range(4)], "Class Name": ["a", "b", "a", None],
               "class": [1, 2, 1, 0], "split": ["Train", "train", "val", "test"]}  # fmt: skip
    pq.write_table(pa.table(columns), root / "export.parquet")

    data = read(root)

    assert labels(data) == {
        "train": {"all/0.jpg": "a", "all/1.jpg": "b"},
        "validation": {"all/2.jpg": "a"},
        "test": {"all/3.jpg": "a"},
    }
    assert "column Class Name" in data.layout
    assert "splits in column split" in data.layout


def test_a_table_for_each_split_may_name_images_of_one_folder(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, *(f"images/{i}.jpg" for i in range(4)))
    table(root, "train.csv", "filename;label\nimages\\0.jpg;a\nimages\\1.jpg;b\n")
    table(root, "val.csv", "filename;label\n./images/2.jpg;b\n./images/3.jpg;c\n")

    data = read(root)

    assert labels(data) == {
        "train": {"images/0.jpg": "a", "images/1.jpg": "b"},
        "validation": {"images/2.jpg": "b"},
    }
    assert [(each.kind, each.id) for each in data.rejects] == [("unknown class", "images/3.jpg")]


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("id_code,diagnosis", ["00a1,1", "00b2,0"]),
        ("id,breed", ["00a1,1", "00b2,0"]),
        ("class id,filepaths,labels,data set",
         ["7,train/00a1.png,1,train", "8,train/00b2.png,0,train"]),
        ("number,photograph,species", ["1,00a1,1", "2,00b2,0"]),
    ],
)  # fmt: skip
def test_columns_of_well_known_sets_are_found(tmp_path: Path, header: str, rows: list[str]) -> None:
    root = tmp_path / "data"
    write(root, "train/00a1.png", "train/00b2.png", "test/00a1.png")
    table(root, "train.csv", "\n".join([header, *rows]))

    data = read(root)

    assert labels(data)["train"] == {"train/00a1.png": "1", "train/00b2.png": "0"}
    assert list(labels(data)["test"]) == ["test/00a1.png"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_column_for_each_class_may_have_a_1(tmp_path: Path, suffix: str) -> None:
    root = tmp_path / "data"
    write(root, *(f"{i}.jpg" for i in range(31)))
    found: list[dict[str, object]] = [
        {
            "image": i,
            "age": i + 20,
            "Melanoma": float(i % 2),
            "Naevus": float(not i % 2),
            "rare": 0.0,
        }
        for i in range(30)
    ]
    found.append({"image": 30, "age": 50, "Melanoma": 1.0, "Naevus": 1.0, "rare": 0.0})
    lines = [",".join(found[0]), *(",".join(map(str, row.values())) for row in found)]
    table(root, f"truth{suffix}",
          "\n".join(map(json.dumps, found) if suffix == ".jsonl" else lines))  # fmt: skip

    data = read(root)

    assert data.names == ["Melanoma", "Naevus"]
    assert labels(data)["train"] == {
        f"{i}.jpg": "Melanoma" if i % 2 else "Naevus" for i in range(30)
    }
    assert data.layout == (
        f"labels in truth{suffix}, a column of 0 and 1 for each class, Melanoma to rare, "
        "of the images in column image"
    )
    assert [(each.kind, each.id) for each in data.rejects] == [("several labels", "30.jpg")]


def test_the_column_of_labels_may_be_named(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, *(f"{i}.jpg" for i in range(2)))
    table(root, "own.csv", "file,label,Kind of Animal\n0.jpg,x,cat\n1.jpg,x,dog\n")

    assert read(root, label_field="kind of animal").names == ["cat", "dog"]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("3", "3"),
        ("3.0", "3"),
        ("nan", ""),
        ("none", "none"),
        ("C%2B", "C%2B"),
        (" a  cat ", "a cat"),
        ("3.5", "3.5"),
        ("['a']", "a"),
    ],
)
def test_a_label_is_a_name_or_a_number(tmp_path: Path, value: str, name: str) -> None:
    root = tmp_path / "data"
    write(root, *(f"{i}.jpg" for i in range(3)))
    table(root, "labels.csv", f"path,label\n0.jpg,{value}\n1.jpg,other\n2.jpg,another\n")

    data = read(root)

    assert set(data.names) == {"other", "another", name} - {""}
    assert [each.kind for each in data.rejects] == ["no label"] * (not name)


def test_images_without_a_row_are_unlisted(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, *(f"all/{i}.jpg" for i in range(90)))
    table(root, "labels.csv", "path,label\n" + "".join(f"all/{i}.jpg,{i % 2}\n" for i in range(89)))

    out = run(tmp_path / "out", root)

    assert set(rows(out)) < {f"all/{i}.jpg" for i in range(89)}
    assert rejects(out) == [("", "unlisted image", "all/89.jpg")]


def test_folders_that_say_the_same_as_a_table_are_taken(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, "cat/0.jpg", "dog/1.jpg")
    table(root, "labels.csv", "path,label\ncat/0.jpg,0\ndog/1.jpg,1\n")

    assert read(root).names == ["cat", "dog"]


def test_folders_and_a_table_that_differ_are_refused_unless_one_is_named(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, "cat/0.jpg", "cat/2.jpg", "dog/1.jpg")
    table(root, "labels.csv", "path,label\ncat/0.jpg,0\ncat/2.jpg,1\ndog/1.jpg,1\n")
    other = tmp_path / "other"
    other.mkdir()

    with pytest.raises(UserError, match="set layout=folders or layout=table"):
        read(root)

    root = root.rename(other / "data")
    assert read(root, "table").names == ["0", "1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\n" + "".join(f"{i}.jpg,{j}\n" for i in range(3) for j in range(2)),
         "3 images, such as 0.jpg, have several labels"),
        ("path,scab,rust\n0.jpg,1,0\n1.jpg,1,1\n", "no table there has a column"),
        ("path,is_public,views\n0.jpg,1,10\n1.jpg,1,12\n", "no table there has a column"),
        ("path,label\n7.jpg,1\n", "no table there has a column"),
        ("path,label\n0.jpg,\n", "of 1 rows of labels.csv none is of an image with a label"),
    ],
)  # fmt: skip
def test_tables_that_give_no_label_are_refused(tmp_path: Path, content: str, message: str) -> None:
    root = tmp_path / "data"
    write(root, *(f"{i}.jpg" for i in range(3)))
    table(root, "labels.csv", content)

    with pytest.raises(UserError, match=message):
        read(root, "table")


@pytest.mark.parametrize(
    ("name", "content", "header"),
    [
        ("train.csv", "0.jpg,cat\n1.jpg,dog\n", "path,label"),
        ("labels.tsv", "0.jpg\tcat\n1.jpg\tdog\n", "path\tlabel"),
    ],
)
def test_a_table_without_names_of_columns_says_so(
    tmp_path: Path, name: str, content: str, header: str
) -> None:
    root = tmp_path / "data"
    write(root, *(f"{i}.jpg" for i in range(2)))
    table(root, name, content)

    with pytest.raises(UserError, match=f"{name}: its first line has no names of columns"):
        read(root)

    table(root, name, f"{header}\n{content}")
    assert read(root).names == ["cat", "dog"]


def test_a_table_without_names_of_columns_does_no_harm_to_folders(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, "cat/0.jpg", "dog/1.jpg")
    table(root, "boxes.csv", "cat/0.jpg,3,4,9,9\ndog/1.jpg,1,1,5,5\n")

    data = read(root)

    assert data.names == ["cat", "dog"]
    assert data.not_read == "boxes.csv"


# Which images are for training -------------------------------------------------------------------


def flat(root: Path, count: int = 12) -> list[str]:
    names = [f"images/{i:02d}.jpg" for i in range(count)]
    write(root, *names)
    return names


def listed(*lines: str, header: str) -> str:
    return "\n".join([header, *lines])


def split_sizes(data: DataSet) -> dict[str, int]:
    return {split: len(found) for split, found in labels(data).items()}


def test_a_table_that_agrees_with_folders_says_the_splits(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, *(f"{kind}/{i}.jpg" for kind in ("cat", "dog") for i in range(6)))
    lines = (f"{kind}/{i}.jpg,{kind},{('train', 'val', 'test')[i % 3]}"
             for kind in ("cat", "dog") for i in range(6))  # fmt: skip
    table(root, "all.csv", listed(*lines, header="path,label,split"))

    assert split_sizes(read(root)) == {"train": 4, "validation": 4, "test": 4}


@pytest.mark.parametrize("column", ["is_valid", "is_test"])
def test_a_column_may_say_what_is_held_out(tmp_path: Path, column: str) -> None:
    root = tmp_path / "data"
    lines = (f"{name},{i % 2},{i < 4}" for i, name in enumerate(flat(root)))
    table(root, "labels.csv", listed(*lines, header=f"path,label,{column}"))

    data = read(root)

    held_out = "validation" if column == "is_valid" else "test"
    assert split_sizes(data) == {"train": 8, held_out: 4}
    assert f"splits in column {column}" in data.layout


@pytest.mark.parametrize("split", ["holdout", "", "2"])
def test_a_split_that_is_none_is_named(tmp_path: Path, split: str) -> None:
    root = tmp_path / "data"
    lines = [f"{name},{i % 2},{'train' if i else split}" for i, name in enumerate(flat(root))]
    table(root, "labels.csv", listed(*reversed(lines), header="path,label,split"))

    with pytest.raises(
        UserError, match=rf"1 of 12 .* split are no splits, such as '{split}' in line 13"
    ):
        read(root)


def test_a_single_odd_split_costs_its_line(tmp_path: Path) -> None:
    root = tmp_path / "data"
    lines = [f"{name},{i % 2},{'train' if i else 'x'}" for i, name in enumerate(flat(root, 40))]
    table(root, "labels.csv", listed(*lines, header="path,label,split"))

    data = read(root)

    assert split_sizes(data) == {"train": 39}
    assert [(each.kind, each.id) for each in data.rejects] == [("no split", "images/00.jpg")]


@pytest.mark.parametrize(
    "names", [("train_labels", "test_labels"), ("cats_train", "cats_test"), ("trainLabels", "test")]
)
def test_a_word_of_a_tables_name_is_its_split(tmp_path: Path, names: tuple[str, str]) -> None:
    root = tmp_path / "data"
    images = flat(root)
    for name, of in zip(names, (images[:8], images[8:]), strict=True):
        lines = (f"{image},{i % 2}" for i, image in enumerate(of))
        table(root, f"{name}.csv", listed(*lines, header="path,label"))

    assert split_sizes(read(root)) == {"train": 8, "test": 4}


def test_a_table_of_test_images_needs_no_labels(tmp_path: Path) -> None:
    root = tmp_path / "data"
    images = flat(root)
    lines = (f"{image},{i % 2}" for i, image in enumerate(images[:8]))
    table(root, "train.csv", listed(*lines, header="id,label"))
    table(root, "test.csv", listed(*images[8:], header="id"))

    assert split_sizes(read(root)) == {"train": 8, "test": 4}


def test_what_is_in_several_splits_is_not_trained_on(tmp_path: Path) -> None:
    root = tmp_path / "data"
    lines = [f"{image},{i % 2}" for i, image in enumerate(flat(root))]
    for name, of in {"all": lines, "train": lines[:9], "test": lines[8:]}.items():
        table(root, f"{name}.csv", listed(*of, header="path,label"))

    data = read(root)

    assert split_sizes(data) == {"train": 8, "test": 4}
    assert [(each.kind, each.id) for each in data.rejects] == [("several splits", "images/08.jpg")]


def test_numbers_of_images_in_several_folders_mean_those_of_training(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, *(f"{split}/{i}.jpg" for split in ("train", "test") for i in range(4)))
    table(root, "labels.csv", listed(*(f"{i},{i % 2}" for i in range(4)), header="id,label"))

    data = read(root)

    assert split_sizes(data) == {"train": 4, "test": 4}
    assert data.rejects == []


def test_columns_called_as_splits_are_no_classes(tmp_path: Path) -> None:
    root = tmp_path / "data"
    lines = (f"{name},{'cat' if i % 2 else 'dog'},{i % 2},{1 - i % 2}"
             for i, name in enumerate(flat(root)))  # fmt: skip
    table(root, "own.csv", listed(*lines, header="image,animal,train,test"))

    with pytest.raises(UserError, match="own.csv has the images in image, but .* one of animal"):
        read(root)
    assert read(root, label_field="animal").names == ["cat", "dog"]


# Which class is meant ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values", [["cat", "dog", "cat|dog"], ["1", "2", "1 2 7"], ["scab", "rust", "scab rust"]]
)
def test_several_classes_of_an_image_are_refused(tmp_path: Path, values: list[str]) -> None:
    root = tmp_path / "data"
    lines = (f"{name},{values[i % 3]}" for i, name in enumerate(flat(root)))
    table(root, "labels.csv", listed(*lines, header="path,label"))

    with pytest.raises(UserError, match="4 images, such as .*, have several labels"):
        read(root)


def test_several_columns_that_differ_are_refused_unless_one_is_named(tmp_path: Path) -> None:
    root = tmp_path / "data"
    lines = (f"{name},{i % 2},{i % 3},k{i % 2}" for i, name in enumerate(flat(root)))
    table(root, "labels.csv", listed(*lines, header="path,class_id,species,class_name"))

    with pytest.raises(UserError, match="set label_field to one of class_name, species, class_id"):
        read(root)

    assert len(read(root, label_field="species").names) == 3


def test_tables_with_labels_of_two_kinds_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "data"
    images = flat(root)
    for column, of in {"breed": images[:6], "species": images[6:]}.items():
        lines = (f"{image},{i % 2}" for i, image in enumerate(of))
        table(root, f"{column}.csv", listed(*lines, header=f"path,{column}"))

    with pytest.raises(UserError, match="set label_field to one"):
        read(root)


@pytest.mark.parametrize("names", [("Cat", "cat"), ("ice cream", "icecream"), ("a", "A")])
def test_names_that_differ_only_in_case_or_blanks_are_refused(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    root = tmp_path / "data"
    lines = (f"{name},{names[i % 2]}" for i, name in enumerate(flat(root)))
    table(root, "labels.csv", listed(*lines, header="path,label"))

    with pytest.raises(UserError, match="differ only in case or blanks"):
        read(root)


def test_an_example_of_a_submission_has_no_labels(tmp_path: Path) -> None:
    root = tmp_path / "data"
    lines = [f"{image},{1 + i % 2}" for i, image in enumerate(flat(root))]
    table(
        root, "sample_sub.csv", listed(*(f"{line[:-1]}0" for line in lines[8:]), header="id,label")
    )
    table(root, "train.csv", listed(*lines[:8], header="id,label"))

    assert read(root).names == ["1", "2"]


def test_few_rows_of_images_are_few(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "data"
    flat(root, 4)
    lines = (f"{i:02d}.jpg,{i % 2}" for i in range(100))
    table(root, "labels.csv", listed(*lines, header="image,label"))

    assert len(labels(read(root))["train"]) == 4
    assert "only 4 of 100 rows of labels.csv are of images" in caplog.text


def test_lists_as_coco_has_them_are_read(tmp_path: Path) -> None:
    root = tmp_path / "data"
    names = flat(root, 4)
    found = {
        "images": [{"id": i, "file_name": Path(name).name} for i, name in enumerate(names)],
        "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
        "annotations": [{"image_id": i, "category_id": i % 2} for i in range(4)],
    }
    table(root, "_annotations.coco.json", json.dumps(found))

    assert list(labels(read(root))["train"].values()) == ["cat", "dog", "cat", "dog"]
