"""Tar shards as WebDataset, img2dataset and people's own scripts write them."""

import io
import json
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest import webdataset
from components.ingest.survey import survey
from components.shared.data.evaluation import LABELS, TEST, VALIDATION
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.stage import parallel
from components.shared.stage.errors import UserError
from components.tagging.stage import tagging
from tests.ingest import layouts
from tests.ingest.running import contents, rejects, rows, run, upload

pytestmark = pytest.mark.slow

JPEG = layouts.jpeg((200, 100, 0))
CLASSES = ("cat", "dog")


def shard(path: Path, files: Mapping[str, bytes | str] | Iterable[tuple[str, bytes | str]]) -> None:
    """Write a tar of files by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items() if isinstance(files, Mapping) else files:
            encoded = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(encoded)
            tar.addfile(member, io.BytesIO(encoded))


def img2dataset(root: Path, shards: int = 2, samples: int = 4) -> None:
    """Write a set as img2dataset does, with a column `label` among those kept, and its metadata."""
    for number in range(shards):
        files, table = {}, []
        for position in range(samples):
            key = f"{number:05d}{position:04d}"
            name = CLASSES[position % 2]
            record = {
                "caption": f"a photo of a {name} number {key}",
                "url": f"https://example.org/{name}%20{key}.jpg",
                "label": name,
                "punsafe": float("nan"),
                "key": key,
                "status": "success",
                "error_message": None,
                "width": 24,
                "height": 24,
                "exif": '{"Image Make": "x"}',
                "sha256": "0" * 64,
            }
            colour = 30 * position, 40 * number, 9
            files |= {
                f"{key}.jpg": layouts.jpeg(colour),
                f"{key}.json": json.dumps(record, indent=4),
                f"{key}.txt": record["caption"],
            }
            table.append(record)
        table.append({"key": f"{number:05d}9999", "status": "failed_to_download"})
        shard(root / f"{number:05d}.tar", files)
        pq.write_table(pa.Table.from_pylist(table), root / f"{number:05d}.parquet")
        stats = {"count": samples, "successes": samples}
        (root / f"{number:05d}_stats.json").write_text(json.dumps(stats))


def unpack(root: Path) -> None:
    """Write a set as img2dataset does into folders in place of tars, which it does by default."""
    for path in root.rglob("*.tar"):
        with tarfile.open(path) as tar:
            tar.extractall(path.with_suffix(""), filter="data")
        path.unlink()


def labels(out: Path) -> dict[str, str]:
    """Return each training image's class by its id."""
    targets = Targets.load(out / "labels")
    ids = ImageSet.load(out / "images").ids()
    return {id: targets.names[targets[i][0].item()] for i, id in enumerate(ids)}


def test_a_set_of_img2dataset_is_recognised_and_read(tmp_path: Path) -> None:
    img2dataset(tmp_path / "data")

    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.0)

    assert labels(out) == {
        f"{number:05d}.tar/{number:05d}{position:04d}.jpg": CLASSES[position % 2]
        for number in range(2)
        for position in range(4)
    }
    assert rows(out)["00001.tar/000010003.jpg"] == {
        "id": "00001.tar/000010003.jpg",
        "title": "",
        "description": "a photo of a dog number 000010003",
        "tags": "",
        "source": "",
        "query": "",
        "rank": 0,
    }
    assert rejects(out) == []


def test_folders_of_img2dataset_are_no_classes(tmp_path: Path) -> None:
    img2dataset(tmp_path / "data")
    unpack(tmp_path / "data")
    (tmp_path / "data" / "00000" / "000000001.json").write_text("")

    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.0)

    assert labels(out) == {
        f"{number:05d}/{number:05d}{position:04d}.jpg": CLASSES[position % 2]
        for number in range(2)
        for position in range(4)
        if (number, position) != (0, 1)
    }
    assert rows(out)["00001/000010003.jpg"]["description"] == "a photo of a dog number 000010003"
    assert rejects(out) == [("train", "no label", "00000/000000001.jpg")]


def test_a_shard_that_is_there_packed_and_unpacked_is_read_once(tmp_path: Path) -> None:
    for name in ("data", "again"):
        img2dataset(tmp_path / name)
    unpack(tmp_path / "again")
    shutil.copytree(tmp_path / "again", tmp_path / "data", dirs_exist_ok=True)

    assert len(rows(run(tmp_path / "out", tmp_path / "data", validation_share=0.0))) == 8


