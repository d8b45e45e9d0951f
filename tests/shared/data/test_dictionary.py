import random
import shutil
from pathlib import Path

import nltk
import pytest

from components.shared.data.dictionary import Dictionary

PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}


@pytest.fixture(scope="module")
def dictionary(nltk_data: Path) -> Dictionary:
    return Dictionary.load()


@pytest.fixture(scope="module")
def some_words(nltk_data: Path) -> list[str]:
    from nltk.corpus import wordnet

    return random.Random(0).sample(sorted(wordnet.all_lemma_names()), k=2_000)


def test_has_nltks_nouns(dictionary: Dictionary) -> None:
    from nltk.corpus import wordnet

    assert len(dictionary.nouns) > 100_000
    assert set(dictionary.nouns) == set(wordnet.all_lemma_names("n"))


def test_finds_the_base_forms_that_nltk_finds(
    dictionary: Dictionary, some_words: list[str]
) -> None:
    from nltk.corpus import wordnet

    draw = random.Random(1)
    endings = ["", "s", "es", "ies", "ing", "ed", "er", "est", "men", "ves", "ches"]
    exceptions = ["geese", "men", "mice", "oxen", "better", "went", "axes", "aurochs"]
    forms = [*exceptions, *some_words, *(word + draw.choice(endings) for word in some_words)]
    forms += [word[:-1] + draw.choice(endings) for word in some_words]
    for form in forms:
        for part, letter in PARTS.items():
            assert dictionary.base(form, part) == wordnet.morphy(form, letter), (form, part)


def test_common_words_are_those_that_nltk_has_in_small_letters(
    dictionary: Dictionary, some_words: list[str]
) -> None:
    from nltk.corpus import wordnet

    for word in [*some_words, "paris", "running", "dogs", "nosuchword"]:
        forms = {word, *(wordnet.morphy(word, letter) for letter in PARTS.values())}
        names = {name for synset in wordnet.synsets(word) for name in synset.lemma_names()}
        assert dictionary.is_common(word) == bool(forms & names), word
    assert dictionary.is_common("running")
    assert not dictionary.is_common("paris")


@pytest.mark.parametrize(
    "noun", ["dog", "shoe", "shoes", "cow", "cows", "beagle", "sea", "glasses"]
)
def test_counts_the_uses_that_nltk_counts(dictionary: Dictionary, noun: str) -> None:
    from nltk.corpus import wordnet

    lemmas = {lemma.key(): lemma for lemma in wordnet.lemmas(noun, "n")}
    assert lemmas
    assert dictionary.uses(noun) == sum(lemma.count() for lemma in lemmas.values())


def test_knows_what_is_a_kind_of_what(dictionary: Dictionary, some_words: list[str]) -> None:
    from nltk.corpus import wordnet

    def kinds(noun: str) -> set[str]:
        return {
            name
            for synset in wordnet.synsets(noun, "n")
            if noun in map(str.lower, synset.lemma_names())
            for above in synset.closure(lambda each: each.hypernyms() + each.instance_hypernyms())
            for name in above.lemma_names()
        }

    assert dictionary.is_kind("golden_retriever", "retriever")
    assert dictionary.is_kind("golden_gate_bridge", "bridge")
    assert not dictionary.is_kind("sea_lion", "lion")
    for noun in [word for word in some_words if word in set(dictionary.nouns)][:60]:
        for other in (noun.rpartition("_")[2], "animal", "artifact"):
            assert dictionary.is_kind(noun, other) == (other in kinds(noun)), (noun, other)


def test_reads_wordnet_as_nltk_downloads_it(
    nltk_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays in its archive."""
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    with pytest.raises(LookupError):
        Dictionary.load()
    corpora = nltk_data / "corpora"
    shutil.make_archive(str(tmp_path / "corpora" / "wordnet"), "zip", corpora, "wordnet")

    assert "golden_retriever" in Dictionary.load().nouns
