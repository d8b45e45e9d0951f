import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from nltk.tag.perceptron import PerceptronTagger

from components.tagging.perceptron import Perceptron
from components.tagging.taggers import load

# Words that tokenisers, normalisation or the names of features might stumble over.
ODD = [
    *("", " ", "a b", "i", "tag", "i-1 tag NN", "-", "--", "-x", "x-", "-START-", "-END-", "–"),
    *("2007", "20074", "007", "²", "٣", "٢٠٠٧", "½", "1,000", "10/13/2007", "F-16", "t-shirt"),
    *("ß", "İstanbul", "ǅ", "ﬁsh", "e\u0301", "\u200bx", "😍", "\x00", "猫", "кот", "\ud83d"),
    *("The", "the", "THE", "dog", "dogs", "n't", "'s", ".", "!", "?", "%", "O'Brien", "x" * 5_000),
]  # fmt: skip


def nltk_tagger(
    weights: dict[str, dict[str, float]], dictionary: dict[str, str], classes: Sequence[str]
) -> PerceptronTagger:
    tagger = PerceptronTagger(load=False)
    tagger.model.weights, tagger.tagdict = weights, dictionary
    tagger.classes = tagger.model.classes = set(classes)
    return tagger


def sentences_of(words: Sequence[str], draw: random.Random, count: int) -> list[list[str]]:
    lengths = [0, 1, 2, 3, *(draw.randrange(40) for _ in range(count))]
    return [draw.choices(words, k=length) for length in lengths]


def random_weights(
    words: Sequence[str], classes: Sequence[str], draw: random.Random, odds: float
) -> dict[str, dict[str, float]]:
    """Weights, with as many digits as a float has, of some of the features that occur."""
    tagger = PerceptronTagger(load=False)
    features = set[str]()
    tags = [*classes, "-START-", "-START2-"]
    for sentence in sentences_of(words, draw, 200):
        context = tagger.START + [tagger.normalize(word) for word in sentence] + tagger.END
        for position, word in enumerate(sentence):
            before, before_that = draw.choices(tags, k=2)
            features |= tagger._get_features(position, word, context, before, before_that).keys()
    return {
        feature: {name: draw.gauss(0, 1) for name in classes if draw.random() < 0.7}
        for feature in sorted(features)
        if draw.random() < odds
    }


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("odds", [1.0, 0.3])
def test_any_weights_give_nltks_tags(seed: int, odds: float) -> None:
    draw = random.Random(seed)
    classes = draw.sample(["NN", "NNS", "JJ", "VB", ".", "A=m", "a b", "", "é"], k=5)
    dictionary = {word: draw.choice([*classes, ""]) for word in draw.sample(ODD, k=12)}
    weights = random_weights(ODD, classes, draw, odds)
    sentences = sentences_of(ODD, draw, 200)
    tagger = nltk_tagger(weights, dictionary, classes)

    perceptron = Perceptron(weights, dictionary, classes)

    assert perceptron.tag_sents(sentences) == tagger.tag_sents(sentences)


def test_equal_sums_give_the_last_class_by_the_alphabet() -> None:
    assert Perceptron({}, {}, ["JJ", "VB", "NN"]).tag_sents([["dog"]]) == [[("dog", "VB")]]


def test_a_tag_outside_the_classes_may_come_from_the_dictionary_only() -> None:
    weights = {"i-1 tag UH": {"NN": 1.0}, "bias": {"JJ": 0.5, "UH": 9.0}}
    dictionary = {"oh": "UH"}
    sentences = [["oh", "dog"], ["dog", "oh", "dog"]]

    tagged = Perceptron(weights, dictionary, ["JJ", "NN"]).tag_sents(sentences)

    assert tagged == nltk_tagger(weights, dictionary, ["JJ", "NN"]).tag_sents(sentences)
    assert tagged[0] == [("oh", "UH"), ("dog", "NN")]


def test_neither_neighbours_nor_order_in_a_batch_matter() -> None:
    draw = random.Random(1)
    weights = random_weights(ODD, ["NN", "JJ", "VB"], draw, 0.5)
    sentences = sentences_of(ODD, draw, 300)
    perceptron = Perceptron(weights, {"the": "JJ"}, ["NN", "JJ", "VB"])
    alone = [perceptron.tag_sents([sentence])[0] for sentence in sentences]

    assert perceptron.tag_sents(sentences) == alone
    assert perceptron.tag_sents(sentences[::-1]) == alone[::-1]


def test_a_very_long_sentence_and_none_at_all_are_tagged() -> None:
    draw = random.Random(2)
    weights = random_weights(ODD, ["NN", "JJ"], draw, 0.5)
    perceptron, tagger = (
        Perceptron(weights, {}, ["NN", "JJ"]),
        nltk_tagger(weights, {}, ["NN", "JJ"]),
    )
    sentence = draw.choices(ODD, k=20_000)

    assert perceptron.tag_sents([sentence]) == tagger.tag_sents([sentence])
    assert perceptron.tag_sents([]) == []
    assert perceptron.tag_sents([[], []]) == [[], []]


def test_forgotten_words_are_learned_anew() -> None:
    perceptron = Perceptron({"i word dog": {"NN": 1.0}}, {}, ["JJ", "NN", "VB"])
    before = perceptron.tag_sents([["cat", "dog"]])

    perceptron.forget()

    assert "dog" not in perceptron.words
    assert perceptron.tag_sents([["cat", "dog"]]) == before
    assert perceptron.tag(np.array([perceptron.number("dog")]), np.array([1])).tolist() == [
        perceptron.tags.index("NN")
    ]


def test_glosses_get_nltks_tags(nltk_data: Path) -> None:
    from nltk.corpus import wordnet

    glosses = [synset.definition().split() for synset in list(wordnet.all_synsets())[::40]]
    assert sum(map(len, glosses)) > 20_000
    perceptron = load("averaged_perceptron_tagger_eng")

    assert perceptron.tag_sents(glosses) == PerceptronTagger().tag_sents(glosses)


def test_texts_of_the_web_get_nltks_tags(nltk_data: Path, sample: Path) -> None:
    import tarfile

    with tarfile.open(sample / "flickr.tar") as tar:
        files = [tar.extractfile(member) for member in tar if member.isfile()]
        content = [file.read().decode(errors="replace") for file in files[:6] if file]
    # As they are: with markup, escapes and JSON's punctuation.
    sentences = [line.split() for text in content for line in text.splitlines()]
    assert sum(map(len, sentences)) > 20_000
    perceptron = load("averaged_perceptron_tagger_eng")

    assert perceptron.tag_sents(sentences) == PerceptronTagger().tag_sents(sentences)


def test_what_nltk_has_learned_is_what_is_read(tiny_tagger: Path) -> None:
    parts = [
        json.loads((tiny_tagger / f"tiny_en.{name}.json").read_text())
        for name in ("weights", "tagdict", "classes")
    ]
    sentences = [["the", "small", "dog", "sees", "cats", "."], ["kittens", "!"]]

    assert Perceptron(*parts).tag_sents(sentences) == nltk_tagger(*parts).tag_sents(sentences)