def test_images_that_img2dataset_wrote_into_tables_are_refused(tmp_path: Path) -> None:
    img2dataset(tmp_path / "data")
    for path in (tmp_path / "data").glob("*.tar"):
        path.unlink()

    with pytest.raises(UserError, match="--output_format webdataset"):
        run(tmp_path / "out", tmp_path / "data")


def test_numbers_are_named_by_a_file_of_names(tmp_path: Path) -> None:
    files = [(f"{i}.{s}", c) for i in (0, 2) for s, c in (("jpg", JPEG), ("cls", str(i)))]
    shard(tmp_path / "data" / "0.tar", files)
    (tmp_path / "data" / "classnames.txt").write_text("red fox\nowl\ncrane\n")

    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.0)

    assert Targets.load(out / "labels").names == ["red fox", "owl", "crane"]
    assert labels(out) == {"0.tar/0.jpg": "red fox", "0.tar/2.jpg": "crane"}


def test_a_file_of_too_few_names_is_refused(tmp_path: Path) -> None:
    shard(tmp_path / "data" / "0.tar", {"0.jpg": JPEG, "0.cls": "2"})
    (tmp_path / "data" / "classnames.txt").write_text("red fox\nowl\n")

    with pytest.raises(UserError, match=r"classnames.txt: 2 lines, but there is a label 2"):
        run(tmp_path / "out", tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "message"), [("0.tar", "an HTML or XML page"), ("0.tar.gz", "compressed; unpack it")]
)
def test_archives_of_another_kind_alone_are_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_text("<html>404</html>")

    with pytest.raises(UserError, match=f"{name}: {message}"):
        run(tmp_path / "out", tmp_path / "data")


def test_what_is_understood_of_shards_is_said(tmp_path: Path) -> None:
    img2dataset(tmp_path / "data" / "train")
    shard(tmp_path / "data" / "val.tar", {"0.jpg": JPEG, "0.cls": "cat"})

    lines = survey(str(tmp_path / "data"))

    assert lines[1].endswith(
        "tar shards of samples, 2 for train; 1 for validation; labels from .cls or the JSON's "
        "label, class, class_name, category"
    )
    assert "texts       the JSON and .txt of samples; 8 have a text" in lines


@pytest.mark.usefixtures("nltk_data")
def test_the_texts_of_img2dataset_are_tagged(tmp_path: Path) -> None:
    img2dataset(tmp_path / "data", samples=12)
    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.0)

    outputs = {name: tmp_path / name for name in ("keywords", "report")}
    tagging(out / "texts.parquet", **outputs, min_images=2, max_share=0.9)

    assert set(Targets.load(tmp_path / "keywords").names) == {"cat", "dog"}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train/00000.tar", "val/00000.tar", "test/00000.tar"),
        ("train-00000.tar", "validation-00000.tar", "test-00000.tar"),
        ("Train/a.tar", "Valid/a.tar", "testing/a.tar"),
        ("imagenet1k-train-0000.tar", "imagenet1k-val-0.tar", "imagenet1k-test-0.tar"),
        ("train2017_000.tar", "val2017_000.tar", "test2017_000.tar"),
        ("test-run/training/1.tar", "test-run/valid/1.tar", "test-run/test/1.tar"),
    ],
)
def test_splits_are_known_by_the_names_of_shards_or_folders(
    tmp_path: Path, train: str, val: str, test: str
) -> None:
    data = tmp_path / "data"
    shard(
        data / train, {f"{i}.{s}": c for i in (0, 1) for s, c in (("jpg", JPEG), ("cls", str(i)))}
    )
    shard(data / val, {"0.jpg": JPEG, "0.cls": "1", "1.jpg": JPEG, "1.cls": "7"})
    shard(data / test, {"0.jpg": JPEG, "0.json": "{}"})

    out = run(tmp_path / "out", data)

    assert labels(out) == {f"{train}/0.jpg": "0", f"{train}/1.jpg": "1"}
    assert ImageSet.load(out / "evaluation" / VALIDATION).ids() == [f"{val}/0.jpg"]
    assert Targets.load(out / "evaluation" / LABELS)[0][0].tolist() == [1]
    assert ImageSet.load(out / "evaluation" / TEST).ids() == [f"{test}/0.jpg"]
    assert rejects(out) == [("validation", "unknown class", f"{val}/1.jpg")]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train-0.tar", "more-0.tar"], "train-0.tar is of the train split .* more-0.tar of none"),
        (["val/0.tar"], "shards for validation, but none for training"),
        (["train-test.tar"], "of which split is it, train or test"),
    ],
)
def test_splits_that_are_unclear_are_refused(
    tmp_path: Path, names: list[str], message: str
) -> None:
    for name in names:
        shard(tmp_path / "data" / name, {"0.jpg": JPEG, "0.cls": "1"})

    with pytest.raises(UserError, match=message):
        run(tmp_path / "out", tmp_path / "data")


