"""The stage `pseudo_label`."""

import math
from typing import Annotated, Any

from components.shared.stage.errors import UserError
from components.shared.stage.interface import (
    InputDataset,
    InputModels,
    OutputDataset,
    OutputHTML,
    Range,
)
from components.shared.training.views import Views


def pseudo_label(
    images: InputDataset,
    labels: InputDataset,
    models: InputModels,
    pseudo_labels: OutputDataset,
    report: OutputHTML,
    weights: InputDataset | None = None,
    *,
    num_teachers: Annotated[int, Range(at_least=1, at_most=1_000)] = 2,
    top_k: Annotated[int, Range(at_least=1, at_most=100)] = 5,
    sharpness: Annotated[float, Range(above=0, at_most=10)] = 2.0,
    with_texts: bool = False,
    text_floor: Annotated[float, Range(above=0, at_most=1_000)] = 0.05,
    silent_weight: Annotated[float, Range(at_least=0, at_most=1)] = 0.5,
    label_share: Annotated[float, Range(at_least=0, below=1)] = 0.0,
    keep_share: Annotated[float, Range(above=0, at_most=1)] = 1.0,
    views: Views = "one",
    batch_size: Annotated[int, Range(at_least=1, at_most=65_536)] = 256,
) -> None:
    """Label every training image with the best models' predictions.

    Args:
        images: The training images (ImageSet).
        labels: Their given labels (Targets).
        models: Classifiers of the concepts. If there are more than `num_teachers`, those that are
            best on one half of the validation images teach, and the other half measures.
        pseudo_labels: The most probable concepts of each image (Targets).
        report: How the pseudo labels differ from the given ones.
        weights: What the texts say (Targets), for `with_texts`.
        num_teachers: Number of models whose probabilities are averaged.
        top_k: Concepts kept per image, with normalised weights.
        sharpness: Weights are in proportion to this power of the probabilities.
        with_texts: Multiply the probabilities by what the texts say.
        text_floor: Added to the weights of the text's concepts before they multiply: the larger,
            the less texts count.
        silent_weight: The weight that `weighting` gives where a text says nothing.
        label_share: Share of the given label in an image's weights.
        keep_share: Share of the images that get a label: of those with the same strongest concept,
            the ones that teachers are surest of.
        views: What teachers see of an image: its middle; also its mirror image, for twice the GPU
            time; or three crops, each mirrored, for six times.
        batch_size: Images at a time.
    """
    import numpy as np

    from components.pseudo_label.comparison import Comparison
    from components.pseudo_label.labelling import Labelling, best, most_confident
    from components.pseudo_label.report import draw
    from components.shared.data.image_set import ImageSet
    from components.shared.data.targets import Targets, TargetsWriter
    from components.shared.stage import metadata, ranks
    from components.shared.storage import resume
    from components.shared.training.evidence import Texts
    from components.shared.training.inference import Inference, read_records

    image_set, given = ImageSet.load(images), Targets.load(labels)
    image_set.identity.check(given.identity, str(labels))
    said = None
    if with_texts:
        if weights is None:
            raise UserError("with_texts=true needs weights: give those that weighting makes")
        said = Targets.load(weights)
        image_set.identity.check(said.identity, str(weights))
    records = read_records(models, given.names)
    teachers = best(records, num_teachers)
    folders = [models[i] for i in teachers]
    chosen = [what for i in teachers for what in records[i].chosen]
    chosen += ["the teachers of the pseudo labels"] if len(teachers) < len(records) else []
    texts = Texts(said, given, silent_weight)
    # All that parts depend on: what labels are made of them is free to change.
    settings: dict[str, Any] = {"top_k": top_k, "batch_size": batch_size, "views": views}
    asked = [labels, weights if with_texts else None]
    uri = resume.folder("pseudo_label", [images, *asked, *folders], **settings)
    inference = Inference(uri=uri, images=image_set, folders=folders, asked=texts.asked, **settings)
    ranks.launch()
    inference.run("pseudo labels")
    if ranks.rank() > 0:
        return

    labelling = Labelling(
        top_k=top_k,
        sharpness=sharpness,
        text_floor=text_floor if with_texts else math.inf,
        label_share=label_share,
    )
    kept = np.ones(len(image_set), np.bool_)
    if keep_share < 1:
        strongest = [labelling(texts.evidence(part)).classes[:, 0] for part in inference]
        sure = [part.probabilities[0, :, 0] for part in inference]
        kept = most_confident(np.concatenate(strongest), np.concatenate(sure), keep_share)
    comparison = Comparison(given)
    with TargetsWriter(
        pseudo_labels, given.names, given.titles, given.identity, tuple(dict.fromkeys(chosen))
    ) as writer:
        for part in inference:
            evidence, keeps = texts.evidence(part), kept[part.numbers]
            confidence = part.probabilities[0, :, 0]
            made = labelling(evidence)
            writer.append(*made.pairs(keeps))
            comparison.update(part.numbers, confidence, labelling.literal(evidence), made, keeps)
    metadata.write(pseudo_labels, comparison.metrics)
    draw(report, comparison, records, teachers, image_set, given)
    resume.remove(uri)
