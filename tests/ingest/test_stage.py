import io
import json
import shutil
import subprocess
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.ingest import workdir
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.data.texts import Texts
from components.shared.stage import metadata, parallel
from components.shared.stage.boundary import ending
from components.shared.stage.errors import UserError
from tests.disks import small_disk
from tests.ingest import layouts
from tests.ingest.running import command, contents, rejects, rows, run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("layout", ["tars", "folders", "renamed folders", "1.0"])
def test_webvision_is_read_in_every_layout(tmp_path: Path, layout: layouts.Layout) -> None:
    layouts.webvision(tmp_path / "data", layout)

    out = run(tmp_path / "out", tmp_path / "data", image_side=32)

    first, second, third, fourth = (
        f"q{number:0{4 if layout == '1.0' else 5}d}" for number in (1, 2, 3, 4)
    )
    found = rows(out)
    assert set(found) == {
        f"google/{first}/-image1M.jpg",
        f"google/{second}/-image3M.jpg",
        *(f"flickr/{query}/-image{i}M.jpg" for query in (third, fourth) for i in (1, 2, 3)),
    }
    assert found[f"google/{second}/-image3M.jpg"] == {
        "id": f"google/{second}/-image3M.jpg",
        "title": "title 5",
        "description": "",
        "tags": "",
        "source": "google",
        "query": "striped horse 2" if layout == "1.0" else "",
        "rank": 3,
    }
    repaired = found[f"flickr/{third}/-image2M.jpg"]
    assert (repaired["title"], repaired["tags"]) == ("title \\7", "red car")
    assert (repaired["query"], repaired["rank"]) == ("striped horse 3", 0)
    assert rejects(out) == sorted(
        [
            ("train", "repeated row", f"google/{first}/-image1M.jpg"),
            ("train", "missing image", f"google/{first}/-image3M.jpg"),
            ("train", "truncated image", f"google/{second}/-image1M.jpg"),
            ("train", "unreadable row", f"google/{second}/-image2M.jpg nine"),
            ("train", "repaired record", f"flickr/{third}/-image2M.jpg"),
            ("train", "lost record", f"flickr/{fourth}/-image1M.jpg"),
            ("train", "missing text", f"flickr/{fourth}/-image3M.jpg"),
            ("", "unlisted image", f"google/{first}/-image2M.jpg"),
            ("", "unlisted image", f"google/{second}/-image2M.jpg"),
        ]
    )


def test_images_texts_and_labels_belong_together(tmp_path: Path) -> None:
    layouts.webvision(tmp_path / "data", "tars")

    out = run(tmp_path / "out", tmp_path / "data", image_side=16)

    images, labels = ImageSet.load(out / "images"), Targets.load(out / "labels")
    images.identity.check(Texts(out / "texts.parquet").identity, "texts")
    images.identity.check(labels.identity, "labels")
    assert images.ids() == list(rows(out))
    assert (labels.names, labels.titles) == (["zebra", "rose"], ["a zebra", "a rose"])
    for number, id in enumerate(images.ids()):
        colour = _colour(bytes(images.read(number)))
        source, query, name = id.split("/")
        drawn = 3 * (int(query[1:]) - 1) + int(name[6]) - 1
        assert abs(colour[0] - 20 * drawn) <= 3
        assert labels[number][0].tolist() == [(int(query[1:]) - 1) % 2]
        assert labels[number][1].tolist() == [1.0]


def _colour(encoded: bytes) -> tuple[int, ...]:
    image = Image.open(io.BytesIO(encoded))
    assert image.size == (16, 16)
    colour = image.getpixel((8, 8))
    assert isinstance(colour, tuple)
    return tuple(map(int, colour))


def test_validation_and_test_keep_the_order_of_their_lists(tmp_path: Path) -> None:
    layouts.webvision(tmp_path / "data", "tars")

    out = run(tmp_path / "out", tmp_path / "data")

    validation = ImageSet.load(out / "evaluation" / "validation")
    assert validation.ids() == ["val000003.jpg", "val000001.jpg", "val000002.jpg"]
    labels = Targets.load(out / "evaluation" / "validation_labels")
    assert [labels[i][0].tolist() for i in range(3)] == [[1], [0], [1]]
    test = ImageSet.load(out / "evaluation" / "test")
    assert test.ids() == ["test000001.jpg", "test000002.jpg", "test000003.jpg"]


