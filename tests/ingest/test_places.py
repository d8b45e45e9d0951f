"""Data set and store on S3 or local: the same outputs, and nothing left of an ingest that ended."""

from pathlib import Path

import pytest

from components.shared.stage.errors import UserError
from tests.ingest import layouts
from tests.ingest.running import contents, in_store, named, rejects, run, upload


def _write(data: Path, layout: str) -> None:
    if layout == "webvision tars":
        layouts.webvision(data, "tars")
        (data / "webvision_train_02.tar").write_bytes(b"no archive")
        return
    if layout == "webvision folders":
        layouts.webvision(data, "folders")
        return
    names = ["train/a cat/1.jpg", "train/a-cat/1.jpg", "train/a cat/deep/er/2.jpg"]
    names += [f"train/dog/{i}.JPG" for i in range(40)] + ["val/dog/5.jpg", "val/bird/6.jpg"]
    names += ["test/7.jpg", "test/below/8.jpg", "train/.hidden/9.jpg", "train/10.jpg", "x/11.jpg"]
    for number, name in enumerate(names):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(layouts.jpeg((number, 0, 0)))
    for name in ("test/7.jpg", "test/below/8.jpg", "train/dog/3.JPG"):
        (data / name).write_text("<html>")  # of the test split no image is left
    (data / "train/dog/notes.txt").write_text("no image")
    (data / "captions.csv").write_text("path,title\ntrain/dog/1.JPG,a dog\nnowhere.jpg,t\n")


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("layout", ["webvision tars", "webvision folders", "own folders"])
def test_outputs_do_not_depend_on_where_data_set_and_store_are(
    bucket: str, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    _write(tmp_path / "data", layout)
    positions = [str(tmp_path / "data"), upload(tmp_path / "data", f"{bucket}/sets/data") + "/"]
    found = []
    for number, data in enumerate(positions):
        for location in (str(store), f"{bucket}/store"):
            monkeypatch.setenv("WEBLY_STORE", f"{location}{number}")
            out = run(tmp_path / f"out{len(found)}", data, image_side=16)
            found.append(contents(out))
            assert sorted(in_store(f"{location}{number}")) == sorted(named(out))

    assert len([name for name in found[0] if name.endswith(".tar")]) >= 3
    assert len(rejects(tmp_path / "out0")) >= 6
    assert all(other == found[0] for other in found[1:])


def test_a_data_set_that_is_not_there_is_named(location: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{location}/nowhere: no such folder, or no files in it"):
        run(tmp_path / "out", f"{location}/nowhere")
