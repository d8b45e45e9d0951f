from pathlib import Path

import pytest

from components.tagging.cleaning import clean
from components.tagging.keywords import Batch, Extractor, Fields, PartsOfSpeech
from components.tagging.lemmas import RegularPlurals, WordNetLemmas
from components.tagging.taggers import load
from components.tagging.words import is_keyword, sentences


def rows(batch: Batch) -> list[list[str]]:
    codes = iter(batch.codes.tolist())
    return [[batch.words[next(codes)] for _ in range(count)] for count in batch.counts]


def texts(title: str = "", description: str = "", tags: str = "") -> dict[str, list[str]]:
    return {"title": [title], "description": [description], "tags": [tags]}


def extractor(
    folder: Path, fields: Fields = "all", parts_of_speech: PartsOfSpeech = "nouns+adjectives"
) -> Extractor:
    return Extractor(load(str(folder)), RegularPlurals(), fields, parts_of_speech)


def test_keywords_are_the_nouns_and_adjectives_in_lower_case(tiny_tagger: Path) -> None:
    batch = extractor(tiny_tagger)(texts("The small dog sees a cat near the house."))
    assert rows(batch) == [["small", "dog", "cat", "house"]]
    assert batch.tokens == 10


def test_adjectives_can_be_left_out(tiny_tagger: Path) -> None:
    batch = extractor(tiny_tagger, parts_of_speech="nouns")(texts("The small dog."))
    assert rows(batch) == [["dog"]]


def test_a_keyword_counts_once_whatever_its_number_case_and_field(tiny_tagger: Path) -> None:
    batch = extractor(tiny_tagger)(texts("the dog", "the small dogs.", "DOG dogs"))
    assert rows(batch) == [["dog", "small"]]


@pytest.mark.parametrize(
    ("fields", "keywords"),
    [
        ("title", {"dog"}),
        ("title+description", {"dog", "cat"}),
        ("tags", {"frog"}),
        ("all", {"dog", "cat", "frog"}),
    ],
)
def test_reads_the_fields_asked_for(tiny_tagger: Path, fields: Fields, keywords: set[str]) -> None:
    (found,) = rows(extractor(tiny_tagger, fields)(texts("the dog", "the cat", "frog")))
    assert set(found) == keywords


def test_images_keep_their_own_keywords_and_some_have_none(tiny_tagger: Path) -> None:
    columns = {
        "title": ["the dog", "", "the cat"],
        "description": ["", "\x00 😍 ...", "the dog"],
        "tags": ["", "2007 747", ""],
    }
    assert rows(extractor(tiny_tagger)(columns)) == [["dog"], [], ["cat", "dog"]]


def test_accepts_very_long_and_right_to_left_texts(tiny_tagger: Path) -> None:
    batch = extractor(tiny_tagger)(texts("the dog " * 100_000, "x" * 100_000, "كلب جميل"))
    (found,) = rows(batch)
    assert "dog" in found
    assert all(len(word) <= 30 for word in found)


def test_agrees_with_nltks_pos_tag_on_prose(nltk_data: Path) -> None:
    from nltk import pos_tag
    from nltk.corpus import wordnet

    glosses = [synset.definition() for synset in list(wordnet.all_synsets("n"))[::1_000]]
    extract = Extractor(
        load("averaged_perceptron_tagger_eng"), WordNetLemmas(), "title", "nouns+adjectives"
    )

    expected = []
    for gloss in glosses:
        words = []
        for sentence in sentences(clean(gloss)):
            for word, tag in pos_tag(sentence if len(sentence) > 1 else ["a", *sentence, "."]):
                if tag.startswith("NN"):
                    lemma = wordnet.morphy(word.lower(), "n") or ""
                    words.append(lemma if len(lemma) > 2 else word.lower())
                elif tag.startswith("JJ"):
                    words.append(word.lower())
        expected.append(list(dict.fromkeys(filter(is_keyword, words))))

    assert len(glosses) > 50
    # Sentences of several words are tagged together, after those of one word.
    assert list(map(sorted, rows(extract({"title": glosses})))) == list(map(sorted, expected))


def test_single_tags_are_nouns_without_context(nltk_data: Path) -> None:
    extract = Extractor(
        load("averaged_perceptron_tagger_eng"), WordNetLemmas(), "all", "nouns+adjectives"
    )
    tags = "kitten lily wing flying puppy boeing 747 geese"
    assert rows(extract(texts("kitten", "", tags))) == [
        ["kitten", "lily", "wing", "flying", "puppy", "boeing", "goose"]
    ]
