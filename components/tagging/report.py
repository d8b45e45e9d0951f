"""The report of tagging: the long tail of words, the part of it that is kept, and examples."""

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.shared.data.targets import Targets
from components.shared.data.texts import Texts
from components.shared.reports import plots
from components.shared.reports.html import Page
from components.tagging.language import English, Language
from components.tagging.vocabulary import Vocabulary

_EXAMPLES, _SHOWN_WORDS, _SHOWN_CHARACTERS = 16, 20, 240


def figures(
    keywords: Targets, counts: pa.Table, tokens: int, language: Language
) -> dict[str, float]:
    """Return the stage's metrics.

    Args:
        keywords: The keywords of the images.
        counts: How many images have each word (word, images).
        tokens: How many tokens were read.
        language: The texts' language.
    """
    with_keywords = np.count_nonzero(np.diff(keywords.offsets))
    return {
        "images": len(keywords),
        "images_with_keywords": with_keywords / len(keywords),
        "keywords_per_image": len(keywords.classes) / len(keywords),
        "vocabulary": len(keywords.names),
        "distinct_words": len(counts),
        "tokens": tokens,
        "wordnet_lemmas": int(isinstance(language, English)),
    }


def write_report(
    path: Path,
    texts: Texts,
    keywords: Targets,
    counts: pa.Table,
    vocabulary: Vocabulary,
    lemmas: str,
) -> None:
    """Write the report.

    Args:
        path: The file.
        texts: The texts,
        keywords: and their keywords.
        counts: How many images have each word (word, images).
        vocabulary: Which words were kept.
        lemmas: What the nouns' lemmas come from.
    """
    num_words, num_kept = len(counts), len(vocabulary.words)
    num_head = len(vocabulary.too_frequent)
    page = Page("Tagging", "The nouns and adjectives of each image's text: its keywords.")
    page.paragraph(
        f"{num_kept:,} of {num_words:,} distinct words are keywords. "
        f"Dropped as too frequent: {num_head:,}; as too rare: {num_words - num_head - num_kept:,}. "
        f"An image has {len(keywords.classes) / len(keywords):.1f} keywords on average. "
        f"Lemmas: {lemmas}."
    )
    page.heading("A long tail")
    page.figure(
        partial(_rank_frequency, counts, vocabulary),
        "Images per word; the words that were kept.",
    )
    columns: list[str] = []
    lists: list[list[object]] = []
    for title, some in _word_lists(vocabulary).items():
        columns += [title, "images"]
        lists += [[word for word, _ in some], [images for _, images in some]]
    page.table(columns, list(itertools.zip_longest(*lists, fillvalue="")))
    page.heading("Keywords per image")
    page.figure(partial(_keywords_per_image, keywords), "Images by their number of keywords.")
    page.heading("Examples")
    page.table(["title", "description", "tags", "keywords"], list(_examples(texts, keywords)))
    page.write(path)


def _word_lists(vocabulary: Vocabulary) -> dict[str, list[tuple[str, int]]]:
    kept = list(zip(vocabulary.words, vocabulary.images.tolist(), strict=True))
    first = vocabulary.too_frequent.slice(0, _SHOWN_WORDS).to_pydict()
    dropped = list(zip(first["word"], first["images"], strict=True))
    return {
        "most frequent, kept": kept[:_SHOWN_WORDS],
        "rarest, kept": kept[: -_SHOWN_WORDS - 1 : -1],
        "dropped, too frequent": dropped,
    }


def _rank_frequency(counts: pa.Table, vocabulary: Vocabulary, width: float) -> Figure:
    """Slide 4 of the talk: images by rank, both logarithmic; a thousand ranks are enough."""
    images = np.sort(counts["images"].to_numpy())[::-1]
    ranks = np.unique(np.geomspace(1, len(images), 1_000).astype(np.int64))
    first = len(vocabulary.too_frequent) + 1
    last = first + len(vocabulary.words) - 1
    kept = np.unique(np.append(ranks[(ranks > first) & (ranks < last)], [first, last]))
    figure, (axes,) = plots.panels(1, width, 4)
    axes.loglog(ranks, images[ranks - 1], color=plots.SOFT, linewidth=2, label="dropped")
    axes.loglog(kept, images[kept - 1], color=plots.ACCENT, linewidth=3, label="kept")
    axes.axvspan(first, last, color=plots.ACCENT, alpha=0.08, linewidth=0)
    axes.set(xlabel="rank of the word", ylabel="images")
    axes.legend(frameon=False)
    return figure


def _keywords_per_image(keywords: Targets, width: float) -> Figure:
    images = np.bincount(np.diff(keywords.offsets))
    figure, (axes,) = plots.panels(1, width, 3)
    axes.bar(np.arange(len(images)), images, color=plots.ACCENT)
    axes.set(xlabel="keywords", ylabel="images")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _examples(texts: Texts, keywords: Targets) -> Iterator[list[str]]:
    """Yield rows of the first images that have a text: images are in random order anyway."""
    shown = 0
    fields = ["title", "description", "tags"]
    first = next(texts.batches(fields, rows=10 * _EXAMPLES))
    for image, row in enumerate(zip(*(first[field] for field in fields), strict=True)):
        if any(row) and shown < _EXAMPLES:
            shown += 1
            classes, _ = keywords[image]
            short = [
                text[:_SHOWN_CHARACTERS] + "…" * (len(text) > _SHOWN_CHARACTERS) for text in row
            ]
            yield [*short, ", ".join(keywords.names[name] for name in classes)]
