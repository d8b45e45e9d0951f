from pathlib import Path

import pytest

from components.tagging.keywords import Extractor, Fields, PartsOfSpeech
from components.tagging.language import EnglishWithoutWordNet, language
from components.tagging.phrases import Phrases
from components.tagging.taggers import load

KINDS = {("brown_dog", "dog"), ("house_cat", "cat")}


class Singulars(EnglishWithoutWordNet):
    """Finds singulars whatever the tagger says, as WordNet does."""

    def lemma(self, noun: str, *, plural: bool) -> str:
        return super().lemma(noun, plural=True)


def texts(title: str = "", description: str = "", tags: str = "") -> dict[str, list[str]]:
    return {"title": [title], "description": [description], "tags": [tags]}


def extractor(
    folder: Path,
    fields: Fields = "all",
    parts_of_speech: PartsOfSpeech = "nouns+adjectives",
    keep_query_words: bool = True,
) -> Extractor:
    known = Singulars()
    names = Phrases(
        ["brown_dog", "house_cat", "horse_frog", "brown_dog_house"],
        lambda noun: known.lemma(noun, plural=False),
        lambda name, other: (name, other) in KINDS,
    )
    return Extractor(load(str(folder)), known, names, fields, parts_of_speech, keep_query_words)


def rows(extract: Extractor, columns: dict[str, list[str]]) -> list[set[str]]:
    found = extract(columns)
    keywords = [set[str]() for _ in next(iter(columns.values()))]
    for image, word in zip(found.images.tolist(), found.words.tolist(), strict=True):
        assert extract.words[word] not in keywords[image]  # distinct
        keywords[image].add(extract.words[word])
    return keywords


def test_keywords_are_the_nouns_and_adjectives_in_lower_case(tiny_tagger: Path) -> None:
    extract = extractor(tiny_tagger)
    columns = texts("The small dog sees a cat near the house.")
    assert rows(extract, columns) == [{"small", "dog", "cat", "house"}]
    # The words and their period; an end for the absence of the other texts.
    assert extract(columns).tokens == 10


def test_adjectives_can_be_left_out(tiny_tagger: Path) -> None:
    extract = extractor(tiny_tagger, parts_of_speech="nouns")
    assert rows(extract, texts("The small dog.")) == [{"dog"}]


def test_a_keyword_counts_once_whatever_its_number_case_and_field(tiny_tagger: Path) -> None:
    columns = texts("the dog", "the small dogs.", "DOG dogs")
    assert rows(extractor(tiny_tagger), columns) == [{"dog", "small"}]


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
    extract = extractor(tiny_tagger, fields)
    columns = texts("the dog", "the cat", "frog")
    assert rows(extract, {name: columns[name] for name in extract.columns}) == [keywords]


def test_images_keep_their_own_keywords_and_some_have_none(tiny_tagger: Path) -> None:
    columns = {
        "title": ["the dog", "", "the cat"],
        "description": ["", "\x00 😍 ...", "the dog"],
        "tags": ["", "2007 747", ""],
    }
    assert rows(extractor(tiny_tagger), columns) == [{"dog"}, set(), {"cat", "dog"}]


def test_a_batch_without_images_has_no_keywords(tiny_tagger: Path) -> None:
    found = extractor(tiny_tagger)({"title": [], "description": [], "tags": []})
    assert (len(found.images), len(found.words), found.tokens) == (0, 0, 0)


def test_accepts_very_long_and_right_to_left_texts(tiny_tagger: Path) -> None:
    columns = texts("the dog " * 100_000, "x" * 100_000, "كلب جميل")
    (found,) = rows(extractor(tiny_tagger), columns)
    assert "dog" in found
    assert all(len(word) <= 30 for word in found)


@pytest.mark.parametrize(
    ("title", "keywords"),
    [
        ("the brown dog", {"brown dog", "dog"}),  # a kind of dog
        ("the brown dogs", {"brown dog", "dog"}),
        ("the horse frog", {"horse frog"}),  # neither a horse nor a frog
        ("the brown dog house", {"brown dog house"}),  # the longest
        ("the horse frog near the frog", {"horse frog", "frog"}),
        ("the brown cat dog", {"brown", "cat", "dog"}),
    ],
)
def test_names_of_several_words_stand_for_their_words(
    tiny_tagger: Path, title: str, keywords: set[str]
) -> None:
    assert rows(extractor(tiny_tagger), texts(title)) == [keywords]


