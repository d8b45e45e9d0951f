"""The stage `weighting`."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from components.shared.stage.errors import UserError
from components.shared.stage.interface import (
    InputDataset,
    OutputDataset,
    OutputHTML,
    Range,
)
from components.weighting.settings import SimilaritySettings

logger = logging.getLogger(__name__)


def weighting(
    texts: InputDataset,
    labels: InputDataset,
    weights: OutputDataset,
    report: OutputHTML,
    *,
    neighbors: Annotated[int, Range(at_least=0, at_most=1_000)] = 5,
    top_k: Annotated[int, Range(at_least=1, at_most=100)] = 5,
    fallback_weight: Annotated[float, Range(at_least=0, at_most=1)] = 0.1,
    label_weight: Annotated[float, Range(at_least=0, at_most=1)] = 0.1,
    sharpness: Annotated[float, Range(above=0, at_most=10)] = 3.0,
    comparing: SimilaritySettings,
) -> None:
    """Weight the concepts near an image's label by how well its text fits them.

    Args:
        texts: The web text around each image (Texts).
        labels: Each image's given label, and the concepts (Targets, with `concepts.parquet`).
        weights: Up to `top_k` concepts of each image, the text's similarity as weight (Targets).
        report: Neighbours, weights and examples.
        neighbors: How many of the nearest concepts are candidates, besides the label.
        top_k: Concepts kept per image.
        fallback_weight: Weight of the given label where the text says nothing; 0 leaves such images
            out.
        label_weight: Added to the given label's similarity where the text says something.
        sharpness: Weights are in proportion to this power of the similarities; an image keeps the
            sum of its weights.
        comparing: How texts and concepts are compared.
    """
    from components.shared.data.targets import CONCEPTS, CONCEPTS_SCHEMA, Targets, TargetsWriter
    from components.shared.data.texts import Texts
    from components.shared.stage import metadata
    from components.shared.stage.parallel import ordered
    from components.shared.stage.progress import progress
    from components.shared.storage import arrays, resume
    from components.shared.storage.resume import Parts
    from components.weighting.candidates import Candidates, Similarity
    from components.weighting.documents import Documents
    from components.weighting.neighbors import nearest
    from components.weighting.report import draw
    from components.weighting.tally import Tally
    from components.weighting.tf_idf import TfIdfSimilarity
    from components.weighting.weights import RowGroupWeigher, Weigher

    image_texts, given = Texts(texts), Targets.load(labels)
    given.identity.check(image_texts.identity, str(texts))
    meanings = arrays.table(labels / CONCEPTS, CONCEPTS_SCHEMA)
    if meanings["wnid"].to_pylist()[: len(given.names)] != given.names:
        raise UserError(
            f"{labels / CONCEPTS}: not the concepts of the labels; use the outputs of one ingest"
        )
    assert len(given.classes) == len(given), "ingest gives each image one label"

    names = None
    if comparing.naming:
        from components.weighting.names import Names  # takes a second, with NLTK

        names = Names.of(meanings)
    documents = Documents.of(meanings, names)
    near = nearest(meanings, documents.vectors, neighbors)
    candidates = Candidates.of(meanings, near)
    compare: Similarity
    if comparing.similarity == "tf-idf":
        compare = TfIdfSimilarity.of(documents, candidates)
    else:
        from components.weighting.embedding import EmbeddingSimilarity, load

        compare = EmbeddingSimilarity.of(
            load(comparing.embedding_model), meanings, candidates, top_k
        )
    weigher = Weigher(
        similarity=compare,
        top_k=top_k,
        fallback_weight=fallback_weight,
        label_weight=label_weight,
        sharpness=sharpness,
    )
    row_groups, tally = image_texts.row_groups(), Tally(top_k)
    parameters = {
        "neighbors": neighbors,
        "top_k": top_k,
        "fallback_weight": fallback_weight,
        "label_weight": label_weight,
        "sharpness": sharpness,
        "wordnet": names.digest if names else "",
        **asdict(comparing),
    }
    model = Path(comparing.embedding_model)
    inputs = [texts, labels, model if model.is_dir() else None]
    uri = resume.folder("weighting", inputs, **parameters)
    made = Parts(uri)
    if len(made):
        logger.info("%d of %d row groups are already weighted", len(made), len(row_groups))
    weigh, numbers = RowGroupWeigher(texts, labels, weigher, made), range(len(row_groups))
    # torch's threads and its GPU do not survive a fork.
    work = map(weigh, numbers) if comparing.similarity == "embedding" else ordered(weigh, numbers)
    parts = progress(
        work,
        total=len(given),
        unit="image",
        what="Weighting",
        units=lambda part: len(part.counts),
    )
    with TargetsWriter(weights, given.names, given.titles, given.identity) as writer:
        for images, part in zip(row_groups, parts, strict=True):
            writer.append(part.counts, part.classes, part.weights)
            tally.add(part, given.classes[images.start : images.stop])

    draw(report, image_texts, given, Targets.load(weights), near, tally)
    metadata.write(weights, tally.metrics())
    resume.remove(uri)