def test_an_image_of_the_right_size_keeps_its_bytes_in_the_shard(
    tmp_path: Path, store: Path
) -> None:
    layouts.webvision(tmp_path / "data", "folders")

    out = run(tmp_path / "out", tmp_path / "data")

    images = ImageSet.load(out / "images")
    number = images.ids().index("flickr/q00004/-image3M.jpg")
    original = (tmp_path / "data/flickr/q00004/-image3M.jpg").read_bytes()
    assert bytes(images.read(number)) == original
    (path,) = store.glob("images/*/train-00000.tar")
    with tarfile.open(path) as tar:
        sizes = [member.size for member in tar]
    assert sizes == images.index["length"].tolist()


def test_a_limit_takes_so_many_of_each_class_the_same_whatever_the_seed(tmp_path: Path) -> None:
    layouts.webvision(tmp_path / "data", "tars")

    first = run(tmp_path / "a", tmp_path / "data", limit=2, seed=0)
    second = run(tmp_path / "b", tmp_path / "data", limit=2, seed=1)

    labels = Targets.load(first / "labels")
    assert np.bincount(labels.classes).tolist() == [2, 2]
    assert sorted(rows(first)) == sorted(rows(second))


def test_the_seed_changes_the_order_of_training_images_only(tmp_path: Path) -> None:
    layouts.webvision(tmp_path / "data", "tars")

    first = run(tmp_path / "a", tmp_path / "data", seed=0)
    second = run(tmp_path / "b", tmp_path / "data", seed=1)

    assert list(rows(first)) != list(rows(second))
    assert sorted(rows(first)) == sorted(rows(second))


def test_outputs_are_the_same_with_any_number_of_cores(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for cores in (1, 3):
        monkeypatch.setattr(parallel, "cores", lambda cores=cores: cores)
        found.append(contents(run(tmp_path / f"out{cores}", many)))

    assert len([name for name in found[0] if name.endswith(".tar")]) >= 9
    assert found[0] == found[1]


def test_other_arguments_do_not_reuse_what_is_there(
    many: Path, tmp_path: Path, store: Path
) -> None:
    run(tmp_path / "a", many)
    out = run(tmp_path / "b", many, image_side=8)

    assert len(list(store.glob("images/*"))) == 2
    assert ImageSet.load(out / "images").image_side == 8


def test_folders_of_classes_with_captions_are_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    names = ["cat/1.jpg", "red car/2.JPG", "red car/deep/3.jpg"]
    names = [f"train/{name}" for name in names] + ["val/cat/4.jpg", "val/dog/5.jpg", "test/6.jpg"]
    for name in names:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(layouts.jpeg((0, 0, 0)))
    (data / "train/cat/notes.txt").write_text("no image")
    (data / "train/cat/.hidden").write_text("")
    (data / "captions.csv").write_text(
        'path,title,tags,more\ntrain/cat/1.jpg,"a, b",x y,1\nnowhere.jpg,t,u,2\n'
    )

    out = run(tmp_path / "out", data)

    found = rows(out)
    assert set(found) == {"train/cat/1.jpg", "train/red car/2.JPG", "train/red car/deep/3.jpg"}
    caption = found["train/cat/1.jpg"]
    assert (caption["title"], caption["description"], caption["tags"]) == ("a, b", "", "x y")
    assert found["train/red car/2.JPG"]["title"] == ""
    assert Targets.load(out / "labels").names == ["cat", "red car"]
    assert ImageSet.load(out / "evaluation" / "validation").ids() == ["val/cat/4.jpg"]
    assert ImageSet.load(out / "evaluation" / "test").ids() == ["test/6.jpg"]
    assert rejects(out) == [
        ("", "caption of no image", "nowhere.jpg"),
        ("train", "not an image", "train/cat/notes.txt"),
        ("validation", "unknown class", "val/dog/5.jpg"),
    ]


def test_links_to_folders_and_images_are_followed(tmp_path: Path) -> None:
    for name in ("elsewhere/1.jpg", "elsewhere/2.jpg", "data/cat/3.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(layouts.jpeg((0, 0, 0)))
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "cat" / "4.jpg").symlink_to(tmp_path / "elsewhere" / "1.jpg")

    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.0)

    assert set(rows(out)) == {"cat/3.jpg", "cat/4.jpg", "dog/1.jpg", "dog/2.jpg"}


