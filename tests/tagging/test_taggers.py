import json
import shutil
from pathlib import Path

import pytest

from components.shared.interface import UserError
from components.tagging.taggers import load


def test_gives_the_same_tags_as_nltk(nltk_data: Path) -> None:
    from nltk import pos_tag
    from nltk.corpus import wordnet

    sentences = [
        synset.definition().split()
        for synset in list(wordnet.all_synsets("n"))[:20_000:100]  # 200 glosses
    ]
    assert load("averaged_perceptron_tagger_eng").tag_sents(sentences) == [
        pos_tag(sentence) for sentence in sentences
    ]


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


def test_refuses_a_folder_that_lacks_a_part(tiny_tagger: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tagger"
    shutil.copytree(tiny_tagger, folder)
    (folder / "tiny_en.tagdict.json").unlink()
    with pytest.raises(UserError, match="cannot read its tagdict"):
        load(str(folder))


def test_refuses_other_tags_than_the_treebanks(tiny_tagger: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tagger"
    shutil.copytree(tiny_tagger, folder)
    (folder / "tiny_en.classes.json").write_text(json.dumps(["NOUN", "ADJ"]))
    with pytest.raises(UserError, match=r"ADJ, NOUN.*Penn Treebank"):
        load(str(folder))
