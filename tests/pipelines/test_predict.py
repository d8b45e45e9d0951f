import csv
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from components.ingest.encoding import stored
from components.shared.training.inference import Classifier, softmax
from components.shared.training.transforms import decoded, device, evaluation_crop, normalized
from pipelines import predict
from pipelines.prediction import pictures
from pipelines.run import models
from pipelines.run.record import RunRecord, TaskRecord
from tests import tiny_models
from tests.candidates import named
from tests.imports import imported
from tests.synthetic import coloured_squares

NAMES = ["red", "green", "blue", "grey", "pink", "mauve"]
SHARES = [0.05, 0.5, 0.25, 0.1, 0.02, 0.08]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, one of them below and without a suffix, and a file that is none."""
    (tmp_path / "holiday" / "day 1").mkdir(parents=True)
    one, two = coloured_squares(2, 48, seed=0)[0]
    one.save(tmp_path / "holiday" / "b.png")
    two.save(tmp_path / "holiday" / "day 1" / "a", "JPEG")
    (tmp_path / "holiday" / "notes.txt").write_text("sunny")
    (tmp_path / "holiday" / ".DS_Store").write_bytes(b"\0")
    return tmp_path / "holiday"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_models.save(tmp_path / "model", NAMES, probabilities=SHARES)


def run(*argv: object) -> int:
    """Run the command in this process; return its exit code."""
    with pytest.raises(SystemExit) as ended:
        predict.main([str(each) for each in argv])
    return int(ended.value.code or 0)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_prints_the_best_classes_of_each_picture(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model, "--images", folder) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [
        str(folder / "b.png"),
        "   50.0%  a green (green)",
        "   25.0%  a blue (blue)",
        "   10.0%  a grey (grey)",
        "    8.0%  a mauve (mauve)",
        "    5.0%  a red (red)",
    ]
    assert lines[6] == str(folder / "day 1" / "a")
    assert len(lines) == 12


def test_a_table_has_a_row_for_each_picture_whatever_its_format(
    folder: Path, model: Path, tmp_path: Path
) -> None:
    (folder / "c.jpg").write_bytes(b"\xff\xd8 not really")

    for ending in ("csv", "jsonl", "parquet"):
        output = tmp_path / "out" / f"table.{ending}"
        assert run(model, "--images", folder, "--output", output, "--top", 2) == 0

    first = {
        "path": str(folder / "b.png"),
        **{"class_1": "green", "title_1": "a green", "probability_1": 0.5},
        **{"class_2": "blue", "title_2": "a blue", "probability_2": 0.25},
        "error": None,
    }
    lines = (tmp_path / "out" / "table.jsonl").read_text().splitlines()
    found = list(map(json.loads, lines))
    assert found[0] == first and list(found[0]) == list(first)
    assert found[1]["path"] == str(folder / "c.jpg") and found[1]["class_1"] is None
    assert found[1]["error"].startswith("undecodable image")
    assert found[2]["path"] == str(folder / "day 1" / "a")
    assert pq.read_table(tmp_path / "out" / "table.parquet").to_pylist() == found
    as_text = [
        {
            key: "" if value is None else f"{value:.6f}" if isinstance(value, float) else value
            for key, value in row.items()
        }
        for row in found
    ]
    assert rows(tmp_path / "out" / "table.csv") == as_text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"table.{ending}" for ending in ("csv", "jsonl", "parquet")
    ]


def test_views_average_crops_of_a_picture_and_their_mirror_images(tmp_path: Path) -> None:
    (tmp_path / "whole.jpg").write_bytes(jpeg(tmp_path))
    model = Classifier.load(tiny_models.save(tmp_path / "model", NAMES))

    def seen(side: int, *shares: float) -> NDArray[np.float64]:
        """Return what the model says of crops and their mirror images, of a picture this large."""
        pixels = pictures.decoded(jpeg(tmp_path), side)
        crops = [evaluation_crop(pixels, 32, share) for share in shares]
        both = torch.stack([each for crop in crops for each in (crop, crop.flip(2))])
        with torch.inference_mode():
            return softmax(model.model, normalized(both, device())).cpu().numpy()

    upright, mirrored = seen(37, 0.875)  # 32 of these are shown
    several = seen(43, 1.0, 0.875, 0.75)  # and of these
    found = {}
    for views in ("one", "flip", "multi"):
        output = ("--output", tmp_path / f"{views}.csv", "--top", 6)
        arguments = ("--images", tmp_path / "whole.jpg", *output)
        assert run(tmp_path / "model", *arguments, "--views", views) == 0
        (row,) = rows(tmp_path / f"{views}.csv")
        shares = {row[f"class_{i}"]: float(row[f"probability_{i}"]) for i in range(1, 7)}
        found[views] = [shares[name] for name in NAMES]
    assert abs(upright - mirrored).max() > 0.001
    np.testing.assert_allclose(found["one"], upright, atol=1e-5)
    np.testing.assert_allclose(found["flip"], (upright + mirrored) / 2, atol=1e-5)
    np.testing.assert_allclose(found["multi"], several.mean(axis=0), atol=1e-5)


def test_rows_are_the_same_with_workers_and_without(tmp_path: Path) -> None:
    model = tiny_models.save(tmp_path / "model", NAMES)
    (tmp_path / "many").mkdir()
    for number, picture in enumerate(coloured_squares(3 * pictures.BATCH - 5, 32, seed=0)[0]):
        picture.save(tmp_path / "many" / f"{number:03}.png")
    for broken in (0, 70, 71, 130):
        (tmp_path / "many" / f"{broken:03}.png").write_bytes(b"\x89PNG")

    for workers in (0, 2):
        output = tmp_path / f"{workers}.csv"
        command = [sys.executable, "-m", "pipelines.predict", model, "--workers", workers]
        argv = [*command, "--images", tmp_path / "many", "--output", output]
        subprocess.run(list(map(str, argv)), check=True, cwd=ROOT)

    found = rows(tmp_path / "2.csv")
    assert [row["path"][-7:-4] for row in found] == [f"{number:03}" for number in range(187)]
    assert [int(row["path"][-7:-4]) for row in found if row["error"]] == [0, 70, 71, 130]
    assert len({row["class_1"] for row in found}) > 1
    assert (tmp_path / "0.csv").read_text() == (tmp_path / "2.csv").read_text()


def test_several_models_average_their_probabilities(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = tiny_models.save(tmp_path / "one", NAMES[:2], probabilities=[0.9, 0.1])
    two = tiny_models.save(tmp_path / "two", NAMES[:2], probabilities=[0.3, 0.7], image_size=48)

    run(one, two, "--images", folder / "b.png")

    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["   60.0%  a red (red)", "   40.0%  a green (green)"]


def test_a_run_is_used_by_its_best_model(
    folder: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = TaskRecord(
        name="finetune-net-wt",
        stage="finetune",
        step="finetune",
        candidate=named("net-wt"),
        dependencies=[],
        parameters={},
        outputs={"model": str(model)},
    )
    record = RunRecord(pipeline="p", recipe="r", parameters={}, started=0.0, tasks=[task])
    record.write(tmp_path)
    models.link(record, tmp_path)

    assert run(tmp_path, "--images", folder / "b.png", "--top", 1) == 0

    assert capsys.readouterr().out.splitlines()[1:] == ["   50.0%  a green (green)"]


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_picture_turned_by_exif_is_seen_upright(tmp_path: Path, ending: str) -> None:
    picture = Image.linear_gradient("L").resize((48, 48)).convert("RGB")  # dark at the top
    sideways = picture.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    picture.save(tmp_path / f"upright.{ending}", quality=95)
    sideways.save(tmp_path / f"turned.{ending}", exif=exif, quality=95)
    sideways.save(tmp_path / f"sideways.{ending}", quality=95)
    upright, turned, as_stored = (
        pictures.decoded((tmp_path / f"{name}.{ending}").read_bytes(), 48).float()
        for name in ("upright", "turned", "sideways")
    )
    assert (turned - upright).abs().mean() < 2
    assert (as_stored - upright).abs().mean() > 5


def jpeg(folder: Path) -> bytes:
    """Return a photograph's content, or a drawn one's."""
    picture = coloured_squares(1, 256, seed=0)[0][0]
    noise = np.random.default_rng(0).normal(0, 20, (256, 256, 3))
    noisy = np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(folder / "whole.jpg", quality=90)
    return (folder / "whole.jpg").read_bytes()


def test_the_short_way_sees_what_ingest_stores(tmp_path: Path) -> None:
    encoded = jpeg(tmp_path)
    found = pictures.decoded(encoded, 300)
    assert stored(encoded, 300) == encoded
    assert (found == decoded(memoryview(encoded))).all()


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_a_cut_jpeg_is_told_also_if_it_has_an_end_marker(
    tmp_path: Path, model: Path, end: bytes
) -> None:
    encoded = jpeg(tmp_path)
    (tmp_path / "cut.jpg").write_bytes(encoded[: len(encoded) // 2] + end)

    paths = [tmp_path / "cut.jpg", tmp_path / "whole.jpg"]
    assert run(model, "--images", *paths, "--output", tmp_path / "o.csv") == 0

    cut, whole = rows(tmp_path / "o.csv")
    assert cut["error"].startswith("truncated image")
    assert whole["error"] == ""


def test_unreadable_pictures_are_counted_and_ten_are_named(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "some").mkdir()
    coloured_squares(1, 32, seed=0)[0][0].save(tmp_path / "some" / "good.png")
    for number in range(13):
        (tmp_path / "some" / f"{number:02}.jpg").write_bytes(b"<html>")
    caplog.set_level(logging.INFO)

    assert run(model, "--images", tmp_path / "some", "--output", tmp_path / "o.csv") == 0

    told = [line for line in caplog.messages if "not readable" in line]
    assert [line.partition(":")[0][-6:] for line in told] == [f"{n:02}.jpg" for n in range(10)]
    assert "… and 3 more" in caplog.messages
    assert "13 could not be read" in caplog.messages[-1]


def test_if_no_picture_can_be_read_the_exit_code_is_one(tmp_path: Path, model: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"<html>")

    assert run(model, "--images", tmp_path / "a.jpg", "--output", tmp_path / "o.csv") == 1

    assert len(rows(tmp_path / "o.csv")) == 1


def test_spreadsheets_take_nothing_for_a_formula_and_paths_stay_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_models.save(tmp_path / "model", ["=1+1", "@sum"], probabilities=[0.9, 0.1])
    name = '=HYPERLINK("x")\n.png'
    coloured_squares(1, 32, seed=0)[0][0].save(name)

    assert run("model", "--images", name, "--output", "o.csv") == 0

    (row,) = rows(Path("o.csv"))
    assert row["path"] == f"./{name}" and Path(row["path"]).is_file()
    assert (row["class_1"], row["title_1"], row["class_2"]) == ("'=1+1", "a =1+1", "'@sum")


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path, model: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    coloured_squares(1, 32, seed=0)[0][0].save(tmp_path / "cafe.png")
    os.rename(tmp_path / "cafe.png", name)

    for ending in ("csv", "jsonl", "parquet"):
        output = tmp_path / f"o.{ending}"
        assert run(model, "--images", os.fsdecode(name), "--output", output) == 0

    assert rows(tmp_path / "o.csv")[0]["path"] == f"{tmp_path}/caf\\xe9.png"


def test_nothing_is_written_if_it_cannot_be_complete(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_models.save(tmp_path / "model", NAMES)
    (model / "model.safetensors").write_bytes(b"damaged")

    assert run(model, "--images", folder, "--output", tmp_path / "o.csv") == 2

    assert caplog.messages[-1].startswith(f"{model}: timm does not load these weights: ")
    assert not [path for path in tmp_path.iterdir() if "o.csv" in path.name]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["nosuch", "--images", "holiday"], "nosuch: no such folder"),
        (["holiday", "--images", "holiday"], "nor a whole model's: config.json, model"),
        (["run", "--images", "holiday"], "run: this run has no model yet"),
        (["model", "--images", "nosuch"], "nosuch: no such file or folder"),
        (["model", "--images", "texts"], "none is a JPEG, PNG"),
        (["model", "--images", "holiday", "--output", "x.txt"], ".csv or .jsonl or .parquet"),
        (["model", "--images", "holiday", "--output", "holiday.csv"], "this is a folder"),
        (["model", "--images", "holiday", "--top", "0"], "--top=0: must be at least 1 and at most"),
        (["model", "--images", "holiday", "--top", "9" * 5_000], "--top='999"),
        (["model", "--images", "holiday", "--workers", "-1"], "--workers=-1: must be at least 0"),
        (["model", "--images", "holiday", "--workers", "99999"], "and at most 1,024"),
        (["model", "other", "--images", "holiday"], "use classifiers of the same concepts"),
    ],
)
def test_what_the_user_can_put_right_is_one_sentence(
    argv: list[str],
    told: str,
    folder: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("texts", "holiday.csv", "run"):
        (tmp_path / name).mkdir()
    (tmp_path / "texts" / "a.txt").write_text("words")
    tiny_models.save(tmp_path / "other", ["cat", "dog"])
    RunRecord(pipeline="p", recipe="r", parameters={}, started=0.0).write(tmp_path / "run")

    assert run(*argv) == 2

    (message,) = caplog.messages
    assert told in message and "\n" not in message


def test_arguments_are_parsed_before_anything_slow_is_imported() -> None:
    code = "from pipelines.predict import arguments; arguments(['m', '--images', 'i'])"

    assert imported(code, {"torch", "numpy", "pyarrow", "kfp"}) == "set()"
