import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components.shared.interface import UserError
from components.shared.targets import Targets
from components.shared.texts import Texts
from components.tagging.stage import tagging
from tests.tagging.conftest import WriteTexts

ROWS = [
    ("the small dog", "The dog sees a frog.", ""),
    ("IMG_1234.JPG", "", "dogs house"),
    ("", "", ""),
    ("the horse near the house", "<b>the dog</b>", "kitten"),
    ("the frog", "", "<script>"),
]


@pytest.fixture
def one_core() -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


def run(texts: Path, folder: Path, tagger: Path, **parameters: object) -> Path:
    parameters = {"min_images": 1, "max_share": 1.0, **parameters}
    outputs = [folder / "keywords", folder / "report.html", folder / "metrics.json"]
    tagging(texts, *outputs, tagger=str(tagger), **parameters)  # type: ignore[arg-type]
    return folder


def test_writes_targets_over_keywords(
    write_texts: WriteTexts, tiny_tagger: Path, tmp_path: Path
) -> None:
    texts = write_texts(ROWS)
    targets = Targets.load(run(texts, tmp_path / "out", tiny_tagger) / "keywords")

    assert targets.names == targets.titles == ["dog", "frog", "house", "horse", "kitten", "small"]
    assert targets.numbering == Texts(texts).numbering
    assert np.asarray(targets.weights).tolist() == [1.0] * 10
    assert [[targets.names[i] for i in targets[image][0]] for image in range(5)] == [
        ["small", "frog", "dog"],
        ["house", "dog"],
        [],
        ["horse", "kitten", "house", "dog"],
        ["frog"],
    ]


def test_writes_metrics(write_texts: WriteTexts, tiny_tagger: Path, tmp_path: Path) -> None:
    folder = run(write_texts(ROWS), tmp_path / "out", tiny_tagger, min_images=2, max_keywords=1)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["images"] == 5
    assert metrics["vocabulary"] == 3
    assert metrics["distinct_words"] == 6
    assert metrics["images_with_keywords"] == pytest.approx(0.8)
    assert metrics["keywords_per_image"] == pytest.approx(0.8)
    # 4 + 6, 2, 0, 6 + 3 + 1, 3: words, and the period that closes each sentence.
    assert metrics["tokens"] == 25


def test_gives_the_same_bytes_on_one_core_and_on_all(
    write_texts: WriteTexts,
    tiny_tagger: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    texts = write_texts(ROWS * 1_000)  # several blocks
    many = run(texts, tmp_path / "many", tiny_tagger)
    request.getfixturevalue("one_core")
    one = run(texts, tmp_path / "one", tiny_tagger)
    names = ["offsets.npy", "classes.npy", "weights.npy", "classes.parquet"]
    for name in [*(f"keywords/{name}" for name in names), "metrics.json"]:
        assert (one / name).read_bytes() == (many / name).read_bytes()


def test_leaves_nothing_but_its_outputs(
    write_texts: WriteTexts, tiny_tagger: Path, tmp_path: Path
) -> None:
    folder = run(write_texts(ROWS), tmp_path / "out", tiny_tagger)
    assert {path.name for path in folder.iterdir()} == {"keywords", "report.html", "metrics.json"}


def test_leaves_nothing_when_it_fails(
    write_texts: WriteTexts, tiny_tagger: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="min_images=100"):
        run(write_texts(ROWS), tmp_path / "out", tiny_tagger, min_images=100)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("vocabulary_size", 0), ("min_images", 0), ("max_keywords", -1), ("max_share", 5.0)],
)
def test_refuses_impossible_parameters(
    write_texts: WriteTexts, tiny_tagger: Path, tmp_path: Path, name: str, value: float
) -> None:
    with pytest.raises(UserError, match=f"{name}={value:g}"):
        run(write_texts(ROWS), tmp_path / "out", tiny_tagger, **{name: value})


def test_the_report_shows_texts_as_texts(
    write_texts: WriteTexts, tiny_tagger: Path, tmp_path: Path
) -> None:
    rows = [("the dog", "<script>alert(1)</script><img src=x onerror=alert(2)>", '"><b>dog</b>')]
    page = (run(write_texts(rows), tmp_path / "out", tiny_tagger) / "report.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search(r"<script|<img src=x|<b>dog", page)


def test_the_report_shows_the_long_tail_and_examples(
    write_texts: WriteTexts, tiny_tagger: Path, tmp_path: Path
) -> None:
    folder = run(write_texts(ROWS), tmp_path / "out", tiny_tagger, max_share=0.5, min_images=2)
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "2 of 6 distinct words are keywords. Dropped as too frequent: 1; as too rare: 3." in page
    assert "The dog sees a frog." in page


def test_without_wordnet_it_says_that_lemmas_are_regular_plurals(
    write_texts: WriteTexts, tiny_tagger: Path, tmp_path: Path
) -> None:
    outputs = {name: tmp_path / name for name in ("keywords", "report", "metrics")}
    words = [f"--{name}={path}" for name, path in outputs.items()]
    command = [sys.executable, "-m", "components.tagging", f"--texts={write_texts(ROWS)}", *words]
    parameters = [f"--tagger={tiny_tagger}", "--min_images=1", "--max_share=1"]
    environment = {**os.environ, "NLTK_DATA": "", "HOME": str(tmp_path)}

    done = subprocess.run(
        [*command, *parameters], env=environment, capture_output=True, text=True, check=True
    )

    assert "python -m nltk.downloader wordnet" in done.stderr
    assert "regular plurals only" in outputs["report"].read_text()
    assert json.loads(outputs["metrics"].read_text())["wordnet_lemmas"] == 0
