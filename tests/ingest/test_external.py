"""Another data set's images of the same classes, which classifiers are evaluated on, too."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from components.ingest import assembly, survey
from components.shared.data.evaluation import Evaluation
from components.shared.data.targets import Targets
from components.shared.stage import metadata
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem
from tests import mini_webvision
from tests.ingest import layouts
from tests.ingest.running import contents, in_store, named, rejects, rows, run
from tests.ingest.test_layouts import write
from tests.mini_webvision import KEPT, OTHERS, WNIDS

MINI: dict[str, Any] = {"sources": "google", "num_classes": 3}


def external(out: Path) -> dict[str, str]:
    """Return the class of each external validation image by its id."""
    found = Evaluation.load(out / "evaluation").external
    assert found
    names = [found.labels.names[label] for label in found.labels.classes]
    return dict(zip(found.images.ids(), names, strict=True))


@pytest.mark.slow
def test_mini_webvision_has_imagenets_validation_images_of_its_classes(tmp_path: Path) -> None:
    webvision, imagenet = mini_webvision.write(tmp_path)

    out = run(tmp_path / "out", webvision, **MINI, external_validation=str(imagenet))

    evaluation = Evaluation.load(out / "evaluation")
    assert evaluation.external
    assert evaluation.external.title == "imagenet"
    assert evaluation.external.labels.names == evaluation.labels.names == KEPT
    expected = {str(path.relative_to(imagenet)): path.parent.name for path in imagenet.glob("*/*")}
    assert external(out) == {id: wnid for id, wnid in expected.items() if wnid in KEPT}
    assert len(evaluation.images) == 3 * mini_webvision.VALIDATED
    assert len(evaluation.test) == 0
    for number, id in enumerate(evaluation.external.images.ids()):
        assert evaluation.external.images.read(number) == (imagenet / id).read_bytes()
    assert Targets.load(out / "labels").names == KEPT
    assert {id.partition("/")[0] for id in rows(out)} == {"google"}
    assert rejects(out) == []
    counts = metadata.read(out / "images")
    assert counts["external_images"] == len(external(out)) == 3 * mini_webvision.EXTERNAL
    assert "<td>external</td>" in (out / "report.html").read_text()


@pytest.mark.slow
def test_it_changes_nothing_else(tmp_path: Path) -> None:
    webvision, imagenet = mini_webvision.write(tmp_path)

    without = contents(run(tmp_path / "without", webvision, **MINI))
    beside = contents(run(tmp_path / "with", webvision, **MINI, external_validation=str(imagenet)))

    assert not any("external" in name for name in without)
    added = beside.keys() - without.keys()
    assert all("external" in name for name in added) and added
    told = {name for name in without if without[name] != beside[name]}
    assert told == {"images.metadata.json", "images/rejects.parquet", "report.html"}


def photographs(root: Path, *names: str) -> None:
    write(root, *names, content=layouts.jpeg((90, 120, 30)))


IN_FOLDERS = {"cat/0.jpg": "cat", "dog/1.jpg": "dog"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "expected", "words"),
    [
        ([*IN_FOLDERS, "owl/2.jpg"], IN_FOLDERS, "but for 1 of 1 other classes"),
        (
            ["train/cat/0.jpg", "train/dog/1.jpg", "val/cat/0.jpg", "val/dog/2.jpg"],
            {"val/cat/0.jpg": "cat", "val/dog/2.jpg": "dog"},
            "a folder per class; those of validation",
        ),
        (
            ["train/cat/0.jpg", "train/dog/1.jpg", "test/2.jpg"],
            {"train/cat/0.jpg": "cat", "train/dog/1.jpg": "dog"},
            "a folder per class; those of train",
        ),
        (
            ["0.jpg", "1.jpg", "labels.csv"],
            {"0.jpg": "cat", "1.jpg": "dog"},
            "labels.csv",
        ),
    ],
    ids=["folders", "with validation", "without", "table"],
)
def test_the_other_data_set_may_have_any_layout(
    tmp_path: Path, files: list[str], expected: dict[str, str], words: str
) -> None:
    # With the same ids as the other's.
    photographs(
        tmp_path / "data", *(f"{kind}/{i}.jpg" for kind in ("dog", "cat") for i in range(9))
    )
    photographs(tmp_path / "other", *(name for name in files if name.endswith(".jpg")))
    if "labels.csv" in files:
        (tmp_path / "other" / "labels.csv").write_text("image,label\n0.jpg,cat\n1.jpg,dog\n")
    given = {"external_validation": str(tmp_path / "other")}

    lines = survey.survey(str(tmp_path / "data"), **given)
    out = run(tmp_path / "out", tmp_path / "data", **given)

    assert external(out) == expected
    assert len(rows(out)) == 14  # of 18, as four were held out
    (line,) = (line for line in lines if line.startswith("external "))
    assert line.startswith(f"external    {len(expected)} images of other: ")
    assert words in line
    assert rejects(out) == []


def test_a_survey_says_what_is_taken_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    webvision, imagenet = mini_webvision.write(tmp_path)
    for path in (imagenet / KEPT[1]).iterdir():
        path.unlink()

    survey.main(
        [str(webvision), "--num_classes=3", "--sources=google", f"--external_validation={imagenet}"]
    )

    lines = capsys.readouterr().out.splitlines()
    assert lines[2:7] == [
        "classes     3, with training images: n00000004 12, n00000003 12, n00000005 12",
        "train       36 images",
        "validation  12 images",
        "test        0 images",
        "external    6 images of imagenet: a folder per class, but for 21 of 5 other classes",
    ]
    assert not any(line.startswith("left out") for line in lines)
    assert (
        "external_validation: 1 of 3 classes have no image there, and are left out of its "
        "averages: n00000003" in caplog.text
    )


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        (
            [f"{name}/0.jpg" for name in OTHERS],
            r"external_validation=.*/other: 2 images for train of n00000000, n00000009 "
            r"\(2 classes\), but none of the data set's classes, n00000004, n00000003, n00000005 "
            r"\(3 classes\): name its folders",
        ),
        ([], "external_validation: .*/other: no such folder, or no files in it"),
        (["0.jpg"], "external_validation: .*/other/: 1 images, but no folders there"),
        (
            [f"val/{name}/0.jpg" for name in WNIDS],
            "external_validation: .*/val/: a split, but there is no .*give the folder that holds",
        ),
    ],
    ids=["other classes", "nothing", "no classes", "validation alone"],
)
def test_what_has_none_of_the_classes_is_refused_before_anything_is_read(
    tmp_path: Path, files: list[str], complaint: str
) -> None:
    webvision, _ = mini_webvision.write(tmp_path)
    write(tmp_path / "other", *files)
    given = {**MINI, "external_validation": str(tmp_path / "other")}

    with pytest.raises(UserError, match=complaint):
        survey.survey_if_small(str(webvision), given)
    with pytest.raises(UserError, match=complaint):
        run(tmp_path / "out", webvision, **given)


def test_a_file_is_refused(tmp_path: Path) -> None:
    webvision, _ = mini_webvision.write(tmp_path)
    archive = tmp_path / "val.tar"
    archive.write_bytes(b"")

    with pytest.raises(UserError, match="external_validation='.*val.tar': a file, where a folder"):
        survey.survey(str(webvision), external_validation=str(archive))


def test_a_large_one_is_not_surveyed_by_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs(tmp_path / "data", "cat/0.jpg", "dog/1.jpg")
    photographs(tmp_path / "other", "cat/0.jpg", "cat/1.jpg", "dog/2.jpg")
    monkeypatch.setattr(survey, "_MOST_FILES", 2)

    found = survey.survey_if_small(
        str(tmp_path / "data"), {"external_validation": str(tmp_path / "other")}
    )

    assert re.fullmatch(
        r".*/other: large; `.*survey .*/data --external_validation .*/other` surveys it",
        *found.lines,
    )


@pytest.mark.slow
def test_if_none_of_its_images_is_readable_ingest_ends(tmp_path: Path) -> None:
    photographs(
        tmp_path / "data", *(f"{kind}/{i}.jpg" for kind in ("dog", "cat") for i in range(9))
    )
    write(tmp_path / "other", "cat/0.jpg", "dog/0.jpg", content=b"\xff\xd8\xff no image")

    with pytest.raises(UserError, match="no images of the external .* left; 2 × .*cat/0.jpg"):
        run(tmp_path / "out", tmp_path / "data", external_validation=str(tmp_path / "other"))


@pytest.mark.slow
def test_its_rejects_are_listed(tmp_path: Path) -> None:
    photographs(
        tmp_path / "data", *(f"{kind}/{i}.jpg" for kind in ("dog", "cat") for i in range(9))
    )
    photographs(tmp_path / "other", "cat/0.jpg", "dog/0.jpg")
    write(tmp_path / "other", "dog/1.jpg", content=b"\xff\xd8\xff no image")

    out = run(tmp_path / "out", tmp_path / "data", external_validation=str(tmp_path / "other"))

    ((split, _, id),) = rejects(out)
    assert (split, id) == ("external", "dog/1.jpg")


@pytest.mark.slow
def test_an_ingest_that_did_not_end_goes_on_with_its_shards(
    store: Path, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs(tmp_path / "other", *(f"class{i % 3}/{i}.jpg" for i in range(25)))
    given = {"external_validation": str(tmp_path / "other")}
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(assembly, "counts", lambda *_: 1 / 0)
        run(tmp_path / "out", many, **given)
    made = {uri for uri in in_store(str(store)) if uri.endswith(".tar")}
    lost = next(uri for uri in sorted(made) if "/external-00001" in uri)
    filesystem.remove(lost)
    before = {uri: Path(uri).stat().st_mtime_ns for uri in made - {lost}}

    resumed = contents(run(tmp_path / "out", many, **given))

    assert {uri: Path(uri).stat().st_mtime_ns for uri in before} == before
    assert {*named(tmp_path / "out")} == made
    assert resumed == contents(run(tmp_path / "again", many, **given))
    manifest = json.loads(
        (tmp_path / "out" / "evaluation" / "external" / "manifest.json").read_text()
    )
    assert [shard["images"] for shard in manifest["shards"]] == [10, 10, 5]