@pytest.mark.parametrize(
    ("suffix", "content", "field", "label"),
    [
        ("cls", "3\n", "auto", "3"),
        ("cls", "\ufeff red\u3000 car ", "auto", "red car"),
        ("json", '{"label": 3}', "auto", "3"),
        ("json", '{"class": "cat"}', "auto", "cat"),
        ("json", '{"Class_Name": ["cat"]}', "auto", "cat"),
        ("json", '{"label": 3, "species": "tiger cat"}', "species", "tiger cat"),
        ("json", '{"species": 3.0}', "Species", "3"),
        ("meta.json", '{"label": "cat"}', "auto", "cat"),
    ],
)
def test_labels_are_read_from_cls_or_a_field(
    tmp_path: Path, suffix: str, content: str, field: str, label: str
) -> None:
    shard(tmp_path / "data" / "0.tar", {"0.jpg": JPEG, f"0.{suffix}": content})

    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.0, label_field=field)

    assert labels(out) == {"0.tar/0.jpg": label}


def test_classes_that_are_numbers_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    files = [(f"{i}.{s}", c) for i in (10, 9, 100) for s, c in (("jpg", JPEG), ("cls", str(i)))]
    shard(tmp_path / "data" / "0.tar", files)

    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.0)

    assert Targets.load(out / "labels").names == ["9", "10", "100"]


def test_texts_are_read_from_the_usual_fields(tmp_path: Path) -> None:
    record = {
        "label": "cat",
        "TITLE": "A  title",
        "caption": "a cat",
        "alt_text": "a cat",
        "description": ["on a sofa", "at home"],
        "keywords": "tabby cat, sofa",
        "query": "cats",
        "url": "https://example.org/x.jpg",
    }
    files = {"a/0.webp": JPEG, "a/0.json": json.dumps(record), "a/0.txt": "another caption\n"}
    shard(tmp_path / "data" / "0.tar", files)

    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.0)

    assert rows(out)["0.tar/a/0.webp"] == {
        "id": "0.tar/a/0.webp",
        "title": "A title",
        "description": "a cat on a sofa at home another caption",
        "tags": "tabby_cat sofa",
        "source": "",
        "query": "cats",
        "rank": 0,
    }


def _good(key: str) -> dict[str, bytes | str]:
    return {f"{key}.jpg": JPEG, f"{key}.json": '{"label": "cat", "caption": "a cat"}'}


