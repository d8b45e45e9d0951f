"""The stage `tagging`."""

from typing import Literal

from components.shared.interface import InputDataset, OutputDataset, OutputHTML, OutputMetrics


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
        tagger: An NLTK resource, or a folder with a perceptron tagger's JSON files.
    """
    raise NotImplementedError
