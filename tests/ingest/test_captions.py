"""Texts around people's own images, in tables as people have them."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest import tables, wording
from components.ingest.dataset import DataSet, Text
from components.shared.stage.errors import UserError
from tests.ingest.test_layouts import ids, read, write

IMAGES = ["cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/9.jpg"]


def texts(data: DataSet) -> dict[str, Text]:
    found = {id: data.text(id, "") for split in ids(data).values() for id in split}
    return {id: text for id, text in found.items() if text != Text()}


def titles(data: DataSet) -> dict[str, str]:
    return {id: text.title or text.description for id, text in texts(data).items()}


def with_table(root: Path, content: str | bytes, name: str = "captions.csv") -> DataSet:
    write(root, *IMAGES)
    write(root, name, content=content.encode() if isinstance(content, str) else content)
    return read(root)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("captions.csv", "path,title\ncat/0.jpg,one\ndog/0.jpg,two\n"),
        ("captions.csv", "path, title\r\ncat/0.jpg, one\r\ndog/0.jpg, two"),
        ("captions.csv", "File Name;Title\ncat/0.jpg;one\ndog/0.jpg;two\n"),
        ("captions.txt", "image|comment_number|comment\ncat/0.jpg|0|one\ndog/0.jpg|0|two\n"),
        ("metadata.tsv", "filename\talt_text\ncat/0.jpg\tone\ndog/0.jpg\ttwo\n"),
        ("info/captions.csv", "id,image,caption\n1,cat/0.jpg,one\n9,dog/0.jpg,two\n"),
        ("export.csv", "nr,photograph,caption\n1,cat/0.jpg,one\n2,dog/0.jpg,two\n"),
        ("captions.csv", "path,title,title\ncat/0.jpg,one,one\ndog/0.jpg,two,\n"),
        ("captions.jsonl", '{"file_name":"cat/0.jpg","text":"one"}\n\n'
                           '{"file_name":"dog/0.jpg","text":"two","more":1}\n'),
        ("captions.json", '[{"path":"cat/0.jpg","text":"one"},{"path":"dog/0.jpg","text":"two"}]'),
        ("captions.json", '{"cat/0.jpg":"one","dog/0.jpg":"two"}'),
        ("annotations/captions_train.json",
         '{"images":[{"id":7,"file_name":"cat/0.jpg"},{"id":8,"file_name":"dog/0.jpg"}],'
         '"annotations":[{"image_id":8,"caption":"two"},{"image_id":7,"caption":"one"}]}'),
        ("cat/metadata.csv", "file_name,text\n0.jpg,one\n../dog/0.jpg,two\n../dog/8.jpg,x\n"),
    ],
)  # fmt: skip
def test_captions_are_found_by_usual_names_of_files_and_columns(
    tmp_path: Path, name: str, content: str
) -> None:
    data = with_table(tmp_path / "data", content, name)

    assert titles(data) == {"cat/0.jpg": "one", "dog/0.jpg": "two"}
    assert f"2 of {3 if 'cat/' in name else 2} rows of {name} belong to images" in data.about_texts
    assert "2 of 4 images have a text" in data.about_texts


@pytest.mark.parametrize(
    ("value", "image"),
    [
        ("./cat/0.jpg", "cat/0.jpg"),
        ("/cat//0.jpg", "cat/0.jpg"),
        ("cat\\0.jpg", "cat/0.jpg"),
        ("cat/0.jpg#3", "cat/0.jpg"),
        ("{root}/cat/0.jpg", "cat/0.jpg"),
        ("file://{root}/cat/0.jpg", "cat/0.jpg"),
        ("9.jpg", "dog/9.jpg"),
        ("/elsewhere/photos/9.jpg", "dog/9.jpg"),
        ("cat/0", "cat/0.jpg"),
        ("9", "dog/9.jpg"),
    ],
)
def test_an_image_is_known_by_its_path_in_any_form(tmp_path: Path, value: str, image: str) -> None:
    written = value.format(root=tmp_path / "data")

    data = with_table(tmp_path / "data", f"path,title\n{written},yes\n")

    assert titles(data) == {image: "yes"}


def test_a_path_that_does_not_fit_is_not_taken_for_another_image_of_that_name(
    tmp_path: Path,
) -> None:
    data = with_table(tmp_path / "data", "path,title\ncat/0.jpg,one\ncat/9.jpg,a cat\n")

    assert titles(data) == {"cat/0.jpg": "one"}


def test_paths_may_leave_out_the_folder_of_the_split(tmp_path: Path) -> None:
    for split in ("train", "val"):
        names = ("cat/0.jpg", f"cat/{split}.jpg", "dog/1.jpg")
        write(tmp_path / "data", *(f"images/{split}/{name}" for name in names))
    table = "path,title\ncat/train.jpg,yes\ncat/val.jpg,yes\ncat/0.jpg,which\n"
    write(tmp_path / "data", "captions.csv", content=table.encode())

    found = titles(read(tmp_path / "data"))

    assert set(found) == {"images/train/cat/train.jpg", "images/val/cat/val.jpg"}


def test_letters_may_be_composed_or_not_and_encoded(tmp_path: Path) -> None:
    names = ["cafe\u0301/0.jpg", "caf\u00e9/1.jpg", "ice cream/2.jpg"]
    write(tmp_path / "data", *names)
    table = "path,title\ncaf\u00e9/0.jpg,a\ncafe\u0301/1.jpg,b\nice%20cream/2.jpg,c\n"
    write(tmp_path / "data", "captions.csv", content=table.encode())

    assert titles(read(tmp_path / "data")) == dict(zip(names, "abc", strict=True))


def test_several_captions_of_an_image_are_joined(tmp_path: Path) -> None:
    data = with_table(
        tmp_path / "data",
        "path,caption,alt,tags\ncat/0.jpg,A cat,Puss,a;b c\ncat/0.jpg,It sits,A cat,a\n",
    )

    assert texts(data)["cat/0.jpg"] == Text(description="A cat Puss It sits A cat", tags="a b_c")


def test_tables_of_several_folders_are_read(tmp_path: Path) -> None:
    write(tmp_path / "data", "train/a/0.jpg", "train/b/0.jpg", "test/a/0.jpg")
    for split in ("train", "test"):
        row = {"file_name": "a/0.jpg", "text": split}
        write(tmp_path / "data", f"{split}/metadata.jsonl", content=json.dumps(row).encode())

    data = read(tmp_path / "data")

    assert titles(data) == {"train/a/0.jpg": "train", "test/a/0.jpg": "test"}
    assert data.rejects == []


def test_texts_beside_images_are_read_unless_they_are_boxes(tmp_path: Path) -> None:
    write(tmp_path / "data", *IMAGES)
    for name, text in (("cat/0", " a cat\n"), ("cat/1", "0 0.5 0.5 1 1"), ("cat/notes", "none")):
        write(tmp_path / "data", f"{name}.txt", content=text.encode())
    write(tmp_path / "data", "captions.csv", content=b"path,title\ncat/0.jpg,Puss")

    data = read(tmp_path / "data")

    assert texts(data) == {"cat/0.jpg": Text(title="Puss", description="a cat")}
    assert "2 files .txt beside images" in data.about_texts
    assert [reject.id for reject in data.rejects] == ["cat/notes.txt"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_texts_beside_images_are_decoded_as_tables_are(tmp_path: Path, encoding: str) -> None:
    write(tmp_path / "data", *IMAGES)
    write(tmp_path / "data", "cat/0.txt", content="a café".encode(encoding))

    assert titles(read(tmp_path / "data")) == {"cat/0.jpg": "a café"}


def test_records_and_captions_beside_images_are_read(tmp_path: Path) -> None:
    write(tmp_path / "data", *IMAGES)
    records = {
        "cat/0.jpg.json": {"title": "IMG.jpg", "description": "a cat", "creationTime": {"a": 1}},
        "cat/1.json": {"title": "Puss", "tags": ["tabby", "red sofa"]},
        "cat/metadata.json": {"title": "Cats", "description": "", "access": "private"},  # an album
    }
    for name, record in records.items():
        write(tmp_path / "data", name, content=json.dumps(record).encode())
    write(tmp_path / "data", "dog/0.caption", content=b"a dog")

    data = read(tmp_path / "data")

    assert texts(data) == {
        "cat/0.jpg": Text(title="IMG.jpg", description="a cat"),
        "cat/1.jpg": Text(title="Puss", tags="tabby red_sofa"),
        "dog/0.jpg": Text(description="a dog"),
    }
    assert "2 files .json beside images" in data.about_texts
    assert "cat/metadata.json is not read: it is one record" in data.about_texts


def test_what_excel_writes_above_a_header_is_its_delimiter(tmp_path: Path) -> None:
    data = with_table(tmp_path / "data", 'sep=|\npath|title\ncat/0.jpg|a; cat, too\n"x|y\n')

    assert titles(data) == {"cat/0.jpg": "a; cat, too"}
    assert "line 4" in data.rejects[0].detail


def utf16(text: str) -> bytes:
    return text.encode("utf-16")


def little_endian(text: str) -> bytes:
    return text.encode("utf-16-le")


def latin1(text: str) -> bytes:
    return text.encode("latin-1")


def with_mark(text: str) -> bytes:
    return text.encode("utf-8-sig")


def of_an_old_mac(text: str) -> bytes:
    return text.replace("\n", "\r").encode()


@pytest.mark.parametrize("encoded", [utf16, little_endian, latin1, with_mark, of_an_old_mac])
def test_texts_in_other_encodings_are_read(tmp_path: Path, encoded: Callable[[str], bytes]) -> None:
    data = with_table(tmp_path / "data", encoded("path,title\ncat/0.jpg,café\ndog/0.jpg,b\n"))

    assert titles(data) == {"cat/0.jpg": "café", "dog/0.jpg": "b"}


@pytest.mark.parametrize(
    ("name", "bad", "line"),
    [
        ("captions.csv", 'cat/1.jpg,"open', 3),
        ("captions.csv", 'cat/1.jpg,"a "b" c"', 3),
        ("captions.csv", "cat/1.jpg,a, b", 3),
        ("captions.jsonl", '{"path":"cat/1.jpg","title":', 3),
        ("captions.jsonl", "[1]", 3),
        ("captions.jsonl", "[" * 100_000, 3),
    ],
)
def test_a_bad_line_is_one_reject_and_the_others_are_read(
    tmp_path: Path, name: str, bad: str, line: int
) -> None:
    lines = ["path,title", "cat/0.jpg,one", bad, "dog/0.jpg,two", 'dog/9.jpg,"the last"']
    if name.endswith(".jsonl"):
        pairs = ("cat/0.jpg", "one"), ("dog/0.jpg", "two"), ("dog/9.jpg", "the last")
        one, two, last = (json.dumps({"path": path, "title": title}) for path, title in pairs)
        lines = ["", one, bad, two, last]

    data = with_table(tmp_path / "data", "\n".join(lines), name)

    assert titles(data) == {"cat/0.jpg": "one", "dog/0.jpg": "two", "dog/9.jpg": "the last"}
    (reject,) = data.rejects
    assert (reject.kind, reject.source) == ("unreadable caption", name)
    assert reject.detail.startswith(f"line {line}: ")


def test_a_field_may_be_of_any_length_and_of_several_lines(tmp_path: Path) -> None:
    data = with_table(
        tmp_path / "data", f'path,title\ncat/0.jpg,{"x" * 200_000}\ndog/0.jpg,"a\nb"\ncat/1.jpg,c\n'
    )

    assert len(titles(data)["cat/0.jpg"]) == 200_000
    assert (titles(data)["dog/0.jpg"], titles(data)["cat/1.jpg"]) == ("a\nb", "c")


def test_half_of_a_character_is_repaired(tmp_path: Path) -> None:
    data = with_table(
        tmp_path / "data",
        r"""{"path":"cat/0.jpg","title":"a \ud83d cat"}
        {"path":"\ud83d.jpg","title":""}""",
        "captions.jsonl",
    )

    assert titles(data) == {"cat/0.jpg": "a ? cat"}
    assert {reject.kind for reject in data.rejects} == {"repaired record", "caption of no image"}


def test_captions_of_few_images_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = with_table(tmp_path / "data", "path,title\ncat/0.jpg,a\nx/1.jpg,b\nx/2.jpg,c\n")

    assert titles(data) == {"cat/0.jpg": "a"}
    assert "1 of 3 rows of captions.csv belong to images: it has 'x/1.jpg', but an image is " \
        "'cat/0.jpg'" in caplog.text  # fmt: skip
    assert [(each.kind, each.id) for each in data.rejects] == [
        ("caption of no image", "x/1.jpg"),
        ("caption of no image", "x/2.jpg"),
    ]


def test_of_many_rejects_the_first_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MOST_REJECTS", 2)

    data = with_table(tmp_path / "data", "path,title\ncat/0.jpg,a\n" + "x.jpg,b\n" * 5)

    assert [each.detail for each in data.rejects] == [
        "line 3: no such image", "line 4: no such image", "3 more such lines"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("captions.csv", "path,title\n0.jpg,a\n/data/cat/0.jpg,b\n",
         "0 of 2 rows of captions.csv belong to images, by its column path: it has '0.jpg', but an "
         "image is 'cat/0.jpg'"),
        ("captions.csv", "where,title\nhere,a\n", "none of its columns .where, title."),
        ("captions.csv", "", "captions.csv: empty"),
        ("captions.csv", "path,title\n", "it has no rows"),
        ("captions.csv", "path,title\ncat/0.jpg,a, b\n", "line 2: 3 fields, but the header has 2"),
        ("captions.parquet", "no Parquet", "captions.parquet: cannot be read as Parquet"),
        ("captions.json", "{", "captions.json: no JSON"),
    ],
)  # fmt: skip
def test_captions_that_are_of_no_use_are_refused(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        with_table(tmp_path / "data", content, name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("results.csv", "epoch,name,text\n1,x,y\n"),
        ("labels.csv", "path,label\ncat/0.jpg,1\n"),
        ("notes.txt", "path,title\ncat/0.jpg,a\n"),
        ("coco.json", '{"images":[]}'),
    ],
)
def test_other_tables_are_left_alone(tmp_path: Path, name: str, content: str) -> None:
    assert with_table(tmp_path / "data", content, name).about_texts == "none"


def test_a_table_without_texts_is_said_not_to_be_read(tmp_path: Path) -> None:
    data = with_table(tmp_path / "data", "file_name,label\ncat/0.jpg,1\n", "metadata.csv")

    assert data.about_texts == "metadata.csv has none: no column title, caption or tags"


def test_parquet_may_hold_lists_and_dates_that_python_does_not_know(tmp_path: Path) -> None:
    write(tmp_path / "data", *IMAGES)
    dates = pa.array([2**60], pa.timestamp("ms"))
    columns = {"path": ["cat/0.jpg"], "tags": [["red", "soft fur"]], "title": dates}
    pq.write_table(pa.table(columns), tmp_path / "data" / "captions.parquet")

    assert texts(read(tmp_path / "data"))["cat/0.jpg"].tags == "red soft_fur"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a cat", "a cat"),
        ("nan", ""),
        (float("nan"), ""),
        (None, ""),
        ("NULL", ""),
        ("a%20cat%21", "a cat!"),
        ("caf%C3%A9+au+lait", "café au lait"),
        ("50% off", "50% off"),
        ("50%de rabais", "50%de rabais"),
        ('{"raw": "a cat", "id": 5}', "a cat"),
        ('["a cat", "on a sofa"]', "a cat on a sofa"),
        ("['a cat', 'it\\'s']", "a cat it's"),
        ("[sic]", "[sic]"),
        ("[" * 50_000 + "]" * 50_000, "[" * 50_000 + "]" * 50_000),
        (17, "17"),
    ],
)
def test_of_a_caption_only_words_are_left(value: object, expected: str) -> None:
    assert wording.words(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("red car", "red car"),
        ("golden retriever, dog", "golden_retriever dog"),
        ("tabby; soft fur", "tabby soft_fur"),
        ('["tabby", "soft fur"]', "tabby soft_fur"),
        ("['tabby', 'nan']", "tabby"),
        (["tabby", None, "soft fur"], "tabby soft_fur"),
        ("nan", ""),
        ("soft%20fur,cat", "soft_fur cat"),
    ],
)
def test_tags_are_separated_in_the_usual_ways(value: object, expected: str) -> None:
    assert wording.tags(value) == expected
