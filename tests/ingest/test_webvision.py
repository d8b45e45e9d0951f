"""WebVision as people have it: in part, or packed in other ways than its authors did."""

import logging
import shutil
from pathlib import Path

import pytest

from components.shared.data.evaluation import LABELS
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.stage.errors import UserError
from tests.ingest import layouts
from tests.ingest.running import rejects, rows, run

pytestmark = pytest.mark.slow

_PAGE = b"<!DOCTYPE html><title>404 Not Found</title>"


@pytest.mark.parametrize("layout", ["tars", "folders", "renamed folders"])
@pytest.mark.parametrize("source", ["google", "flickr"])
def test_one_source_is_read_and_nothing_of_the_other(
    tmp_path: Path, layout: layouts.Layout, source: str
) -> None:
    layouts.webvision(tmp_path / "data", layout)
    if layout == "tars":  # what is not asked for may be damaged
        other = {"google": "flickr", "flickr": "google"}[source]
        (tmp_path / "data" / f"{other}.tar").write_bytes(_PAGE)

    out = run(tmp_path / "out", tmp_path / "data", sources=source)

    assert {row["source"] for row in rows(out).values()} == {source}
    assert len(rows(out)) == {"google": 2, "flickr": 6}[source]
    assert all(source in id or source == "google" for _, _, id in rejects(out))


def test_the_first_classes_are_read_and_nothing_is_said_of_the_others(tmp_path: Path) -> None:
    layouts.webvision(tmp_path / "data", "tars")

    out = run(tmp_path / "out", tmp_path / "data", sources="google", num_classes=1)

    labels = Targets.load(out / "labels")
    assert (labels.names, labels.titles) == (["zebra"], ["a zebra"])
    assert list(rows(out)) == ["google/q00001/-image1M.jpg"]
    assert ImageSet.load(out / "evaluation" / "validation").ids() == ["val000001.jpg"]
    assert Targets.load(out / "evaluation" / LABELS).names == ["zebra"]
    assert rejects(out) == [
        ("", "unlisted image", "google/q00001/-image2M.jpg"),
        ("", "unlisted image", "google/q00002/-image2M.jpg"),
        ("train", "missing image", "google/q00001/-image3M.jpg"),
        ("train", "repeated row", "google/q00001/-image1M.jpg"),
        ("train", "unreadable row", "google/q00002/-image2M.jpg nine"),
    ]


def test_more_classes_than_there_are_are_refused(tmp_path: Path) -> None:
    layouts.webvision(tmp_path / "data", "tars")

    with pytest.raises(UserError, match="num_classes=3: .* has 2 classes"):
        run(tmp_path / "out", tmp_path / "data", num_classes=3)


def test_sources_are_refused_where_there_are_none(many: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sources=google: .*many is not in WebVision's layout"):
        run(tmp_path / "out", many, sources="google")


@pytest.mark.parametrize("source", ["google", "flickr"])
def test_the_list_of_a_source_without_images_is_left_out(
    tmp_path: Path, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    layouts.webvision(tmp_path / "data", "folders")
    shutil.rmtree(tmp_path / "data" / source)

    with caplog.at_level(logging.WARNING):
        out = run(tmp_path / "out", tmp_path / "data")

    assert source not in {row["source"] for row in rows(out).values()}
    assert not [id for _, kind, id in rejects(out) if kind == "missing image" and source in id]
    assert f"no image of {source} is there" in caplog.text


@pytest.mark.parametrize("lists", ["", "info"])
@pytest.mark.parametrize("images", ["images", "train/images"])
def test_lists_may_be_at_the_root_and_images_in_other_folders(
    tmp_path: Path, lists: str, images: str
) -> None:
    layouts.webvision(tmp_path / "made", "folders")
    data = tmp_path / "data"
    shutil.copytree(tmp_path / "made", data / images)
    shutil.rmtree(data / images / "info")
    shutil.copytree(tmp_path / "made" / "info", data / lists, dirs_exist_ok=True)
    for source in ("google", "flickr"):
        (data / images / source).rename(data / images / f"{source}_resized_256")
    (data / images / "val").mkdir()
    for path in (data / images).glob("val0*.jpg"):
        path.rename(data / images / "val" / path.name)

    out = run(tmp_path / "out", data)

    assert len(rows(out)) == 8
    assert len(ImageSet.load(out / "evaluation" / "validation")) == 3


@pytest.mark.parametrize("layout", ["tars", "folders"])
def test_all_of_it_may_be_one_folder_down(tmp_path: Path, layout: layouts.Layout) -> None:
    layouts.webvision(tmp_path / "data" / "webvision", layout)

    assert len(rows(run(tmp_path / "out", tmp_path / "data"))) == 8


@pytest.mark.parametrize("source", ["google", "flickr"])
def test_a_list_that_is_missing_is_named(tmp_path: Path, source: str) -> None:
    layouts.webvision(tmp_path / "data", "folders")
    (tmp_path / "data" / "info" / f"train_filelist_{source}.txt").unlink()

    with pytest.raises(UserError, match=f"no info/train_filelist_{source}.txt: it says which"):
        run(tmp_path / "out", tmp_path / "data")


def test_images_of_google_without_lists_are_no_classes(tmp_path: Path) -> None:
    for name in ("google/q00001/1.jpg", "google/q00002/2.jpg", "val_images_256/val000001.jpg"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(layouts.jpeg((0, 0, 0)))
    (tmp_path / "data" / "synsets.txt").write_text("n02121620 cat\nn02084071 dog\n")

    with pytest.raises(UserError, match=r"no info/train_filelist_google.txt: .*info.tar"):
        run(tmp_path / "out", tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("google.tar", b"<html>404</html>", "an HTML or XML page, no tar: download it again"),
        ("info.tar", b"\n <!DOCTYPE html>" + 2_000 * b" ", "an HTML or XML page"),
        ("flickr.tar", b'{"error": "quota exceeded"}', "a JSON text"),
        ("google.tar", b"version https://git-lfs.github.com/spec/v1\noid", "run `git lfs pull`"),
        (
            "webvision_train_01.tar",
            b"\x1f\x8b" + 2_000 * b"x",
            "compressed by gzip, no tar: unpack",
        ),
        ("val_images_resized.tar", b"PK\x03\x04" + 2_000 * b"x", "a zip archive"),
        ("webvision_train_01.tar", b"", "an empty file"),
    ],
)
def test_what_is_no_archive_is_named_with_what_it_is(
    tmp_path: Path, name: str, content: bytes, what: str
) -> None:
    layouts.webvision(tmp_path / "data", "tars")
    (tmp_path / "data" / name).write_bytes(content)

    with pytest.raises(UserError, match=f"{name}: .*{what}"):
        run(tmp_path / "out", tmp_path / "data")


def test_a_damaged_archive_is_named_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layouts.webvision(tmp_path / "data", "tars")
    archive = tmp_path / "data" / "webvision_train_01.tar"
    archive.write_bytes(archive.read_bytes()[:1_300])

    with caplog.at_level(logging.WARNING):
        out = run(tmp_path / "out", tmp_path / "data")

    assert len(rows(out)) < 8
    assert ": webvision_train_01.tar, " in caplog.text
    assert "unexpected end of data" in caplog.text
