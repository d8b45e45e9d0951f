import errno
import json
import random
import shutil
from pathlib import Path

import pytest
from nltk.tag.perceptron import PerceptronTagger

from components.shared.stage.errors import UserError
from components.shared.storage import filesystem
from components.tagging.keywords import Extractor
from components.tagging.language import language
from components.tagging.phrases import phrases
from components.tagging.taggers import load


def test_reads_the_files_that_nltk_saves_whatever_their_name(tiny_tagger: Path) -> None:
    assert {path.name for path in tiny_tagger.iterdir()} == {
        f"tiny_en.{part}.json" for part in ("weights", "tagdict", "classes")
    }
    assert load(str(tiny_tagger)).tag_sents([["the", "small", "dog", "sees", "cats", "."]]) == [
        [
            *[("the", "DT"), ("small", "JJ"), ("dog", "NN")],
            *[("sees", "VBZ"), ("cats", "NNS"), (".", ".")],
        ]
    ]


def test_names_the_command_that_gets_a_missing_resource() -> None:
    with pytest.raises(UserError, match=r"`python -m nltk.downloader no_such_tagger`.*NLTK_DATA"):
        load("no_such_tagger")


def test_refuses_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds 0 \*\.weights\.json"):
        load(str(tmp_path))


@pytest.mark.parametrize("content", [None, "", "{", "[" * 100_000, "\xff", "[]"])
def test_refuses_a_folder_that_lacks_a_part(
    content: str | None, tiny_tagger: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tagger"
    shutil.copytree(tiny_tagger, folder)
    (folder / "tiny_en.tagdict.json").unlink()
    if content is not None:
        (folder / "tiny_en.tagdict.json").write_text(content, "latin-1")
    with pytest.raises(UserError, match="its tagdict: |its files are not"):
        load(str(folder))


def test_a_disk_that_fails_is_not_the_taggers_fault(
    tiny_tagger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: object) -> None:
        raise OSError(errno.EIO, "Input/output error", str(tiny_tagger))

    monkeypatch.setattr(json, "load", fail)

    with pytest.raises(OSError, match="Input/output error"):  # the boundary's: to be tried again
        load(str(tiny_tagger))


def test_refuses_tags_none_of_which_is_known_for_nouns(tiny_tagger: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tagger"
    shutil.copytree(tiny_tagger, folder)
    (folder / "tiny_en.classes.json").write_text(json.dumps(["SUBST", "VERB"]))
    with pytest.raises(UserError, match=r"SUBST, VERB.*rename them"):
        load(str(folder))


def test_a_tagger_of_another_language_finds_its_nouns(tmp_path: Path) -> None:
    """One that was learned from German sentences with the tags of STTS."""
    lexicon = {
        "ART": "der die das",
        "ADJA": "kleine braune",
        "NN": "Hund Katze Ratte",
        "VVFIN": "sieht",
    }
    draw = random.Random(0)
    pattern = ["ART", "ADJA", "NN", "VVFIN", "ART", "NN"]
    random.seed(0)  # NLTK shuffles the sentences
    learned = PerceptronTagger(load=False)
    learned.train(
        [[(draw.choice(lexicon[tag].split()), tag) for tag in pattern] for _ in range(99)]
    )
    for part, value in zip(
        ("weights", "tagdict", "classes"), learned.encode_json_obj(), strict=True
    ):
        (tmp_path / f"deu.{part}.json").write_text(json.dumps(value))
    perceptron = load(str(tmp_path))
    known = language(perceptron.tags)

    extract = Extractor(perceptron, known, phrases(known), "all", "nouns+adjectives", True)
    found = extract(
        {"title": ["der kleine Hund sieht die Katze"], "description": ["Ratte"], "tags": ["Hund"]}
    )

    # English has "rat" and "hund", and would write them in small letters: here they stay nouns.
    assert {extract.words[word] for word in found.words} == {"kleine", "hund", "katze", "ratte"}


def test_reads_a_folder_on_s3(tiny_tagger: Path, bucket: str) -> None:
    for path in tiny_tagger.iterdir():
        filesystem.put(path, f"{bucket}/tagger/{path.name}")
    sentences = [["the", "small", "dog", "sees", "cats", "."]]
    assert load(f"{bucket}/tagger").tag_sents(sentences) == load(str(tiny_tagger)).tag_sents(
        sentences
    )
