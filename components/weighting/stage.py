"""The stage `weighting`."""

import logging
from pathlib import Path
from typing import Literal

from components.shared.stage.errors import UserError
from components.shared.stage.interface import InputDataset, OutputDataset, OutputHTML

logger = logging.getLogger(__name__)


def weighting(
    texts: InputDataset,
    labels: InputDataset,
    weights: OutputDataset,
    report: OutputHTML,
    *,
    neighbors: int = 5,
    top_k: int = 5,
    fallback_weight: float = 0.5,
    similarity: Literal["tf-idf", "embedding"] = "tf-idf",
    embedding_model: str = "none",
) -> None:
    """Weight the concepts near an image's label by how well its text fits them.

    Args:
        texts: The web text around each image (Texts).
        labels: Each image's given label, and the concepts (Targets, with `concepts.parquet`).
        weights: Up to `top_k` concepts of each image, the text's similarity as weight (Targets).
        report: Neighbours, weights and examples.
        neighbors: How many of the nearest concepts are candidates, besides the label.
        top_k: Concepts kept per image.
        fallback_weight: Weight of the given label where the text says nothing.
        similarity: Whether texts and concepts are compared by their words (tf-idf) or by their
            sentence embeddings.
        embedding_model: A folder of sentence-transformers', local or s3://, for embedding; or none.
    """
    import pyarrow.parquet as pq

    from components.shared.data.targets import CONCEPTS, Targets, TargetsWriter
    from components.shared.data.texts import Texts
    from components.shared.stage import metadata
    from components.shared.stage.parallel import ordered
    from components.shared.stage.progress import progress
    from components.shared.storage import resume
    from components.shared.storage.resume import Parts
    from components.weighting.candidates import Candidates, Similarity
    from components.weighting.documents import Documents
    from components.weighting.neighbors import nearest
    from components.weighting.report import draw
    from components.weighting.tally import Tally
    from components.weighting.tf_idf import TfIdfSimilarity
    from components.weighting.weights import RowGroupWeigher, Weigher

    _check(neighbors, top_k, fallback_weight, similarity, embedding_model)
    image_texts, given = Texts(texts), Targets.load(labels)
    given.identity.check(image_texts.identity, str(texts))
    meanings = pq.read_table(labels / CONCEPTS)
    if meanings["wnid"].to_pylist()[: len(given.names)] != given.names:
        raise UserError(
            f"{labels / CONCEPTS}: not the concepts of the labels; use the outputs of one ingest"
        )
    assert len(given.classes) == len(given), "ingest gives each image one label"

    documents = Documents.of(meanings)
    near = nearest(meanings, documents.vectors, neighbors)
    candidates = Candidates.of(meanings, near)
    compare: Similarity
    if similarity == "tf-idf":
        compare = TfIdfSimilarity.of(documents, candidates)
    else:
        from components.weighting.embedding import EmbeddingSimilarity, load

        compare = EmbeddingSimilarity.of(load(embedding_model), meanings, candidates, top_k)
    weigher = Weigher(similarity=compare, top_k=top_k, fallback_weight=fallback_weight)
    row_groups, tally = image_texts.row_groups(), Tally(top_k)
    parameters = {
        "neighbors": neighbors,
        "top_k": top_k,
        "fallback_weight": fallback_weight,
        "similarity": similarity,
        "embedding_model": embedding_model,
    }
    model = Path(embedding_model)
    inputs = [texts, labels, model if model.is_dir() else None]
    uri = resume.folder("weighting", inputs, **parameters)
    made = Parts(uri)
    if len(made):
        logger.info("%d of %d row groups are already weighted", len(made), len(row_groups))
    weigh, numbers = RowGroupWeigher(texts, labels, weigher, made), range(len(row_groups))
    # torch's threads and its GPU do not survive a fork.
    work = map(weigh, numbers) if similarity == "embedding" else ordered(weigh, numbers)
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


def _check(
    neighbors: int, top_k: int, fallback_weight: float, similarity: str, embedding_model: str
) -> None:
    if neighbors < 0:
        raise UserError(f"neighbors={neighbors}: must not be negative")
    if top_k < 1:
        raise UserError(f"top_k={top_k}: must be at least 1")
    if not 0 < fallback_weight <= 1:
        raise UserError(f"fallback_weight={fallback_weight}: must be above 0 and at most 1")
    if similarity == "embedding" and embedding_model == "none":
        raise UserError(
            "similarity=embedding needs a model: set embedding_model to a folder in "
            "sentence-transformers' format, local or s3://"
        )
    if similarity == "tf-idf" and embedding_model != "none":
        raise UserError(
            f"embedding_model={embedding_model} is not used by similarity=tf-idf: "
            "set similarity=embedding, or embedding_model=none"
        )
