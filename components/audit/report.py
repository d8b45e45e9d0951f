"""The report of the stage: the suspects, their classes, and near-duplicates."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.audit import tables
from components.audit.duplicates import DISTANCE, Duplicates
from components.audit.hashes import BITS
from components.audit.scoring import NONE, Scores
from components.audit.selection import Selection
from components.audit.sources import Sources
from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.reports.html import Card, Page

_ROWS = 20
_CARDS = 24
_PAIRS = 24


def draw(
    path: Path,
    selection: Selection,
    near: Duplicates,
    sources: Sources,
    images: ImageSet,
    validation: ImageSet,
    labels: Targets,
) -> None:
    """Write the report to `path`.

    Args:
        path: The file.
        selection: The suspects.
        near: The near-duplicates.
        sources: Where the scores come from.
        images: The training images.
        validation: The validation images.
        labels: The given labels of the training images.
    """
    suspects, figures = selection.suspects, selection.metadata()
    count = len(suspects.numbers)
    page = Page(
        "Label audit",
        f"{count:,} of {figures['images']:,} labels look wrong, {sources.sentence}.",
    )
    page.stats(
        [
            (f"{count:,}", "labels look wrong"),
            (f"{figures['suspects_percent']:.1f}%", "of the training images"),
            (f"{near.across:,}", "near-duplicates with different labels"),
            (f"{near.leaks:,}", "near-duplicates in training and validation"),
        ]
    )
    accuracies = ", ".join(f"{each:.1%}" for each in sources.top1)
    page.paragraph(
        f"The models' balanced top-1 accuracy on the validation images: {accuracies}. The weaker "
        "they are, the more of their own errors are among the suspects, in particular at the end "
        "of the list."
    )
    if count:
        _suspects(page, suspects, images, labels)
        _classes(page, selection, labels.titles)
    _duplicates(page, near, images, validation, labels)
    page.write(path)


def _suspects(page: Page, suspects: Scores, images: ImageSet, labels: Targets) -> None:
    first = suspects.taken(np.arange(min(_CARDS, len(suspects.numbers))))
    names = images.id_column().take(first.numbers).to_pylist()
    page.heading("The most suspect labels")
    page.paragraph("All are in suspects.csv and suspects.parquet, in this order.")
    page.cards([_card(first, row, id, images, labels.titles) for row, id in enumerate(names)])


def _card(scores: Scores, row: int, id: str, images: ImageSet, titles: Sequence[str]) -> Card:
    given, suggested = int(scores.given[row]), int(scores.suggested[row])
    named, model = int(scores.text_classes[row]), int(scores.model_classes[row])
    shares = ((suggested, scores.probabilities[row, 0]), (given, scores.label[row]))
    text = "nothing" if named == NONE else f"{titles[named]} {scores.text[row]:.2f}"
    return Card(
        image=images.peek(int(scores.numbers[row])),
        title=f"{titles[given]} → {titles[suggested]}",
        lines=[
            *((f"{titles[label]} {share:.2f}", float(share)) for label, share in shares),
            f"models: {titles[model]} {scores.model[row]:.2f}",
            f"text: {text}",
        ],
        id=id,
    )


def _classes(page: Page, selection: Selection, titles: Sequence[str]) -> None:
    suspects, images = selection.suspects, selection.images
    pairs = Counter(zip(suspects.given.tolist(), suspects.suggested.tolist(), strict=True))
    page.heading("What is taken for what")
    page.table(
        ["given label", "suggested", "suspects", "share of the label"],
        [
            (titles[given], titles[other], count, f"{count / images[given]:.1%}")
            for (given, other), count in pairs.most_common(_ROWS)
        ],
    )
    counts = np.bincount(suspects.given, minlength=len(titles))
    shares = counts / np.maximum(1, images)
    page.heading("Labels with most suspects")
    page.table(
        ["given label", "images", "suspects", "share"],
        [
            (titles[i], int(images[i]), int(counts[i]), f"{shares[i]:.1%}")
            for i in np.argsort(-counts, kind="stable")[:_ROWS].tolist()
            if counts[i]
        ],
    )


def _duplicates(
    page: Page, near: Duplicates, images: ImageSet, validation: ImageSet, labels: Targets
) -> None:
    page.heading("Near-duplicates")
    if not len(near.pairs.one):
        page.paragraph("No pictures of different labels, or of training and validation, are alike.")
        return
    page.paragraph(
        f"Pairs whose difference hashes differ in at most {DISTANCE} of {BITS} bits. Of two labels "
        "one is wrong, or the picture shows both; and a picture that is in training and in "
        "validation makes models look better than they are. All pairs are in duplicates.csv."
    )
    table = tables.duplicates(near, images, validation, labels).slice(0, _PAIRS)
    titles = dict(zip(labels.names, labels.titles, strict=True))
    page.cards(
        [
            Card(
                image=(
                    images.peek(number)
                    if number < near.training
                    else validation.peek(number - near.training)
                ),
                title=f"{titles[row['label']]} / {titles[row['other_label']]}",
                lines=[
                    f"{row['split']}: {row['id']}",
                    f"{row['other_split']}: {row['other_id']}",
                    f"{row['distance']} bits differ",
                ],
            )
            for number, row in zip(near.pairs.one.tolist(), table.to_pylist(), strict=False)
        ]
    )
