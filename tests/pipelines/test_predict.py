from pathlib import Path

import pytest
from PIL import Image

from components.shared.stage.errors import UserError
from pipelines import predict
from tests import tiny_models
from tests.synthetic import coloured_squares

NAMES = ["red", "green", "blue", "grey", "pink", "mauve"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, one of them below, and a file that is none."""
    (tmp_path / "holiday" / "day 1").mkdir(parents=True)
    for path, picture in zip(
        ["b.png", "day 1/a.JPG"], coloured_squares(2, 48, seed=0)[0], strict=True
    ):
        picture.save(tmp_path / "holiday" / path)
    (tmp_path / "holiday" / "notes.txt").write_text("sunny")
    return tmp_path / "holiday"


def test_prints_the_five_best_classes_of_each_picture(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shares = [0.05, 0.5, 0.25, 0.1, 0.02, 0.08]
    model = tiny_models.save(tmp_path / "model", NAMES, probabilities=shares)
    predict.main([str(model), "--images", str(folder)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(folder / "b.png")
    assert lines[1:6] == [
        "   50.0%  a green (green)",
        "   25.0%  a blue (blue)",
        "   10.0%  a grey (grey)",
        "    8.0%  a mauve (mauve)",
        "    5.0%  a red (red)",
    ]
    assert lines[6] == str(folder / "day 1" / "a.JPG")
    assert len(lines) == 12


def test_several_models_average_their_probabilities(folder: Path, tmp_path: Path) -> None:
    one = tiny_models.save(tmp_path / "one", NAMES[:2], probabilities=[0.9, 0.1])
    two = tiny_models.save(tmp_path / "two", NAMES[:2], probabilities=[0.3, 0.7], image_size=48)
    lines = list(predict.predictions([one, two], [folder / "b.png"]))
    assert lines[1:] == ["   60.0%  a red (red)", "   40.0%  a green (green)"]


def test_a_picture_turned_by_exif_is_seen_upright(tmp_path: Path) -> None:
    picture = coloured_squares(1, 48, seed=0)[0][0]
    sideways = picture.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    picture.save(tmp_path / "upright.png")
    sideways.save(tmp_path / "turned.png", exif=exif)
    sideways.save(tmp_path / "sideways.png")
    model = tiny_models.save(tmp_path / "model", NAMES[:2])
    upright, turned, as_stored = (
        list(predict.predictions([model], [tmp_path / f"{name}.png"]))[1:]
        for name in ("upright", "turned", "sideways")
    )
    assert turned == upright
    assert as_stored != upright


def test_an_unreadable_picture_does_not_end_the_others(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_models.save(tmp_path / "model", NAMES[:2], probabilities=[0.9, 0.1])
    (folder / "a.jpg").write_bytes(b"\xff\xd8 not really")
    lines = list(predict.predictions([model], predict.find([folder])))
    assert "a.jpg: not a readable picture" in caplog.text
    assert lines.count("   90.0%  a red (red)") == 2


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pictures there"):
        predict.find([tmp_path])


def test_a_model_that_is_none_ends_with_exit_code_two(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        predict.main([str(tmp_path), "--images", str(folder)])
    assert ended.value.code == 2
