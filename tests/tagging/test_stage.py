import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nltk
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.data.identity import Identity
from components.shared.data.targets import Targets
from components.shared.data.texts import FORMAT, SCHEMA, Texts
from components.shared.stage import metadata, parallel
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem
from components.tagging import vocabulary
from components.tagging.keywords import Extractor
from components.tagging.language import language
from components.tagging.occurrences import RowGroupReader
from components.tagging.phrases import phrases
from components.tagging.stage import tagging
from components.tagging.taggers import load
from tests.killing import Calls, killed_after
from tests.tagging.conftest import LEXICON, WriteTexts

ROWS = [
    ("the small dog", "The dog sees a frog.", ""),
    ("IMG_1234.JPG", "", "dogs house"),
    ("", "", ""),
    ("the horse near the house", "<b>the dog</b>", "kitten"),
    ("the frog", "", "<script>"),
]


@pytest.fixture(autouse=True)
def wordnet(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none, unless a test asks for it: other tests may have put it on NLTK's path."""
    if "nltk_data" not in request.fixturenames:
        monkeypatch.setattr(nltk.data, "path", [])


def run(texts: Path, folder: Path, tagger: Path | str, **parameters: object) -> Path:
    parameters = {"min_images": 1, "max_share": 1.0, **parameters}
    outputs = [folder / "keywords", folder / "report.html"]
    tagging(texts, *outputs, tagger=str(tagger), **parameters)  # type: ignore[arg-type]
    return folder


def test_writes_targets_over_keywords(
    write_texts: WriteTexts, tiny_tagger: Path, tmp_path: Path
) -> None:
    texts = write_texts(ROWS)
    targets = Targets.load(run(texts, tmp_path / "out", tiny_tagger) / "keywords")

    assert targets.names == targets.titles == ["dog", "frog", "house", "horse", "kitten", "small"]
    assert targets.identity == Texts(texts).identity
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
    metrics = metadata.read(folder / "keywords")
    assert metrics["images"] == 5
    assert metrics["vocabulary"] == 3
    assert metrics["distinct_words"] == 6
    assert metrics["images_with_keywords"] == pytest.approx(0.8)
    assert metrics["keywords_per_image"] == pytest.approx(0.8)
    # 4 + 6, 4, 0, 6 + 3 + 2, 4: words, and the period that closes each sentence and each tag.
    assert metrics["tokens"] == 28


def outputs(folder: Path) -> dict[str, bytes]:
    """The outputs' content, but for the report, whose drawings have ids of their own."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".html")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("workers", [2, 4])
def test_gives_the_same_bytes_whatever_the_number_of_workers(
    workers: int,
    write_texts: WriteTexts,
    tiny_tagger: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Row groups meet words in orders of their own, and workers forget what they have read before.
    draw, nouns = random.Random(0), LEXICON["NN"].split()
    rows = [
        (draw.choice(nouns), f"http://a.com/{i} {draw.choice(nouns)}", "") for i in range(3_000)
    ]
    texts = write_texts(rows, row_group=333)
    monkeypatch.setattr("components.tagging.keywords._MEMORY", 300)
    monkeypatch.setattr(parallel, "cores", lambda: workers)
    many = outputs(run(texts, tmp_path / "many", tiny_tagger))
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    assert outputs(run(texts, tmp_path / "one", tiny_tagger)) == many
    assert len(many) == 5


def test_workers_find_in_wordnet_what_one_process_finds(
    nltk_data: Path, write_texts: WriteTexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that look up words in the same open file read each other's lines."""
    from nltk.corpus import wordnet

    glosses = [synset.definition() for synset in list(wordnet.all_synsets("n"))[::20]]
    texts = write_texts([(gloss, "", "") for gloss in glosses], row_group=100)
    monkeypatch.setattr(parallel, "cores", lambda: 4)
    tagger = "averaged_perceptron_tagger_eng"
    targets = Targets.load(run(texts, tmp_path / "out", tagger, max_keywords=99) / "keywords")

    perceptron = load(tagger)
    known = language(perceptron.tags)
    extract = Extractor(perceptron, known, phrases(known), "title", "nouns+adjectives", True)
    expected = extract({"title": glosses})
    found = [{targets.names[i] for i in targets[image][0]} for image in range(len(glosses))]
    alone = [set[str]() for _ in glosses]
    for image, word in zip(expected.images.tolist(), expected.words.tolist(), strict=True):
        alone[image].add(extract.words[word])
    assert found == alone


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Which row groups are read."""
    return Calls(RowGroupReader, "_read", tmp_path / "reads", monkeypatch)


@pytest.fixture
def unfinished(location: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("WEBLY_CHECKPOINTS", location)
    return location


def test_a_stage_that_was_killed_goes_on_and_ends_as_one_that_was_not(
    write_texts: WriteTexts,
    tiny_tagger: Path,
    tmp_path: Path,
    unfinished: str,
    reads: Calls,
    caplog: pytest.LogCaptureFixture,
) -> None:
    texts = write_texts(ROWS * 20, row_group=10)
    undisturbed = outputs(run(texts, tmp_path / "undisturbed", tiny_tagger))
    assert reads.taken() == list(range(10))
    killed_after(4, lambda: run(texts, tmp_path / "disturbed", tiny_tagger))
    before = reads.taken()
    assert 4 in before
    done = len(list(filesystem.listed(unfinished)))
    assert done >= 3
    caplog.set_level("INFO")

    run(texts, tmp_path / "disturbed", tiny_tagger)

    assert f"{done} of 10 row groups are already tagged" in caplog.text
    assert len(reads.taken()) == 10 - done
    assert outputs(tmp_path / "disturbed") == undisturbed
    assert list(filesystem.listed(unfinished)) == []


def test_a_damaged_part_is_read_again(
    write_texts: WriteTexts, tiny_tagger: Path, tmp_path: Path, unfinished: str, reads: Calls
) -> None:
    texts = write_texts(ROWS * 20, row_group=10)
    undisturbed = outputs(run(texts, tmp_path / "undisturbed", tiny_tagger))
    with pytest.raises(UserError, match="min_images=1,000"):
        run(texts, tmp_path / "out", tiny_tagger, min_images=1_000)
    name = next(entry.name for entry in filesystem.listed(unfinished) if "/000003-" in entry.name)
    (tmp_path / "damaged").write_bytes(filesystem.read(f"{unfinished}/{name}")[:-1] + b"x")
    filesystem.put(tmp_path / "damaged", f"{unfinished}/{name}")
    reads.taken()

    run(texts, tmp_path / "out", tiny_tagger)

    assert reads.taken() == [3]
    assert outputs(tmp_path / "out") == undisturbed


def test_two_runs_at_once_do_not_need_each_other(
    write_texts: WriteTexts,
    tiny_tagger: Path,
    tmp_path: Path,
    unfinished: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = write_texts(ROWS * 20, row_group=10)
    alone = outputs(run(texts, tmp_path / "alone", tiny_tagger, max_keywords=2))
    select, others = vocabulary.select, list[Path]()

    def meanwhile(*arguments: Any, **bounds: Any) -> vocabulary.Vocabulary:
        monkeypatch.setattr(vocabulary, "select", select)
        others.append(run(texts, tmp_path / "other", tiny_tagger, max_keywords=1))
        assert list(filesystem.listed(unfinished)) == []  # the other has finished
        return select(*arguments, **bounds)

    monkeypatch.setattr(vocabulary, "select", meanwhile)
    assert outputs(run(texts, tmp_path / "out", tiny_tagger, max_keywords=2)) == alone
    assert others
    assert list(filesystem.listed(unfinished)) == []


def test_a_row_group_may_be_empty(tiny_tagger: Path, tmp_path: Path) -> None:
    ids = ["image0", "image1"]
    schema = Identity.of(ids).in_schema(SCHEMA, FORMAT)
    path = tmp_path / "texts.parquet"
    with pq.ParquetWriter(path, schema) as writer:
        for some in (ids[:1], [], ids[1:]):
            same = [[text] * len(some) for text in ("the dog", "", "", "google", "dog")]
            writer.write_table(pa.table([some, *same, [0] * len(some)], schema=schema))
    targets = Targets.load(run(path, tmp_path / "out", tiny_tagger) / "keywords")
    assert [targets[image][0].tolist() for image in range(2)] == [[0], [0]]


def test_other_bounds_of_the_vocabulary_read_nothing_again(
    write_texts: WriteTexts, tiny_tagger: Path, tmp_path: Path, unfinished: str, reads: Calls
) -> None:
    texts = write_texts(ROWS * 20, row_group=10)
    with pytest.raises(UserError, match="min_images=1,000"):
        run(texts, tmp_path / "out", tiny_tagger, min_images=1_000)
    assert len(reads.taken()) == 10
    run(texts, tmp_path / "out", tiny_tagger)
    assert reads.taken() == []


def test_another_tagger_of_the_same_name_reads_all_again(
    write_texts: WriteTexts, tiny_tagger: Path, tmp_path: Path, unfinished: str, reads: Calls
) -> None:
    texts, tagger = write_texts(ROWS * 2), tmp_path / "tagger"
    shutil.copytree(tiny_tagger, tagger)
    with pytest.raises(UserError):
        run(texts, tmp_path / "out", tagger, min_images=1_000)
    reads.taken()
    dictionary = json.loads((tagger / "tiny_en.tagdict.json").read_text()) | {"dog": "VBZ"}
    (tagger / "tiny_en.tagdict.json").write_text(json.dumps(dictionary))

    run(texts, tmp_path / "out", tagger)

    assert reads.taken() == [0]


@pytest.mark.parametrize(
    ("name", "value"),
    [("fields", "title"), ("parts_of_speech", "nouns"), ("keep_query_words", False)],
)
def test_what_is_read_otherwise_is_read_again(
    write_texts: WriteTexts,
    tiny_tagger: Path,
    tmp_path: Path,
    unfinished: str,
    reads: Calls,
    name: str,
    value: object,
) -> None:
    texts = write_texts(ROWS * 2)
    with pytest.raises(UserError):
        run(texts, tmp_path / "out", tiny_tagger, min_images=1_000)
    reads.taken()
    run(texts, tmp_path / "out", tiny_tagger, **{name: value})
    assert reads.taken() == [0]


def test_leaves_nothing_but_its_outputs(
    write_texts: WriteTexts, tiny_tagger: Path, tmp_path: Path
) -> None:
    folder = run(write_texts(ROWS), tmp_path / "out", tiny_tagger)
    assert {path.name for path in folder.iterdir()} == {
        *("keywords", "keywords.metadata.json", "report.html")
    }


def test_leaves_nothing_when_it_fails(
    write_texts: WriteTexts, tiny_tagger: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="min_images=100"):
        run(write_texts(ROWS), tmp_path / "out", tiny_tagger, min_images=100)
    assert not (tmp_path / "out").exists()


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
    assert page.count("<svg") == 4  # both figures for wide and for narrow windows
    assert "2 of 6 distinct words are keywords. Dropped as too frequent: 1; as too rare: 3." in page
    assert "The dog sees a frog." in page


def test_without_wordnet_it_says_that_lemmas_are_regular_plurals(
    write_texts: WriteTexts, tiny_tagger: Path, tmp_path: Path
) -> None:
    outputs = {name: tmp_path / name for name in ("keywords", "report")}
    words = [f"--{name}={path}" for name, path in outputs.items()]
    command = [sys.executable, "-m", "components.tagging", f"--texts={write_texts(ROWS)}", *words]
    parameters = [f"--tagger={tiny_tagger}", "--min_images=1", "--max_share=1"]
    environment = {**os.environ, "NLTK_DATA": "", "HOME": str(tmp_path)}

    done = subprocess.run(
        [*command, *parameters], env=environment, capture_output=True, text=True, check=True
    )

    assert "python -m nltk.downloader wordnet" in done.stderr
    assert "regular plurals only" in outputs["report"].read_text()
    assert metadata.read(outputs["keywords"])["wordnet_lemmas"] == 0
