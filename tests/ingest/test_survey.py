"""What is understood of a data set is said before the long work, without reading an image."""

from pathlib import Path

import pytest

from components.ingest import survey
from components.shared.stage.errors import UserError
from tests.ingest import layouts
from tests.ingest.running import run
from tests.ingest.test_layouts import write

NO_IMAGE = b"\xff\xd8\xff but nothing that decodes"


def test_a_survey_says_what_a_person_can_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    for number in range(9):
        write(root, *(f"Train/class{number}/{i}.jpg" for i in range(number + 1)), content=NO_IMAGE)
    write(root, "Val/class0/0.jpg", "Val/class1/0.jpg", content=NO_IMAGE)
    write(root, "Train/class0/notes.txt", "Train/Thumbs.db", content=b"x")

    survey.main([str(root)])

    assert capsys.readouterr().out.splitlines() == [
        f"data set    {root}",
        "layout      Train/ is train; Val/ is validation; a folder per class",
        "classes     9, with training images: class0 1, class1 2, class2 3, …, class6 7, class7 8, "
        "class8 9",
        "train       45 images",
        "validation  2 images",
        "test        0 images",
        "texts       none",
        "left out    1 × not an image, such as Train/class0/notes.txt: by its file name or first "
        "bytes",
        "left out    1 × files and folders of systems, such as Thumbs.db",
    ]


def test_a_survey_says_that_one_class_is_not_enough(tmp_path: Path) -> None:
    write(tmp_path / "data", "cat/0.jpg", content=NO_IMAGE)

    with pytest.raises(UserError, match="'cat' is the only class"):
        survey.survey(str(tmp_path / "data"))
    lines = survey.survey(str(tmp_path / "data"), layout="folders")

    assert (
        "classes     1, with training images: cat 1; one class alone is nothing to tell apart"
        in lines
    )


def test_a_survey_of_webvision_names_what_is_left_out(tmp_path: Path) -> None:
    layouts.webvision(tmp_path / "data", "tars")

    lines = survey.survey(str(tmp_path / "data"), limit="1", validation_share=0)

    assert "layout      WebVision's lists" in lines
    assert "classes     2, with training images: zebra 1, rose 1" in lines
    assert [line.split(",")[0] for line in lines if line.startswith("left out")] == [
        "left out    1 × unreadable row",
        "left out    1 × missing image",
        "left out    1 × repeated row",
        "left out    7 × beyond the limit",
        "left out    2 × unlisted image",
    ]
    assert "google/q00001/-image1M.jpg 0: listed before" in "".join(lines)
    assert "google/q00002/-image2M.jpg: in no list" in "".join(lines)


def test_a_command_refuses_what_ingest_refuses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "data", "images/0.jpg")

    with pytest.raises(SystemExit, match="2"):
        survey.main([str(tmp_path / "data")])

    assert "1 images in images/, but no folders of classes" in caplog.text


def test_a_large_data_set_is_not_surveyed_by_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "data", "cat/0.jpg", "cat/1.jpg")
    monkeypatch.setattr(survey, "_MOST_FILES", 1)

    given = str(tmp_path / "data"), {"layout": "auto", "image_side": 9}
    (line,), images = survey.survey_if_small(*given)
    assert images == 0

    assert "python -m components.ingest.survey" in line
    with pytest.raises(UserError, match="no folders of classes"):
        write(tmp_path / "more", "images/0.jpg")
        survey.survey_if_small(str(tmp_path / "more"), {"layout": "auto", "image_side": 9})


@pytest.mark.slow
def test_ingest_logs_its_survey(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "data", *(f"{name}/{i}.jpg" for name in "ab" for i in range(40)))
    caplog.set_level("INFO", "components")

    run(tmp_path / "out", tmp_path / "data")

    assert "layout      a folder per class" in caplog.text
