"""Tagging beside NLTK: the same sentences, the same tags.

    NLTK_DATA=… python -m tests.benchmarks.tagging
    NLTK_DATA=… python -m tests.benchmarks.tagging --texts runs/sample/…/texts

The sentences are WordNet's glosses, 1.3 M tokens, or those of a stage's Texts. On one core, piece
by piece, all contestants on a piece before the next one; the first meets most of the new words.
`Perceptron.tag_sents` takes and gives strings, as NLTK does; `Perceptron.tag` numbers, as the stage
does. The last row is all of the stage's first pass: cleaning, tokens, tags, lemmas, names of
several words. It reads the same texts, and its tokens are its own. spaCy's small tagger, whose tags
are other ones, takes part if it is installed: `uv pip install spacy` and its `en_core_web_sm`.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import nltk
import numpy as np
from numpy.typing import NDArray

from components.shared.data.texts import Texts
from components.tagging.keywords import Extractor
from components.tagging.language import language
from components.tagging.perceptron import Perceptron
from components.tagging.phrases import phrases
from components.tagging.taggers import load
from tests.benchmarks.rounds import machine, on_one_core, print_table, ratio

TAGGER = "averaged_perceptron_tagger_eng"
Sentences = list[list[str]]
Tagged = list[list[tuple[str, str]]]


def glosses() -> Iterator[str]:
    """Yield what WordNet says of its synsets, in no particular order."""
    from nltk.corpus import wordnet

    found = [synset.definition() for synset in wordnet.all_synsets()]
    yield from (found[i] for i in np.random.default_rng(0).permutation(len(found)))


def texts_of(path: Path) -> Iterator[str]:
    """Yield the titles and descriptions of Texts."""
    for batch in Texts(path).batches(["title", "description"]):
        for title, description in zip(*batch.values(), strict=True):
            yield f"{title}. {description}"


def pieces(texts: Iterator[str], tokens: int) -> Iterator[list[str]]:
    """Yield some texts of `tokens` tokens at a time."""
    while piece := list(islice(texts, tokens // 11)):
        yield piece


def numbered(perceptron: Perceptron, sentences: Sentences) -> tuple[NDArray[np.int32], Any]:
    """Return the numbers of all words, and how many are each sentence's."""
    words = [perceptron.number(word) for sentence in sentences for word in sentence]
    return np.array(words, np.int32), np.array([len(sentence) for sentence in sentences])


def spacys() -> Callable[[Sentences], object] | None:
    """Return spaCy's tagger without its other steps, if it is here."""
    try:
        import spacy

        tagger = spacy.load("en_core_web_sm", exclude=["parser", "ner", "lemmatizer"])
    except (ImportError, OSError) as error:
        print(f"spaCy is not run: {error}\n")
        return None

    def tags(sentences: Sentences) -> object:
        docs = (spacy.tokens.Doc(tagger.vocab, words=sentence) for sentence in sentences)
        return [[token.tag_ for token in doc] for doc in tagger.pipe(docs)]

    return tags


def compare(texts: Iterator[str], piece_tokens: int) -> None:
    """Tag all texts, and print the table."""
    perceptron = load(TAGGER)
    known = language(perceptron.tags)
    extract = Extractor(load(TAGGER), known, phrases(known), "title", "nouns+adjectives", True)
    seconds: dict[str, list[float]] = {}
    tokens, read, different, spacy = 0, 0, 0, spacys()

    def timed(name: str, run: Callable[..., Any], *arguments: object) -> Any:
        start = time.perf_counter()
        found = run(*arguments)
        seconds.setdefault(name, []).append(time.perf_counter() - start)
        return found

    for piece in pieces(texts, piece_tokens):
        sentences = [[*text.split(), "."] for text in piece]
        theirs = timed("nltk.pos_tag_sents", nltk.pos_tag_sents, sentences)
        ours = timed("Perceptron.tag_sents", perceptron.tag_sents, sentences)
        if spacy:
            timed("spaCy's en_core_web_sm", spacy, sentences)
        timed("Perceptron.tag", perceptron.tag, *numbered(perceptron, sentences))
        read += timed("the stage's first pass", extract, {"title": piece}).tokens
        tokens += sum(map(len, sentences))
        different += count_different(theirs, ours)
    num_pieces = len(seconds["Perceptron.tag"])
    print(f"{tokens:,} tokens in {num_pieces} pieces, on one core of {machine()}")
    print(f"{different:,} tags differ\n")
    rows = [
        [
            name,
            f"{(read if 'stage' in name else tokens) / sum(taken):,.0f}",
            f"{1 / ratio(seconds, 'nltk.pos_tag_sents', name):.1f}",
        ]
        for name, taken in seconds.items()
    ]
    print_table(["", "tokens/s", "times as fast as NLTK (median piece)"], rows)


def count_different(ours: Tagged, theirs: Tagged) -> int:
    """Return in how many places tagged sentences differ."""
    pairs = zip(ours, theirs, strict=True)
    return sum(a != b for each in pairs for a, b in zip(*each, strict=True))


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--texts", type=Path, help="Texts, in place of WordNet's glosses")
    parser.add_argument("--piece", type=int, default=60_000, metavar="TOKENS")
    arguments = parser.parse_args()
    on_one_core()
    compare(texts_of(arguments.texts) if arguments.texts else glosses(), arguments.piece)


if __name__ == "__main__":
    main()
