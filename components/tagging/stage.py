"""The stage `tagging`."""

import logging
from pathlib import Path
from typing import Literal

from components.shared.interface import (
    InputDataset,
    OutputDataset,
    OutputHTML,
    OutputMetrics,
    UserError,
)

logger = logging.getLogger(__name__)


def tagging(
    texts: InputDataset,
    keywords: OutputDataset,
    report: OutputHTML,
    metrics: OutputMetrics,
    *,
    vocabulary_size: int = 35_000,
    min_images: int = 100,
    max_share: float = 0.05,
    max_keywords: int = 10,
    fields: Literal["title", "title+description", "tags", "all"] = "all",
    parts_of_speech: Literal["nouns", "nouns+adjectives"] = "nouns+adjectives",
    keep_query_words: bool = True,
    tagger: str = "averaged_perceptron_tagger_eng",
) -> None:
    """Tag each image with the nouns and adjectives of its text.

    Args:
        texts: What the web says around each image (Texts).
        keywords: The keywords of each image, of weight 1 (Targets).
        report: Keyword statistics and examples.
        metrics: Counts.
        vocabulary_size: Keep so many keywords, the most frequent ones.
        min_images: Drop keywords with fewer images.
        max_share: Drop keywords that more than this share of the images have.
        max_keywords: Keep so many keywords of an image, the most specific ones.
        fields: Which of the texts to read.
        parts_of_speech: Which words are keywords.
        keep_query_words: Whether the words of the query that found an image may be its keywords.
        tagger: An NLTK resource, or a folder with a perceptron tagger's JSON files.
    """
    import numpy as np

    from components.shared import storage
    from components.shared.metrics import write as write_metrics
    from components.shared.parallel import ordered
    from components.shared.progress import progress
    from components.shared.targets import Targets, TargetsWriter
    from components.shared.texts import Texts
    from components.shared.unfinished import Parts, place
    from components.tagging.keywords import Extractor
    from components.tagging.lemmas import WordNetLemmas, lemmatizer
    from components.tagging.occurrences import RowGroupReader, WordCounts
    from components.tagging.phrases import phrases
    from components.tagging.report import write_report
    from components.tagging.taggers import load
    from components.tagging.vocabulary import RowGroupChooser, select

    counts_at_least_one = {
        "vocabulary_size": vocabulary_size,
        "min_images": min_images,
        "max_keywords": max_keywords,
    }
    for name, value in counts_at_least_one.items():
        if value < 1:
            raise UserError(f"{name}={value}: at least 1 is needed")
    if not 0 < max_share <= 1:
        raise UserError(f"max_share={max_share:g}: a share above 0 and up to 1 is needed")

    corpus = Texts(texts)
    row_groups = range(len(corpus.row_groups()))
    lemmas = lemmatizer()
    extract = Extractor(
        load(tagger), lemmas, phrases(lemmas), fields, parts_of_speech, keep_query_words
    )
    # What has been read outlives a kill, and a min_images that turns out too high.
    unfinished = place(
        "tagging",
        [texts, Path(tagger) if Path(tagger).is_dir() else None],
        fields=fields,
        parts_of_speech=parts_of_speech,
        keep_query_words=keep_query_words,
        tagger=tagger,
        lemmas=lemmas.name,
    )
    parts, counts, tokens = Parts(unfinished), WordCounts(), 0
    if len(parts):
        logger.info(
            "%s: %d of %d row groups are tagged already", unfinished, len(parts), len(row_groups)
        )
    work = ordered(RowGroupReader(texts, extract, parts), row_groups)
    for found, seen in progress(work, total=len(row_groups), unit="row group", what="Tagging"):
        counts.add(found)
        tokens += seen
    vocabulary = select(
        counts.table(),
        len(corpus),
        vocabulary_size=vocabulary_size,
        min_images=min_images,
        max_share=max_share,
    )
    names = vocabulary.words
    chosen = ordered(RowGroupChooser(Parts(unfinished), vocabulary, max_keywords), row_groups)
    chosen = progress(chosen, total=len(row_groups), unit="row group", what="Choosing keywords")
    with TargetsWriter(keywords, names, names, corpus.numbering) as writer:
        for kept, classes in chosen:
            writer.append(kept, classes, np.ones(len(classes), np.float32))

    targets = Targets.load(keywords)
    write_report(report, corpus, targets, counts.table(), vocabulary, lemmas.name)
    with_keywords = np.count_nonzero(np.diff(targets.offsets)) / len(targets)
    scalars = {
        "images": len(targets),
        "images_with_keywords": with_keywords,
        "keywords_per_image": len(targets.classes) / len(targets),
        "vocabulary": len(names),
        "distinct_words": len(counts.table()),
        "tokens": tokens,
        "wordnet_lemmas": int(isinstance(lemmas, WordNetLemmas)),
    }
    write_metrics(metrics, scalars)
    storage.remove_folder(unfinished)
    logger.info(
        "%s keywords, %.1f per image; %.1f %% of %s images have one",
        f"{len(names):,}",
        scalars["keywords_per_image"],
        100 * with_keywords,
        f"{len(targets):,}",
    )
