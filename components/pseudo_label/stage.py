"""The stage `pseudo_label`."""

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
    *,
    num_teachers: Annotated[int, Range(at_least=1)] = 2,
    top_k: Annotated[int, Range(at_least=1, at_most=100)] = 5,
    min_confidence: Annotated[float, Range(at_least=0, at_most=1)] = 0.2,
    views: Views = "one",
    batch_size: Annotated[int, Range(at_least=1)] = 256,
) -> None:
    """Label every training image with the best models' predictions.

    Args:
        images: The training images (ImageSet).
        labels: Their given labels, to compare with (Targets).
        models: Classifiers of the concepts; the best by validation accuracy are the teachers.
        pseudo_labels: The most probable concepts of each image (Targets).
        report: How the pseudo labels differ from the given ones.
        num_teachers: Number of models whose probabilities are averaged.
        top_k: Concepts kept per image, with normalised probabilities.
        min_confidence: Images whose top concept is less probable get no label.
        views: What teachers see of an image: its middle; also its mirror image, for twice the GPU
            time; or three crops, each mirrored, for six times.
        batch_size: Images at a time.
    """
    from components.pseudo_label.comparison import Comparison
    from components.pseudo_label.labelling import as_pairs, best
    from components.pseudo_label.report import draw
    from components.shared.data.image_set import ImageSet
    from components.shared.data.targets import Targets, TargetsWriter
    from components.shared.stage import metadata, ranks
    from components.shared.storage import resume
    from components.shared.training.inference import Inference, read_records

    image_set, given = ImageSet.load(images), Targets.load(labels)
    image_set.identity.check(given.identity, str(labels))
    records = read_records(models, given.names)
    chosen = best(records, num_teachers)
    teachers = [models[i] for i in chosen]
    # The teachers' predictions survive a min_confidence that turns out too high.
    settings: dict[str, Any] = {"top_k": top_k, "batch_size": batch_size, "views": views}
    uri = resume.folder("pseudo_label", [images, *teachers], **settings)
    inference = Inference(uri=uri, images=image_set, folders=teachers, **settings)
    ranks.launch()
    inference.run("pseudo labels")
    if ranks.rank() > 0:
        return

    comparison = Comparison(given, min_confidence)
    with TargetsWriter(pseudo_labels, given.names, given.titles, given.identity) as writer:
        for part in inference:
            classes, probabilities = part.classes[0], part.probabilities[0]
            writer.append(*as_pairs(classes, probabilities, min_confidence))
            comparison.update(part.numbers, classes, probabilities)
        if comparison.labelled == 0:
            raise UserError(
                f"min_confidence={min_confidence}: no image's top concept is that probable "
                f"(on average {comparison.mean_confidence:.2f}): lower it"
            )
    metadata.write(pseudo_labels, comparison.metrics)
    draw(report, comparison, records, chosen, image_set, given, min_confidence)
    resume.remove(uri)