def test_folders_of_classes_may_bring_their_own_taxonomy(many: Path, tmp_path: Path) -> None:
    flat = (many / "train").rename(tmp_path / "flat")
    (flat / "info").mkdir()
    rows = [{"wnid": f"class{i}", "lemmas": [f"kind {i}"], "gloss": "", "hypernyms": ["thing"]}
            for i in range(3)]  # fmt: skip
    rows.append({"wnid": "thing", "lemmas": ["thing"], "gloss": "", "hypernyms": []})
    (flat / "info/taxonomy.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")

    out = run(tmp_path / "out", flat)

    assert Targets.load(out / "labels").titles == ["kind 0", "kind 1", "kind 2"]
    concepts = pq.read_table(out / "labels" / "concepts.parquet")["wnid"].to_pylist()
    assert concepts == ["class0", "class1", "class2", "thing"]
    assert rejects(out) == []


def test_captions_of_the_same_image_are_joined(many: Path, tmp_path: Path) -> None:
    (many / "captions.csv").write_text(
        "path,title\n./train/class0/0.jpg,first\ntrain/class0/0.jpg,second\n"
    )

    out = run(tmp_path / "out", many, validation_share=0.0)

    assert rows(out)["train/class0/0.jpg"]["title"] == "first second"
    assert rejects(out) == []


def test_a_split_beside_the_classes_is_refused(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "val/cat/2.jpg"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        (tmp_path / "data" / name).write_bytes(layouts.jpeg((0, 0, 0)))

    with pytest.raises(UserError, match=r"data/val/: a split, but there is no .*data/train/"):
        run(tmp_path / "out", tmp_path / "data")


def test_several_files_of_captions_are_refused(many: Path, tmp_path: Path) -> None:
    (many / "captions.csv").write_text("path\n")
    (many / "captions.jsonl").write_text("{}")

    with pytest.raises(UserError, match=r"captions.csv, captions.jsonl"):
        run(tmp_path / "out", many)


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_captions_may_be_json_lines_or_parquet(many: Path, tmp_path: Path, format: str) -> None:
    captions = [{"file_name": "train/class0/0.jpg", "text": "a dot", "tags": ["red", "dot"]}]
    if format == "jsonl":
        (many / "captions.jsonl").write_text("\n".join(map(json.dumps, captions)))
    else:
        pq.write_table(pa.Table.from_pylist(captions), many / "captions.parquet")

    out = run(tmp_path / "out", many, validation_share=0.0)

    row = rows(out)["train/class0/0.jpg"]
    assert (row["description"], row["tags"]) == ("a dot", "red dot")


def test_a_share_of_each_class_is_held_out_where_there_is_no_validation_split(
    many: Path, tmp_path: Path
) -> None:
    out = run(tmp_path / "out", many, validation_share=0.5)

    validation = ImageSet.load(out / "evaluation" / "validation").ids()
    train = ImageSet.load(out / "images").ids()
    assert len({*validation, *train}) == 90
    labels = Targets.load(out / "evaluation" / "validation_labels")
    assert np.bincount(labels.classes).tolist() == [15, 15, 15]
    assert (
        "held out: 15 of each class. Their labels are as noisy" in (out / "report.html").read_text()
    )


def with_validation(data: Path) -> Path:
    """Add an image for validation."""
    (data / "val" / "class0").mkdir(parents=True)
    (data / "val" / "class0" / "90.jpg").write_bytes(layouts.jpeg((0, 0, 0)))
    return data


def test_the_report_of_a_set_with_validation_images_says_nothing_of_noise(
    many: Path, tmp_path: Path
) -> None:
    out = run(tmp_path / "out", with_validation(many))

    assert "as noisy" not in (out / "report.html").read_text()


def test_a_share_is_held_out_where_the_validation_images_are_missing(tmp_path: Path) -> None:
    layouts.webvision(tmp_path / "data", "tars")
    (tmp_path / "data" / "val_images_resized.tar").unlink()

    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.5)

    validation = ImageSet.load(out / "evaluation" / "validation").ids()
    assert validation
    assert all(id.startswith(("google/", "flickr/")) for id in validation)
    assert ("validation", "missing image", "val000001.jpg") in rejects(out)


def test_webvision_without_its_lists_is_not_taken_for_classes(many: Path, tmp_path: Path) -> None:
    for source in ("google", "flickr"):
        shutil.copytree(many / "train" / "class0", tmp_path / "data" / source)
    with pytest.raises(UserError, match="google and flickr look like classes"):
        run(tmp_path / "out", tmp_path / "data")