@pytest.mark.parametrize(
    ("tags", "keywords"),
    [
        ("house cat", {"house", "cat"}),  # neighbours by chance
        ("house_cat", {"house cat", "cat"}),
        ("housecat dog", {"house cat", "cat", "dog"}),
        ("horsefrogs", {"horse frog"}),
    ],
)
def test_tags_next_to_each_other_are_no_name(
    tiny_tagger: Path, tags: str, keywords: set[str]
) -> None:
    assert rows(extractor(tiny_tagger), texts(tags=tags)) == [keywords]


def test_words_of_the_query_can_be_left_out(tiny_tagger: Path) -> None:
    extract = extractor(tiny_tagger, keep_query_words=False)
    columns = {
        "title": ["the small dogs near the house", "the brown dog", "the dog", ""],
        "description": ["", "", "the cat", ""],
        "tags": ["frog", "", "housecat", ""],
        "query": ["dog house", "brown dog", "house cats", "dog"],
    }
    assert extract.columns == list(columns)
    # Of "house cats": the name, and each of its words.
    assert rows(extract, columns) == [{"small", "frog"}, set(), {"dog"}, set()]


def test_words_are_forgotten_when_they_are_many(
    tiny_tagger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.tagging.keywords._MEMORY", 100)
    extract = extractor(tiny_tagger)
    assert rows(extract, texts("the dog")) == [{"dog"}]
    extract.make_room()
    assert extract.words == ["dog"]  # not many yet
    rows(extract, texts(tags=" ".join(f"dog{i}x" for i in range(100))))

    extract.make_room()

    assert extract.words == []
    columns = texts("the brown cat", "the frog likes dogs", "house_cat")
    assert rows(extract, columns) == [{"brown", "cat", "frog", "dog", "house cat"}]
    assert rows(extract, columns) == rows(extractor(tiny_tagger), columns)


def test_texts_in_which_no_word_is_are_forgotten_too(
    tiny_tagger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.tagging.keywords._MEMORY", 100)
    extract = extractor(tiny_tagger)
    rows(extract, texts(" ".join(f"http://a.com/{i}" for i in range(200)), "the dog"))
    extract.make_room()
    assert extract.words == []


@pytest.mark.parametrize(
    "columns",
    [
        texts(tags="puppy lily"),
        texts("Puppy", "Lily"),
        texts("PUPPY", "lilies"),
        texts("A puppy!", "", "lily"),
    ],
)
def test_nouns_alone_are_nouns(nltk_data: Path, columns: dict[str, list[str]]) -> None:
    """To the tagger a puppy is an adjective."""
    tagger = load("averaged_perceptron_tagger_eng")
    known = language(tagger.tags)
    nothing = Phrases((), lambda noun: noun, lambda name, other: False)
    assert rows(Extractor(tagger, known, nothing, "all", "nouns", True), columns) == [
        {"puppy", "lily"}
    ]


def test_agrees_with_nltks_pos_tag_on_prose(nltk_data: Path) -> None:
    """On sentences without names of several words, headlines and boilerplate."""
    from nltk import pos_tag
    from nltk.corpus import wordnet

    from components.tagging.cleaning import clean
    from components.tagging.keyword_filter import is_keyword
    from components.tagging.tokens import ENDS, tokens

    tagger = load("averaged_perceptron_tagger_eng")
    known = language(tagger.tags)
    nothing = Phrases((), lambda noun: noun, lambda name, other: False)
    extract = Extractor(tagger, known, nothing, "title", "nouns+adjectives", True)
    glosses = [synset.definition() for synset in list(wordnet.all_synsets("n"))[::200]]

    expected = []
    for gloss in glosses:
        sentences: list[list[str]] = [[]]
        for token in [*(each for chunk in clean(gloss).split() for each in tokens(chunk)), "."]:
            sentences[-1].append(token)
            if token in ENDS:
                sentences.append([])
        words = set()
        for sentence in sentences:
            framed = ["a", *sentence] if len(sentence) == 2 else sentence
            for token, tag in pos_tag(framed) if len(sentence) > 1 else []:
                word = token.lower()
                if tag.startswith("NN") and is_keyword(word):
                    words.add(known.lemma(word, plural=tag.endswith("S")))
                elif tag.startswith("JJ"):
                    words.add(word)
        expected.append(set(filter(is_keyword, words)))

    assert len(glosses) > 400
    assert rows(extract, {"title": glosses}) == expected