@pytest.mark.parametrize(
    ("files", "kept", "wanted"),
    [
        ({"b.json": '{"label": "cat"}'}, [], [("missing image", "0.tar/b")]),
        (
            {"b.png": JPEG, "b.jpg": JPEG, "b.seg.png": JPEG, "b.cls": "cat"},
            ["0.tar/b.png"],
            [("repeated image", "b.jpg")],
        ),
        ({"b.npy": "x"}, [], [("missing image", "0.tar/b")]),
        ({"b.jpg": JPEG}, [], [("no label", "0.tar/b.jpg")]),
        ({"b.jpg": JPEG, "b.json": "<html>"}, [], [("no label", "0.tar/b.jpg")]),
        ({"b.jpg": JPEG, "b.json": "[1]"}, [], [("no label", "0.tar/b.jpg")]),
        (
            {"b.jpg": JPEG, "b.json": '{"label": ["x", "y"]}'},
            [],
            [("several labels", "0.tar/b.jpg")],
        ),
        ({"b.jpg": JPEG, "b.json": '{"label": NaN}'}, [], [("no label", "0.tar/b.jpg")]),
        ({"b.jpg": JPEG, "b.json": "[" * 9_999}, [], [("no label", "0.tar/b.jpg")]),
        ({"b.jpg": JPEG, "b.json": '{"label": ' + "9" * 9_999}, [], [("no label", "0.tar/b.jpg")]),
        (
            {"b.jpg": JPEG, "b.json": "<html>", "b.cls": "cat"},
            ["0.tar/b.jpg"],
            [("lost record", "0.tar/b.jpg")],
        ),
        (
            {"b.jpg": JPEG, "b.json": r'{"label": "cat", "title": "a \d"}'},
            ["0.tar/b.jpg"],
            [("repaired record", "0.tar/b.jpg")],
        ),
        ({"b.jpg": b"<html>", "b.cls": "cat"}, [], [("undecodable image", "0.tar/b.jpg")]),
        ({"b\nc.jpg": JPEG, "b\nc.cls": "cat"}, [], [("unreadable name", r"'0.tar/b\nc.jpg'")]),
        ({"._b.jpg": "x", "__b.cls": "cat"}, [], [("missing image", "0.tar/__b")]),
    ],
)
def test_what_cannot_be_read_is_a_reject_with_its_key(
    tmp_path: Path,
    files: dict[str, bytes | str],
    kept: list[str],
    wanted: list[tuple[str, str]],
) -> None:
    shard(tmp_path / "data" / "0.tar", _good("a") | files | _good("c"))

    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.0)

    assert sorted(labels(out)) == sorted(["0.tar/a.jpg", *kept, "0.tar/c.jpg"])
    assert [(kind, id) for _, kind, id in rejects(out)] == wanted


def test_a_file_that_is_there_twice_is_a_reject(tmp_path: Path) -> None:
    files = [*_good("a").items(), *_good("b").items(), *_good("a").items(), ("b.jpg", JPEG)]
    shard(tmp_path / "data" / "0.tar", files)

    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.0)

    assert sorted(labels(out)) == ["0.tar/a.jpg", "0.tar/b.jpg"]
    assert [(kind, id) for _, kind, id in rejects(out)] == [
        ("no label", "0.tar/b.jpg"),
        ("repeated file", "0.tar/a.jpg"),
    ]


def test_the_files_of_a_sample_need_not_be_beside_each_other(tmp_path: Path) -> None:
    files = {f"{i}.jpg": layouts.jpeg((i, 0, 0)) for i in range(9)}
    files |= {f"{i}.json": json.dumps({"label": CLASSES[i % 2]}).encode() for i in range(8, -1, -1)}
    shard(tmp_path / "data" / "0.tar", files)

    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.0)

    assert labels(out) == {f"0.tar/{i}.jpg": CLASSES[i % 2] for i in range(9)}


def test_names_of_images_may_have_dots(tmp_path: Path) -> None:
    files = {f"photo.{i}.{s}": c for i in (1, 2) for s, c in (("jpg", JPEG), ("cls", f"{i}"))}
    shard(tmp_path / "data" / "0.tar", files | {"x.input.png": JPEG, "x.cls": "2"})

    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.0)

    assert labels(out) == {
        "0.tar/photo.1.jpg": "1", "0.tar/photo.2.jpg": "2", "0.tar/x.input.png": "2"
    }  # fmt: skip


@pytest.mark.parametrize("cut", [700, 1_100, 2_000, 3_000, 4_000])
def test_a_shard_that_is_cut_gives_what_it_has(tmp_path: Path, cut: int) -> None:
    img2dataset(tmp_path / "data")
    path = tmp_path / "data" / "00001.tar"
    path.write_bytes(path.read_bytes()[:cut])

    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.0)

    assert 4 <= len(labels(out)) < 8
    assert "broken archive" in {kind for _, kind, _ in rejects(out)}


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    img2dataset(tmp_path / "data")
    (tmp_path / "data" / "00001.tar").write_text("<html>404</html>")

    with pytest.raises(UserError, match=r"00001.tar: an HTML or XML page"):
        run(tmp_path / "out", tmp_path / "data")


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("auto", "4 times no label, such as 0.tar/0.jpg: .*; no field of the JSON has classes"),
        ("species", "no single species; no field of the JSON has classes"),
    ],
)
def test_samples_without_labels_are_refused_with_the_fields_that_there_are(
    tmp_path: Path, field: str, message: str
) -> None:
    records = (json.dumps({"text": f"a cat {i}", "url": f"x{i}", "status": "ok"}) for i in range(4))
    files = {f"{i}.{s}": c for i, record in enumerate(records)
             for s, c in (("jpg", JPEG), ("json", record))}  # fmt: skip
    shard(tmp_path / "data" / "0.tar", files)

    with pytest.raises(UserError, match=message):
        run(tmp_path / "out", tmp_path / "data", label_field=field)