def test_metrics_count_what_the_table_of_rejects_lists(tmp_path: Path) -> None:
    layouts.webvision(tmp_path / "data", "tars")

    out = run(tmp_path / "out", tmp_path / "data")

    counts = Counter(kind.replace(" ", "_") for _, kind, _ in rejects(out))
    sizes = {"train_images": 8, "validation_images": 3, "test_images": 3}
    assert metadata.read(out / "images") == sizes | counts


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dataset": "nowhere"}, "nowhere: no such folder, or no files in it"),
        ({"layout": "webvision"}, "no info/synsets.txt"),
        ({"layout": "folders"}, "no folders there"),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, parameters: dict[str, Any], message: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1.jpg").touch()

    with pytest.raises(UserError, match=message):
        run(tmp_path / "out", parameters.pop("dataset", tmp_path / "data"), **parameters)

    assert not (tmp_path / "out" / "images").exists()


def test_lists_that_a_full_disk_does_not_take_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", "16k") as disk:
        monkeypatch.setenv("WEBLY_STORE", str(disk))
        with pytest.raises(OSError) as raised, workdir.locked("f") as folder:
            (folder / "lists" / "names").write_bytes(bytes(100_000))

    assert ending(raised.value) is not None
    assert raised.value.filename == str(disk / "ingest" / "f")


def test_a_data_set_without_any_readable_image_is_refused(tmp_path: Path) -> None:
    for number in range(10):
        path = tmp_path / "data" / "cat" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(layouts.jpeg((0, 0, 0))[:400] if number < 3 else b"<html>")

    message = (
        r"none of 8 training images, drawn at random, is readable: [56] × undecodable image, such "
        r"as cat/\d.jpg \(6 bytes that begin with b'<html>'\); [23] × truncated image, such as cat/"
    )
    with pytest.raises(UserError, match=message):
        run(tmp_path / "out", tmp_path / "data", layout="folders")


def test_validation_images_of_which_none_is_readable_are_refused(
    many: Path, tmp_path: Path
) -> None:
    (with_validation(many) / "val" / "class0" / "90.jpg").write_text("<html>")

    message = r"no validation images are left: .*; 1 × undecodable image, such as val/class0/90.jpg"
    with pytest.raises(UserError, match=message):
        run(tmp_path / "out", many)

    assert not (tmp_path / "out" / "images").exists()


def test_classes_of_one_image_leave_none_for_validation(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "1.jpg").write_bytes(layouts.jpeg((0, 0, 0)))

    with pytest.raises(UserError, match="no validation images are left: add some, or let"):
        run(tmp_path / "out", tmp_path / "data")


def test_a_share_of_zero_leaves_none_for_validation(many: Path, tmp_path: Path) -> None:
    argv = [*command(tmp_path / "out", many), "--validation_share", "0"]

    found = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert found.returncode == 2
    assert "no validation images are left: add some, or let" in found.stderr


def test_lists_whose_images_are_missing_are_refused_with_what_is_there(tmp_path: Path) -> None:
    layouts.webvision(tmp_path / "data", "tars")
    for path in (tmp_path / "data").glob("webvision_train_*.tar"):
        path.unlink()

    message = (
        r"no training images are left; 11 × missing image, such as google/q00001/-image1M.jpg "
        r"\(listed, but in no archive and no folder\); 1 × unreadable row, such as"
    )
    with pytest.raises(UserError, match=message):
        run(tmp_path / "out", tmp_path / "data")


def test_lists_may_begin_with_a_mark_and_end_with_blank_lines(tmp_path: Path) -> None:
    layouts.webvision(tmp_path / "data", "folders")
    synsets = tmp_path / "data" / "info" / "synsets.txt"
    synsets.write_bytes(b"\xef\xbb\xbf" + synsets.read_bytes() + b"\n\n")
    (tmp_path / "data" / "info" / "queries.txt").write_bytes(b"1 caf\xe9\n4 rose\n")

    out = run(tmp_path / "out", tmp_path / "data")

    assert Targets.load(out / "labels").names == ["zebra", "rose"]
    assert {row["query"] for row in rows(out).values()} == {"caf�", "", "rose"}


@pytest.mark.usefixtures("nltk_data")
def test_the_sample_set_is_read_with_its_faults(sample: Path, tmp_path: Path) -> None:
    out = run(tmp_path / "out", sample, image_side=32)

    counts = Counter(kind for _, kind, _ in rejects(out))
    assert counts == {
        "truncated image": 16,
        "undecodable image": 2,
        "repaired record": 9,
        "repeated row": 10,
        "unlisted image": 10,
    }
    assert len(ImageSet.load(out / "images")) == 11_991 - 10 - 18
