"""The report of ingest: counts, what was left out, and some of the images."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.data.texts import Texts
from components.shared.reports import plots
from components.shared.reports.html import Card, Page

_EXAMPLES, _SHOWN_CHARACTERS = 24, 140


def write_report(
    path: Path,
    images: Path,
    texts: Path,
    labels: Path,
    splits: Mapping[str, int],
    rejects: Mapping[str, int],
    held_out: Path | None = None,
) -> None:
    """Write the report from the outputs.

    Args:
        path: The report.
        images: The training images.
        texts: Their texts.
        labels: Their given labels.
        splits: How many images each split has.
        rejects: How many rejects there are of each kind.
        held_out: The validation images' labels, if they are training images that were held out.
    """
    image_set, targets = ImageSet.load(images), Targets.load(labels)
    page = Page("Ingest", "The images, texts and given labels, as later stages see them.")
    size = sum(shard.bytes for shard in image_set.shards)
    page.paragraph(
        f"{len(image_set):,} training images of {len(targets.names):,} classes in "
        f"{len(image_set.shards):,} shards, {size / len(image_set) / 1000:.1f} kB an image. "
        f"No short side is longer than {image_set.image_side} pixels."
    )
    page.table(["split", "images"], list(splits.items()))
    if held_out is not None:
        counts = np.bincount(Targets.load(held_out).classes, minlength=len(targets.names))
        each = " to ".join(f"{count:,}" for count in sorted({counts.min(), counts.max()}))
        page.paragraph(
            "The data set has no validation images of its own, so some of the training images were "
            f"held out: {each} of each class. Their labels are as noisy as the others: no accuracy "
            "on them can be trusted further than these are right."
        )
    page.heading("What was left out or is missing")
    if rejects:
        page.table(["kind", "count"], Counter(rejects).most_common())
        page.paragraph(
            "Images whose text is missing or was repaired are kept. The table of rejects lists "
            "every case, with its reason."
        )
    else:
        page.paragraph("Nothing.")
    page.heading("Training images per class")
    page.figure(partial(_images_per_class, targets), "Classes in order of size.")
    page.heading("Some of the images, with their given label and text")
    page.cards(_examples(image_set, Texts(texts), targets))
    page.write(path)


def _images_per_class(labels: Targets, width: float) -> Figure:
    counts = np.bincount(labels.classes, minlength=len(labels.names))
    order = np.argsort(-counts, kind="stable")
    figure, (axes,) = plots.panels(1, width, 3)
    if plots.name_classes(axes, [labels.titles[i] for i in order], width):
        axes.bar(range(len(order)), counts[order], color=plots.ACCENT)
    else:
        axes.fill_between(np.arange(len(order)), counts[order], color=plots.ACCENT, linewidth=0)
        axes.set(xlabel="classes, by size", xlim=(0, len(order) - 1))
    axes.set(ylabel="images", ylim=(0, None))
    return figure


def _examples(images: ImageSet, texts: Texts, labels: Targets) -> list[Card]:
    """Return the first images: their order is random."""
    cards = []
    rows = next(texts.batches(["title", "description", "tags", "query"], rows=_EXAMPLES), {})
    fields = list(zip(*rows.values(), strict=True))
    ids = images.ids_of(range(len(fields)))
    for number, (title, description, tags, query) in enumerate(fields):
        (label,), _ = labels[number]
        words = " · ".join(filter(None, (title, description, tags)))
        lines = [words[:_SHOWN_CHARACTERS] or "no text"]
        if query:
            lines.append(f"found by “{query}”")
        cards.append(Card(images.peek(number), labels.titles[label], lines, ids[number]))
    return cards