def test_archives_without_samples_are_refused(tmp_path: Path) -> None:
    shard(tmp_path / "data" / "0.tar", {})

    with pytest.raises(UserError, match="no samples in 1 tar archives"):
        run(tmp_path / "out", tmp_path / "data", layout="webdataset")
    (tmp_path / "data" / "0.tar").rename(tmp_path / "data" / "0.txt")
    with pytest.raises(UserError, match="no tar archives"):
        run(tmp_path / "out", tmp_path / "data", layout="webdataset")


def test_a_field_with_a_value_per_image_is_no_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webdataset, "MOST_CLASSES", 5)
    img2dataset(tmp_path / "data")

    with pytest.raises(UserError, match="label_field=url: 8 different labels"):
        run(tmp_path / "out", tmp_path / "data", label_field="url")


@pytest.mark.parametrize("layout", ["webvision", "folders", "classes"])
def test_a_field_of_labels_is_refused_where_none_is_read(
    many: Path, tmp_path: Path, layout: str
) -> None:
    with pytest.raises(UserError, match=f"label_field=species: with layout={layout}"):
        run(tmp_path / "out", many, layout=layout, label_field="species")


def test_folders_of_classes_with_an_archive_beside_them_stay_folders(
    many: Path, tmp_path: Path
) -> None:
    shard(many / "all.tar", {"train/class0/0.jpg": JPEG})
    (many / "more.tar").write_text("<html>404</html>")
    (many / "backup.tar.gz").write_bytes(b"\x1f\x8b")

    out = run(tmp_path / "out", many)

    assert Targets.load(out / "labels").names == ["class0", "class1", "class2"]


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("packed", [True, False])
def test_outputs_depend_neither_on_cores_nor_on_the_place(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    img2dataset(tmp_path / "data", shards=5, samples=12)
    if not packed:
        unpack(tmp_path / "data")
    place = upload(tmp_path / "data", f"{location}/sets/data")
    found = []
    for cores, data in ((1, str(tmp_path / "data")), (3, place)):
        monkeypatch.setattr(parallel, "cores", lambda cores=cores: cores)
        found.append(contents(run(tmp_path / f"out{cores}", data)))

    assert found[0] == found[1]


def test_classes_may_have_a_taxonomy(tmp_path: Path) -> None:
    img2dataset(tmp_path / "data")
    taxonomy = [{"wnid": name, "lemmas": [f"a {name}"], "gloss": "", "hypernyms": []}
                for name in CLASSES]  # fmt: skip
    (tmp_path / "data" / "info").mkdir()
    (tmp_path / "data" / "info" / "taxonomy.jsonl").write_text("\n".join(map(json.dumps, taxonomy)))

    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.0)

    assert Targets.load(out / "labels").titles == ["a cat", "a dog"]


def test_a_field_whose_values_repeat_is_proposed_for_the_labels(tmp_path: Path) -> None:
    records = (json.dumps({"kind": f"k{i % 2}", "text": f"a cat {i}", "n": None}) for i in range(4))
    files = {f"{i}.{s}": c for i, record in enumerate(records)
             for s, c in (("jpg", JPEG), ("json", record))}  # fmt: skip
    shard(tmp_path / "data" / "0.tar", files)

    with pytest.raises(UserError, match="set label_field to one of kind$"):
        run(tmp_path / "out", tmp_path / "data")


def test_numbered_folders_of_records_are_shards_without_statistics_too(tmp_path: Path) -> None:
    for i in range(8):
        folder = tmp_path / "data" / f"{i // 4:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:09d}.jpg").write_bytes(layouts.jpeg((20 * i, 9, 9)))
        record = {"label": CLASSES[i % 2], "caption": f"text {i}"}
        (folder / f"{i:09d}.json").write_text(json.dumps(record))

    out = run(tmp_path / "out", tmp_path / "data", validation_share=0.0)

    assert sorted(set(labels(out).values())) == sorted(CLASSES)
