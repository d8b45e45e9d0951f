"""The report of a training: its curves, the best and worst classes, its settings."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray

from components.shared.data.halves import REPORTED, unchosen
from components.shared.reports import plots
from components.shared.reports.html import Page
from components.shared.training.models import Record
from components.shared.training.transforms import device
from components.shared.training.validation import LabelValidation, Validation

_LABELS = {
    "loss": "training loss",
    "validation_loss": "held-out loss",
    "top1": "balanced top-1",
    "top5": "balanced top-5",
    "recall5": "held-out recall@5",
    "learning_rate": "learning rate",
}
_PANELS = (("loss", "validation_loss"), ("top1", "top5", "recall5"), ("learning_rate",))
_CLASSES_SHOWN = 10
_EPOCHS_MARKED = (
    40  # more marks would merge into a thick line, and take up most of the page's bytes
)


def page(record: Record, validation: Validation, external: LabelValidation | None = None) -> Page:
    """Return the report of a model and its last validation, and of that on an external set."""
    where = torch.cuda.get_device_name() if device().type == "cuda" else "the CPU"
    seen, seconds = record.metrics["images_seen"], record.metrics["seconds"]
    page = Page(
        f"{record.stage}: {record.backbone}",
        f"{len(record.names):,} classes, {len(record.curve)} epochs: "
        f"{_LABELS[validation.score]} {record.score:.1%}. {seen:,.0f} images in "
        f"{seconds:,.0f} s on {where}, {record.metrics['images_per_second']:,.0f} images/s.",
    )
    if record.chosen and REPORTED in record.metrics:
        page.paragraph(
            f"On {unchosen(record.chosen)}, balanced top-1 is {record.metrics[REPORTED]:.1%}: that "
            "is the figure to quote. All others here are of all validation images."
        )
    if external:
        top1, top5 = (record.metrics[f"external_{name}"] for name in ("top1", "top5"))
        page.paragraph(
            f"On the images of {external.title}: {_LABELS['top1']} {top1:.1%}, {_LABELS['top5']} "
            f"{top5:.1%}. They choose nothing."
        )
    page.figure(
        partial(_curves, record.curve),
        "Against the images seen. The model is that of the last epoch.",
    )
    if validation.per_class is not None:
        _add_classes(page, record.titles, validation.per_class)
    return page


def _curves(curve: Sequence[dict[str, float]], width: float) -> Figure:
    figure, panels = plots.panels(len(_PANELS), width, 3.2)
    images = [entry["images"] for entry in curve]
    marker = "." if len(curve) <= _EPOCHS_MARKED else ""
    for axes, names in zip(panels, _PANELS, strict=True):
        for name in names:
            if name in curve[0]:
                values = [entry[name] for entry in curve]
                axes.plot(images, values, marker=marker, label=_LABELS[name])
        axes.set_xlabel("images seen")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    axes.set_yscale("log")
    return figure


def _add_classes(page: Page, titles: Sequence[str], per_class: NDArray[np.float64]) -> None:
    known = np.flatnonzero(~np.isnan(per_class))
    order = known[np.argsort(-per_class[known], kind="stable")]
    page.heading("Classes")
    shown = min(_CLASSES_SHOWN, len(order) // 2)
    best, worst = order[:shown], order[len(order) - shown :][::-1]
    rows = [
        (titles[good], f"{per_class[good]:.1%}", titles[bad], f"{per_class[bad]:.1%}")
        for good, bad in zip(best, worst, strict=True)
    ]
    page.table(["best", "top-1", "worst", "top-1"], rows)
