"""The stage `tagging`."""

import logging
from typing import Annotated, Literal

from components.shared.stage.interface import (
    InputDataset,
    Location,
    OutputDataset,
    OutputHTML,
    Range,
)

logger = logging.getLogger(__name__)


def tagging(
    texts: InputDataset,
    keywords: OutputDataset,
    report: OutputHTML,
    *,
    vocabulary_size: Annotated[int, Range(at_least=1, at_most=10_000_000)] = 35_000,
    min_images: Annotated[int, Range(at_least=1, at_most=1_000_000_000)] = 100,
    max_share: Annotated[float, Range(above=0, at_most=1)] = 0.05,
    max_keywords: Annotated[int, Range(at_least=1, at_most=1_000)] = 10,
    fields: Literal["title", "title+description", "tags", "all"] = "all",
    parts_of_speech: Literal["nouns", "nouns+adjectives"] = "nouns+adjectives",
    keep_query_words: bool = True,
    tagger: Annotated[str, Location(other=r"\w[\w.-]*")] = "averaged_perceptron_tagger_eng",
) -> None:
    """Tag each image with the nouns and adjectives of its text.

    Args:
        texts: The web text around each image (Texts).
        keywords: The keywords of each image, of weight 1 (Targets).
        report: Keyword statistics and examples.
        vocabulary_size: Number of keywords to keep, the most frequent ones.
        min_images: Drop keywords with fewer images.
        max_share: Drop keywords that more than this share of the images have.
        max_keywords: Keywords kept per image, the most specific ones.
        fields: Which of the texts to read.
        parts_of_speech: Which words can be keywords.
        keep_query_words: Whether the words of the query that found an image may be its keywords.
        tagger: An NLTK resource, or a folder with a perceptron tagger's JSON files.
    """
    import numpy as np

    from components.shared.data.targets import Targets, TargetsWriter
    from components.shared.data.texts import Texts
    from components.shared.stage import metadata
    from components.shared.stage.parallel import ordered
    from components.shared.stage.progress import progress
    from components.shared.storage import resume
    from components.shared.storage.resume import Parts
    from components.tagging.keywords import Extractor
    from components.tagging.language import language
    from components.tagging.occurrences import RowGroupReader, count
    from components.tagging.phrases import phrases
    from components.tagging.report import figures, write_report
    from components.tagging.taggers import load
    from components.tagging.vocabulary import RowGroupChooser, select

    corpus, perceptron = Texts(texts), load(tagger)
    known = language(perceptron.tags)
    extract = Extractor(
        perceptron, known, phrases(known), fields, parts_of_speech, keep_query_words
    )
    # Occurrences survive a kill, and a min_images that turns out too high.
    uri = resume.folder(
        "tagging",
        [texts],
        fields=fields,
        parts_of_speech=parts_of_speech,
        keep_query_words=keep_query_words,
        tagger=perceptron.digest(),
        language=known.digest,
    )
    row_groups = range(len(corpus.row_groups()))
    counts, tokens = count(RowGroupReader(texts, extract, Parts(uri)), row_groups)
    vocabulary = select(
        counts,
        len(corpus),
        vocabulary_size=vocabulary_size,
        min_images=min_images,
        max_share=max_share,
    )
    names, reader = vocabulary.words, RowGroupReader(texts, extract, Parts(uri))
    choose = RowGroupChooser(reader, vocabulary, max_keywords)
    chosen = progress(
        ordered(choose, row_groups), total=len(row_groups), unit="row group", what="Choosing"
    )
    with TargetsWriter(keywords, names, names, corpus.identity) as writer:
        for kept, classes in chosen:
            writer.append(kept, classes, np.ones(len(classes), np.float32))

    targets = Targets.load(keywords)
    found = figures(targets, counts, tokens, known)
    write_report(report, corpus, targets, counts, vocabulary, known.lemmas)
    metadata.write(keywords, found)
    resume.remove(uri)
    logger.info(
        "%s keywords, %.1f per image; %.1f %% of %s images have one",
        f"{len(names):,}",
        found["keywords_per_image"],
        100 * found["images_with_keywords"],
        f"{len(targets):,}",
    )
